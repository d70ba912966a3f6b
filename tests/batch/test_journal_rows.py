"""The decision what to do with a row of a journal, for every row that there can be."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone
from typing import Any

import pytest
from support.tables import table

from cyberun_async import InvalidParameters, JournalEntry, TaskResult, TaskStatus
from cyberun_async._batch.decisions import next_step, settled
from cyberun_async._batch.journal_entry import entry_of
from cyberun_async._batch.journal_rows import STATES, Row, check_key, dump_outcome

OUTCOMES = {
    "no outcome": None,
    "completed": dump_outcome(TaskResult(id="t-1", status=TaskStatus.COMPLETED, output={"n": 1})),
    "failed": dump_outcome(TaskResult(id="t-1", status=TaskStatus.FAILED, error="out of memory")),
    "cancelled": dump_outcome(TaskResult(id="t-1", status=TaskStatus.CANCELLED)),
    "no JSON": "{",
    "no id": '{"task_status": "completed"}',
    "not final": '{"id": "t-1", "task_status": "running"}',
}
EVERY_STATE = (*STATES, "", "archived", "NEW", "new ")


def row(state: str, task_id: str | None = None, outcome: str = "no outcome", **fields: Any) -> Row:
    return Row(workflow="w", key="k", digest="d", state=state, task_id=task_id, outcome=OUTCOMES[outcome], **fields)


ALL = list(itertools.product((None, "t-1"), OUTCOMES))


@table("state", EVERY_STATE)
def test_every_row(state: str) -> None:
    """Without being asked to, only what is certainly not submitted is; what is missing is no permission to spend."""
    for task_id, outcome in ALL:
        if state not in STATES:
            expected = "report"
        elif outcome in {"completed", "failed", "cancelled"}:
            expected = "give back"
        elif task_id is not None:
            expected = "wait"
        else:
            expected = "submit" if (state, outcome) == ("new", "no outcome") else "report"
        assert next_step(row(state, task_id, outcome, attempts=1)) == expected, (task_id, outcome)


@table("state", EVERY_STATE)
def test_every_row_when_asked(state: str) -> None:
    """What is asked for submits what it names, and nothing else."""
    for task_id, outcome in ALL:
        given = row(state, task_id, outcome, attempts=1)
        usual = next_step(given)
        has_failed = usual == "give back" and outcome != "completed"
        once_more = usual == "give back" and outcome == "failed"
        assert next_step(given, resubmit={"uncertain"}) == ("submit" if usual == "report" else usual)
        assert next_step(given, resubmit={"failed"}) == ("submit" if has_failed else usual)
        assert next_step(given, attempts=2) == ("submit" if once_more else usual)
        assert next_step(row(state, task_id, outcome, attempts=2), attempts=2) == usual


def test_no_row() -> None:
    """An item that the journal has never seen is submitted."""
    assert next_step(None) == "submit"


def test_an_entry_shows_a_row() -> None:
    """What a user is shown has the id that stands in the outcome, and times that can be read."""
    shown = entry_of(row("finished", outcome="failed", began=0.0, attempts=2))
    assert shown == JournalEntry(
        workflow="w",
        key="k",
        state="finished",
        is_uncertain=False,
        task_id="t-1",
        submitted_at=datetime(1970, 1, 1, tzinfo=timezone.utc),
        attempts=2,
        result=TaskResult(id="t-1", status=TaskStatus.FAILED, error="out of memory"),
    )
    assert entry_of(row("archived")).is_uncertain
    assert entry_of(row("submitted", "t-2")).task_id == "t-2"


def test_settled() -> None:
    """An uncertain item that has a task is waited for, and one that has none is submitted, as if it never had been."""
    uncertain = row("uncertain", attempts=1)
    assert next_step(settled(uncertain, "t-9")) == "wait"
    assert next_step(settled(uncertain, None)) == "submit"
    assert settled(uncertain, None).attempts == 0
    assert settled(uncertain, "t-9").attempts == 1


@table("key", ["\ud83d", "a\udcffb"])
def test_a_key_that_no_disk_takes(key: str) -> None:
    """Half of a surrogate pair has no form as UTF-8."""
    with pytest.raises(InvalidParameters, match="is not valid text"):
        check_key(key)
