"""`cyberun-async batch`: many items, results and files under their keys, and the same line again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Outcome

from cyberun_async.local import LocalCyberun

Cyberun = Callable[..., Outcome]

LINES = [
    {"id": "one", "prompt": "a lake", "width": 64, "height": 64},
    {"id": "two/2", "prompt": "a hill", "width": 64, "height": 64},
    {"id": "bad", "prompt": "a hill", "width": 1, "height": 64},
]
BATCH = ["batch", "text-to-image", "items.jsonl", "--out", "out", "--key", "id"]


def write(path: Path, lines: list[dict[str, object]]) -> None:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")


def submitted(server: LocalCyberun) -> int:
    return sum(each.operation == "workflows.run" for each in server.requests)


def test_results_and_files_land_under_their_keys(cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """Each item has its folder, a summary is at the end, and the same line again costs nothing."""
    write(tmp_path / "items.jsonl", LINES)
    before = submitted(server)
    done = cyberun(*BATCH)
    assert (done.code, done.out.splitlines()[-1]) == (3, "2 done, 1 failed, 0 uncertain, 0 left")
    assert "bad: 'width' must be at least 64, not 1" in done.out
    pictures = sorted(path.parent.name for path in (tmp_path / "out").rglob("*.png"))
    assert pictures[0] == "one"
    assert re.fullmatch(r"two_2-\w{8}", pictures[1])
    note = json.loads((tmp_path / "out/one/outcome.json").read_text())
    assert (note["key"], note["status"], note["error"]) == ("one", "completed", None)
    assert json.loads((tmp_path / "out/summary.json").read_text())["done"] == 2
    assert submitted(server) == before + 2

    again = cyberun(*BATCH)
    assert again.out.splitlines()[-1] == "2 done, 1 failed, 0 uncertain, 0 left"
    assert submitted(server) == before + 2


def test_json(cyberun: Cyberun, tmp_path: Path) -> None:
    """With `--json`, each item is a line, and the summary the last."""
    write(tmp_path / "items.jsonl", LINES[:2])
    done = cyberun(*BATCH, "--json")
    assert done.code == 0
    assert {(each["type"], each.get("outcome")) for each in done.lines[:-1]} == {("item", "done")}
    assert {name: done.lines[-1][name] for name in ("type", "done", "left")} == {
        "type": "summary",
        "done": 2,
        "left": 0,
    }


def test_csv(cyberun: Cyberun, tmp_path: Path) -> None:
    """The cells of a CSV are read as what the workflow takes, and the line number is the key where none is named."""
    (tmp_path / "items.csv").write_text('prompt,width,height,seed\n"a lake, wide",128,64,\na hill,64,64,7\n')
    done = cyberun("batch", "text-to-image", "items.csv", "--out", "out")
    assert (done.code, done.out) == (0, "2 done, 0 failed, 0 uncertain, 0 left\n")
    assert sorted(path.parent.name for path in (tmp_path / "out").rglob("*.png")) == ["2", "3"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param('{"id": "a"}\n{"id": "a"}', "line 2: the key 'a' is there twice", id="one key twice"),
        pytest.param('{"prompt": "a"}', "line 1: the key None is missing", id="no key"),
        pytest.param('{"id": 1.5}', "the key 1.5", id="no good key"),
        pytest.param("{", "line 1 is not JSON", id="not JSON"),
        pytest.param("[1]", "line 1 must be a JSON object", id="not an object"),
        pytest.param("\udcff", "cannot be read", id="not text"),
        pytest.param(None, "cannot be read", id="no file"),
    ],
)
def test_a_file_that_is_no_list_of_items(
    cyberun: Cyberun, server: LocalCyberun, tmp_path: Path, text: str | None, problem: str
) -> None:
    """What cannot be read is said with its line, before anything is submitted."""
    if text is not None:
        (tmp_path / "items.jsonl").write_bytes(text.encode(errors="surrogateescape"))
    before = submitted(server)
    done = cyberun(*BATCH)
    assert done.code == 2
    assert problem in done.err
    assert submitted(server) == before


def test_a_result_that_cannot_be_saved(cyberun: Cyberun, tmp_path: Path) -> None:
    """An item whose folder cannot be made counts as failed, and the others are saved."""
    write(tmp_path / "items.jsonl", LINES[:2])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/one").write_text("in the way")
    done = cyberun(*BATCH)
    assert done.code == 3
    assert "one: not saved" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_ctrl_c(held: LocalCyberun, tmp_path: Path, twice: bool) -> None:
    """Ctrl-C once sees through what runs and submits no more; twice leaves; and the same line goes on."""
    write(tmp_path / "items.jsonl", [{**LINES[0], "id": str(n)} for n in range(6)])
    account = {"CYBERUN_BASE_URL": held.base_url, "CYBERUN_API_KEY": held.api_key}
    command = [sys.executable, "-m", "cyberun_async", *BATCH, "--max-in-flight", "2"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | account, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    first = start()
    while submitted(held) < 2:
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    assert "Ctrl-C again" in first.stderr.readline()
    if twice:
        first.send_signal(signal.SIGINT)
    else:
        held.clock.advance_blocking(10)
    out, err = first.stdout.read(), first.stderr.read()
    assert first.wait() == 130, err
    first.stdout.close()
    first.stderr.close()
    assert submitted(held) == 2
    if twice:
        assert "goes on where this one was" in err
    else:
        assert out == "2 done, 0 failed, 0 uncertain, 4 left\n"

    second = start()
    while second.poll() is None:
        held.clock.advance_blocking(10)
        time.sleep(0.05)
    out, _ = second.communicate()
    assert (second.returncode, out) == (0, "6 done, 0 failed, 0 uncertain, 0 left\n")
    assert submitted(held) == 6
