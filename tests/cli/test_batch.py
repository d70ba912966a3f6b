"""`cyberun-async batch`: many items, results and files under their keys, and the same line again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Outcome

from cyberun_async import JournalEntry
from cyberun_async._batch.decisions import Resubmit
from cyberun_async.cli._batch import _step
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import fail

Cyberun = Callable[..., Outcome]

LINES = [
    {"id": "one", "prompt": "a lake", "width": 64, "height": 64},
    {"id": "two/2", "prompt": "a hill", "width": 64, "height": 64},
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
    assert (done.code, done.out.splitlines()[-1]) == (0, "2 done, 0 failed, 0 uncertain, 0 left")
    pictures = sorted(path.parent.name for path in (tmp_path / "out").rglob("*.png"))
    assert pictures[0] == "one"
    assert re.fullmatch(r"two_2-\w{8}", pictures[1])
    note = json.loads((tmp_path / "out/one/outcome.json").read_text())
    assert (note["key"], note["status"], note["error"]) == ("one", "completed", None)
    assert json.loads((tmp_path / "out/summary.json").read_text())["done"] == 2
    assert submitted(server) == before + 2

    again = cyberun(*BATCH)
    assert again.out.splitlines()[-1] == "2 done, 0 failed, 0 uncertain, 0 left"
    assert submitted(server) == before + 2


def test_item_that_fails(cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """An item whose task fails has a line that says why."""
    server.script("text-to-image", [fail("out of memory")])
    write(tmp_path / "items.jsonl", LINES[:1])
    done = cyberun(*BATCH)
    assert (done.code, done.out.splitlines()[-1]) == (3, "0 done, 1 failed, 0 uncertain, 0 left")
    assert "failed: out of memory" in done.out


def test_json(cyberun: Cyberun, tmp_path: Path) -> None:
    """With `--json`, each item is a line, and the summary the last."""
    write(tmp_path / "items.jsonl", LINES)
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


def test_a_result_that_cannot_be_saved(cyberun: Cyberun, tmp_path: Path) -> None:
    """An item whose folder cannot be made counts as failed, and the others are saved."""
    write(tmp_path / "items.jsonl", LINES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/one").write_text("in the way")
    done = cyberun(*BATCH)
    assert done.code == 3
    assert "one: not saved: out/one cannot be written: File exists" in done.out


@pytest.mark.parametrize("as_json", [False, True])
def test_check(as_json: bool, cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """`--check` reads and checks every line, says what would be billed, and does nothing else."""
    write(tmp_path / "items.jsonl", LINES)
    before = submitted(server)

    def check(*options: str) -> object:
        done = cyberun(*BATCH, "--check", *options, *["--json"] * as_json)
        assert done.code == 0, done.err
        return done.lines if as_json else done.out

    def said(submit: int, finished: int) -> object:
        if not as_json:
            rest = f"0 to wait for, {finished} finished, 0 uncertain"
            return f"2 items: {submit} to submit, each of which is billed, {rest}\n"
        return [{"type": "check", "items": 2, "submit": submit, "wait": 0, "finished": finished, "uncertain": 0}]

    assert check() == said(2, 0)
    assert not (tmp_path / "out").exists()
    assert submitted(server) == before

    server.script("text-to-image", [fail("out of memory")])
    assert cyberun(*BATCH).code == 3
    assert check() == said(0, 2)
    assert check("--resubmit", "failed") == said(1, 1)

    write(tmp_path / "items.jsonl", [{**LINES[0], "width": 1}])
    done = cyberun(*BATCH, "--check")
    assert done.code == 2
    assert "line 1: 'width' must be at least 64, not 1" in done.err


@pytest.mark.parametrize(
    ("state", "entry", "resubmit", "step"),
    [
        pytest.param("new", {}, (), "submit", id="new"),
        pytest.param("submitting", {"is_uncertain": True}, (), "uncertain", id="uncertain"),
        pytest.param("submitting", {"is_uncertain": True}, ("uncertain",), "submit", id="uncertain, again"),
        pytest.param("submitted", {"task_id": "t-1"}, ("failed", "uncertain"), "wait", id="submitted"),
    ],
)
def test_step(state: str, entry: dict[str, object], resubmit: tuple[Resubmit, ...], step: str) -> None:
    """What the check says of an item is what the batch does with it."""
    usual = {"workflow": "w", "key": "k", "is_uncertain": False, "task_id": None, "submitted_at": None, "result": None}
    found = JournalEntry(**usual | {"state": state, "attempts": 0} | entry)  # type: ignore[arg-type]
    assert _step(found, resubmit) == step
