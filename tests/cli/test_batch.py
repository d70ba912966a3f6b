"""`cyberun-async batch`: many items, results and files under their keys, and the same line again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Outcome

from cyberun_async import Journal, TaskResult, TaskStatus
from cyberun_async._batch.journal import store_of
from cyberun_async._batch.journal_rows import Row, dump_outcome
from cyberun_async.cli._batch_check import forecast
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, fail, status

FAILED = dump_outcome(TaskResult(id="t-1", status=TaskStatus.FAILED, error="out of memory"))

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


@pytest.mark.parametrize(("policy", "remote"), [("leave", "queued"), ("cancel", "cancelled")])
def test_start_timeout(cyberun: Cyberun, server: LocalCyberun, tmp_path: Path, policy: str, remote: str) -> None:
    """An item whose task no agent starts in time has a line that says so, and its task is left or cancelled."""
    server.script("text-to-image", [status("queued"), after(600)])
    write(tmp_path / "items.jsonl", LINES[:1])
    done = cyberun(*BATCH, "--start-timeout", "0.1", "--on-timeout", policy)
    assert (done.code, done.out.splitlines()[-1]) == (3, "0 done, 1 failed, 0 uncertain, 0 left")
    (task_id,) = re.findall(r"^one: task (\S+) did not start within 0\.1 s", done.out, re.MULTILINE)
    (left,) = [each for each in cyberun("tasks", "--json").lines if each["task_id"] == task_id]
    assert left["status"] == remote


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
    ("fields", "options", "step"),
    [
        pytest.param(None, {}, "submit", id="unknown"),
        pytest.param({"state": "new"}, {}, "submit", id="new"),
        pytest.param({"state": "submitting"}, {}, "uncertain", id="uncertain"),
        pytest.param({"state": "submitting"}, {"resubmit": ("uncertain",)}, "submit", id="uncertain, again"),
        pytest.param(
            {"state": "submitted", "task_id": "t-1"}, {"resubmit": ("failed", "uncertain")}, "wait", id="submitted"
        ),
        pytest.param({"state": "finished", "outcome": FAILED, "attempts": 1}, {}, "finished", id="failed"),
        pytest.param(
            {"state": "finished", "outcome": FAILED, "attempts": 1},
            {"attempts": 2},
            "submit",
            id="failed, with another attempt",
        ),
    ],
)
async def test_step(fields: dict[str, Any] | None, options: dict[str, Any], step: str, tmp_path: Path) -> None:
    """What the check says of an item is what the batch does with it."""
    if fields is not None:
        async with Journal(tmp_path / "journal") as journal:
            await store_of(journal).put(Row(workflow="w", key="k", digest="d", **fields))
    steps = await forecast("w", ["k"], tmp_path / "journal", **{"resubmit": (), "attempts": 1, **options})
    assert steps == {step: 1}


@pytest.mark.parametrize("as_json", [False, True])
def test_check_within_limits(as_json: bool, cyberun: Cyberun, tmp_path: Path) -> None:
    """With a limit of tasks the check says how many items are left, and with attempts how often each may be billed."""
    write(tmp_path / "items.jsonl", LINES)
    done = cyberun(*BATCH, "--check", "--max-tasks", "1", "--attempts", "3", *["--json"] * as_json)
    if as_json:
        assert done.lines == [
            {"type": "check", "items": 2, "submit": 1, "wait": 0, "finished": 0, "uncertain": 0, "left": 1}
        ]
    else:
        rest = "0 to wait for, 0 finished, 0 uncertain, 1 left"
        assert done.out == f"2 items: 1 to submit, each of which is billed up to 3 times, {rest}\n"


def test_limit_of_tasks(cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """`--max-tasks` ends a run with items left, which the same command without it goes on with."""
    write(tmp_path / "items.jsonl", LINES)
    before = submitted(server)
    done = cyberun(*BATCH, "--max-tasks", "1")
    assert (done.code, done.out.splitlines()[-1]) == (3, "1 done, 0 failed, 0 uncertain, 1 left")
    assert "stopped by --max-tasks: the same command resumes the batch" in done.err
    assert cyberun(*BATCH).code == 0
    assert submitted(server) == before + 2


def test_stop_after_failures(cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """`--max-failures` submits no more, and what was not submitted is left, and no failure."""
    server.script("text-to-image", [fail("out of memory")])
    write(tmp_path / "items.jsonl", [{"id": str(n), "prompt": "a lake"} for n in range(20)])
    done = cyberun(*BATCH, "--max-failures", "1", "--max-in-flight", "1")
    assert (done.code, done.out.splitlines()[-1]) == (3, "0 done, 1 failed, 0 uncertain, 19 left")
    assert "stopped by --max-failures" in done.err


def test_attempts(cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """`--attempts` submits an item again whose task has failed."""
    server.script("text-to-image", [fail("out of memory")])
    write(tmp_path / "items.jsonl", LINES[:1])
    before = submitted(server)
    assert cyberun(*BATCH, "--attempts", "3").code == 0
    assert submitted(server) == before + 2
