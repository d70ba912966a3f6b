"""What a notebook shows of a wait, in a real kernel.

To start one takes longer than all that is run in it, so there is one: first the notebook of docs/, as it stands, then the rest.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.lazily import Lazily

nbformat = Lazily("nbformat")

pytestmark = [pytest.mark.slow, pytest.mark.covering, pytest.mark.timeout(180)]

DOCS = Path(__file__).parents[2] / "docs"

SETUP = """
import asyncio, os, signal, sys
import anyio
import ipywidgets
from ipywidgets.widgets.widget import _instances
from cyberun_async import AsyncClient, ProgressEvent, TaskFailed, WaitTimeout
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, complete, fail, progress, status
server = LocalCyberun().start()
client = AsyncClient(server.api_key, base_url=server.base_url)
small = {"prompt": "x", "width": 64, "height": 64}

async def watched(*life):
    # A life that begins once somebody looks, and ends once what comes before its end is drawn: a poll may overtake the stream.
    async with LocalCyberun(clock="held") as held, AsyncClient(held.api_key, base_url=held.base_url) as client:
        held.script("text-to-image", [after(1), *life[:-1], after(1), life[-1]])
        waits = asyncio.ensure_future(client.run("text-to-image", small))
        while not any(task.listeners for task in held._scheduler.tasks.values()):
            await asyncio.sleep(0.01)
        await held.clock.advance(1)
        while not any(isinstance(each, ipywidgets.Label) and "%" in each.value for each in list(_instances.values())):
            await asyncio.sleep(0.01)
        await held.clock.advance(1)
        await waits
"""
TEARDOWN = "await client.aclose(); server.stop()"
FULL = "▰▰▰▰▰▰▰▰▰▰ 100 %"

CELLS = {
    "completes": "_ = await client.run('text-to-image', small)",
    "fails": """
try: await watched(status("running"), progress(1, 4), fail("out of memory"))
except TaskFailed: pass
""",
    "times out": """
server.script("text-to-image", [status("running")])
try: await client.run("text-to-image", small, timeout=1)
except WaitTimeout: pass
""",
    "is cancelled": """
server.script("text-to-image", [status("running")])
with anyio.CancelScope() as scope:
    await client.run("text-to-image", small, on_submitted=lambda _: scope.cancel())
""",
    "is interrupted": """
server.script("text-to-image", [status("running")])
interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)
soon = lambda _: asyncio.get_running_loop().call_later(0.1, interrupt)
await client.run("text-to-image", small, on_submitted=soon)
""",
    "is waited for": """
_ = await client.wait_for_result("{}".format(task_id := await client.submit("text-to-image", small)))
os.environ["TASK"] = task_id
""",
    "tells a secret": """
link, key = "https://storage.example/file?X-Signature=0123456789abcdef", "sk-0123456789abcdef"
await watched(status("running"), progress(1, 4, message=f"{link} {key}"), complete({}))
""",
    "has its events taken": "_ = await client.run('text-to-image', small, on_event=lambda event: None)",
    "is one of a batch": "_ = await client.map('text-to-image', [small] * 5).gather()",
    "is one of many": "_ = await asyncio.gather(*(client.run('text-to-image', small) for _ in range(25)))",
    "comes after many": "_ = await client.run('text-to-image', small)",
    "is off": """
os.environ['CYBERUN_PROGRESS'] = '0'
_ = await client.run('text-to-image', small)
del os.environ['CYBERUN_PROGRESS']
""",
    "has nothing to draw with": """
sys.modules['ipywidgets'] = sys.modules['rich'] = None
_ = await client.run('text-to-image', small)
""",
    "has rich to draw with": """
