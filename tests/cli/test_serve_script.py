"""`serve --script`: tasks that live as a file says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Outcome

    Command = Callable[..., Outcome]


def call(url: str, key: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as response:
        return json.load(response)


@pytest.mark.slow
def test_a_file_of_scripts(tmp_path: Path):
    """Each task of the workflow lives as the file says, from the server's start."""
    file = tmp_path / "life.json"
    file.write_text(json.dumps([{"workflow": "text-to-image", "steps": [{"fail": "out of memory"}], "times": None}]))
    command = [sys.executable, "-m", "cyberun_async", "serve", "--json", "--script", str(file)]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        server = json.loads(process.stdout.readline())
        url, key = server["base_url"], server["api_key"]
        for _ in range(2):
            body = {"parameters": {"prompt": "dusk"}}
            task_id = call(f"{url}/r/workflows/slug/text-to-image/run", key, body)["task_id"]
            while (task := call(f"{url}/r/tasks/{task_id}", key))["task_status"] == "pending":
                pass
            assert task["task_error"] == "out of memory"
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "cannot be read: No such file", id="no file"),
        pytest.param("{", "is no script: Expecting", id="no JSON"),
        pytest.param(
            '{"workflow": "w", "steps": [{"dance": 1}]}', r"is no script: steps[0] must be one of", id="a step"
        ),
        pytest.param(b"\xff", "is no script: 'utf-8'", id="no text"),
    ],
)
def test_a_file_that_is_none(cyberun: Command, tmp_path: Path, text: str | bytes | None, words: str):
    """What is wrong with the file is said before anything listens."""
    if text is not None:
        (tmp_path / "life.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    shown = cyberun("serve", "--script", "life.json")
    assert (shown.code, words in shown.err) == (2, True), shown.err
