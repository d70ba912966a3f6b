"""Run a notebook from stdin in a kernel of its own, and write what its cells show: final outputs, and widgets as they went.

It is a process of its own, since a client of kernels keeps sockets and threads. Kernel and client speak by sockets in a
folder: a port that is free when the client looks for one may be taken by another test when the kernel opens it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config


class Recorder(NotebookClient):  # type: ignore[misc]
    """Notes each state that a widget was given, and each output that took the place of another."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Note nothing yet."""
        super().__init__(*args, **options)
        self.models: dict[str, str] = {}
        self.states: dict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self.updates: dict[int, list[dict[str, Any]]] = defaultdict(list)

    def process_message(self, message: Any, cell: nbformat.NotebookNode, cell_index: int) -> Any:
        """Look at each message of the kernel."""
        content, kind = message["content"], message["header"]["msg_type"]
        if kind in {"comm_open", "comm_msg", "comm_close"}:
            state = content["data"].get("state", {})
            name = self.models.setdefault(content["comm_id"], state.get("_model_name", ""))
            self.states[cell_index].append((name, {"closed": True} if kind == "comm_close" else state))
        elif kind == "update_display_data":
            self.updates[cell_index].append(content["data"])
        return super().process_message(message, cell, cell_index)


def main() -> None:
    """Execute, also past errors."""
    notebook = nbformat.reads(sys.stdin.read(), as_version=4)
    by_files = Config(KernelManager={"transport": "ipc"})
    recorder = Recorder(notebook, timeout=60, kernel_name="python3", allow_errors=True, config=by_files)
    recorder.execute()
    shown = [
        {"outputs": cell["outputs"], "states": recorder.states[number], "updates": recorder.updates[number]}
        for number, cell in enumerate(notebook.cells)
        if cell["cell_type"] == "code"
    ]
    json.dump(shown, sys.stdout)


if __name__ == "__main__":
    main()