del sys.modules['rich']
_ = await client.run('text-to-image', small)
""",
}


@attrs.frozen
class Shown:
    """What a cell has shown.

    Attributes:
        outputs: Its outputs, as they are when all has run.
        states: What each widget was told, by the name of its model.
        updates: What took the place of an output, in order.

    """

    outputs: list[dict[str, Any]]
    states: list[tuple[str, dict[str, Any]]]
    updates: list[dict[str, Any]]

    def lines(self) -> list[str]:
        """Give what it shows as text, without what is no output of ours."""
        return [output["data"]["text/plain"] for output in self.outputs if output["output_type"] == "display_data"]


@pytest.fixture(scope="module")
def shown() -> dict[str, Shown]:
    """Run all cells, and fail where one does, other than by being stopped."""
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    names = [f"docs {number}" for number, cell in enumerate(notebook.cells) if cell["cell_type"] == "code"]
    cells = {"setup": SETUP, **CELLS, "teardown": TEARDOWN}
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells.values()]
    program = [sys.executable, str(Path(__file__).with_name("run_notebook.py"))]
    done = subprocess.run(program, input=nbformat.writes(notebook), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = [Shown(**each) for each in json.loads(done.stdout)]
    outputs = [output for each in shown for output in each.outputs]
    assert [each for each in outputs if each.get("name") == "stderr"] == []
    errors = [each for each in outputs if each["output_type"] == "error"]
    assert [each for each in errors if each["ename"] not in {"CancelledError", "KeyboardInterrupt"}] == []
    return dict(zip([*names, *cells], shown, strict=True))


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("completes", f"text-to-image  completed  {FULL}"),
        ("fails", "text-to-image  failed  ▰▰▱▱▱▱▱▱▱▱ 25 %"),
        ("times out", "text-to-image  timed out, left running: (ID)  ▱▱▱▱▱▱▱▱▱▱ 0 %"),
        ("is cancelled", "text-to-image  left running: (ID)  ▱▱▱▱▱▱▱▱▱▱ 0 %"),
        ("is interrupted", "text-to-image  left running: (ID)  ▱▱▱▱▱▱▱▱▱▱ 0 %"),
        ("tells a secret", f"text-to-image  completed  {FULL}"),
        ("comes after many", f"text-to-image  completed  {FULL}"),
    ],
)
def test_how_it_ended_stays(shown: dict[str, Shown], cell: str, line: str) -> None:
    """When a wait is over, however that is, one line says how, in the widget's place."""
    (seen,) = shown[cell].lines()
    assert re.sub("[0-9a-f-]{36}", "(ID)", seen) == line


def test_the_stop_button_leaves_a_short_traceback(shown: dict[str, Shown]) -> None:
    """It ends in the call of the cell, and does not go through every layer below."""
    outputs = shown["is interrupted"].outputs
    (traceback,) = [output["traceback"] for output in outputs if output["output_type"] == "error"]
    assert len("\n".join(traceback).splitlines()) < 40


def test_a_wait_by_id_names_its_task(shown: dict[str, Shown]) -> None:
    """Where only the id is known, it is the name."""
    (line,) = shown["is waited for"].lines()
    assert line.startswith("task ")
    assert line.endswith(f"  completed  {FULL}")


def test_the_widget_moves(shown: dict[str, Shown]) -> None:
    """The bar goes up to its end, and the label says status, percentage, node and step."""
    states = shown["completes"].states
    states = states[: states.index(["FloatProgressModel", {"closed": True}])]
    parts = [state["value"] for model, state in states if model == "FloatProgressModel"]
    labels = [state["value"] for model, state in states if model == "LabelModel"]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, 1.0)
    assert "text-to-image · running · 50% · node 3 · step 10/20" in labels


def test_no_widget_is_left(shown: dict[str, Shown]) -> None:
    """A kernel keeps nothing of a wait that is over."""
    states = [state for each in shown.values() for _, state in each.states]
    opened = sum("_model_name" in state for state in states)
    closed = sum("closed" in state for state in states)
    assert opened == closed > 0


def test_secrets_are_not_shown(shown: dict[str, Shown]) -> None:
    """A key and a signature that the server says are cut out."""
    everything = json.dumps([attrs.asdict(each) for each in shown.values()])
    assert "https://storage.example/file?[signature] [key]" in everything
    assert "0123456789abcdef" not in everything


@pytest.mark.parametrize("cell", ["has its events taken", "is one of a batch", "is off", "has nothing to draw with"])
def test_nothing_is_shown(shown: dict[str, Shown], cell: str) -> None:
    """Not where the caller takes the events, not for each item of a batch, and neither turned off nor without means."""
    assert shown[cell] == Shown(outputs=[], states=[], updates=[])


def test_of_many_ten_are_shown(shown: dict[str, Shown]) -> None:
    """A page full of bars tells nothing."""
    assert len(shown["is one of many"].lines()) == 10


def test_rich_takes_the_place_of_ipywidgets(shown: dict[str, Shown]) -> None:
    """Without ipywidgets the line is drawn anew each time, and the last one stays."""
    cell = shown["has rich to draw with"]
    drawn = [update["text/html"] for update in cell.updates if "text/html" in update]
    assert cell.lines() == [f"text-to-image  completed  {FULL}"]
    assert "text-to-image · running · 50% · node 3 · step 10/20" in "".join(drawn)
    assert "━━━━" in drawn[-1]


def test_the_notebook_of_the_docs_runs(shown: dict[str, Shown]) -> None:
    """Every cell of it, and it ends with a picture."""
    outputs = [output for name, each in shown.items() if name.startswith("docs ") for output in each.outputs]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert [output["data"] for output in outputs if "image/png" in output.get("data", {})]
