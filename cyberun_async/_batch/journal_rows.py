"""The rows of a journal, and the one decision whether an item is submitted, resumed, given back or reported.

An item costs money each time it is submitted, so permission to submit is never read out of something that is missing:

- only an item without a row, or with a row that says `new` and holds neither a task id nor an outcome, is submitted
  without having been asked for;
- a row that is past `new` and says neither which task it is nor what became of it, is uncertain;
- so is a row in a state that this version does not know.

Every write puts down the complete row, so a write that failed loses nothing that a later one does not put down again.
"""

import json
from collections.abc import Collection
from datetime import datetime, timezone
from typing import Literal

import attrs

from cyberun_async._batch.decisions import Resubmit
from cyberun_async._errors import DecodeError, InvalidParameters
from cyberun_async._protocol.codec import decode_json
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._protocol.timestamps import format_timestamp

STATES = ("new", "submitting", "uncertain", "submitted", "finished")
"""How far an item is: not submitted; sent, with the response outstanding; without a response; with a task; finished."""

Step = Literal["submit", "wait", "give back", "report"]
"""What to do with an item: submit it, wait for its task, give back its outcome, or report it as uncertain."""


@attrs.frozen(kw_only=True)
class Row:
    """One item as a journal has it.

    Attributes:
        workflow: The workflow as it was named.
        key: The item's key.
        digest: Of its parameters.
        state: How far it is, one of `STATES` or the word of a later version.
        run: The batch that last dealt with it, counted from 1.
        task_id: Its task.
        began: When it was submitted, in seconds since 1970 on this machine's clock.
        matched: Whether its task was found by workflow and time.
        outcome: What became of it, as JSON.
        attempts: How many tasks it may have cost.
        response: The server's response, where it could not be understood.
        unsettled: When it was submitted before without a response, and then again: seconds since 1970, by blanks.

    """

    workflow: str
    key: str
    digest: str
    state: str = "new"
    run: int = 0
    task_id: str | None = None
    began: float | None = None
    matched: bool = False
    outcome: str | None = None
    attempts: int = 0
    response: str | None = None
    unsettled: str | None = None

    @property
    def result(self) -> TaskResult | None:
        """What became of the item, unless that is not known, or written in a way that this version cannot read."""
        if self.outcome is None:
            return None
        try:
            result = decode_json(self.outcome, TaskResult)
        except DecodeError:
            return None
        return result if result.status.is_terminal else None


@attrs.frozen(kw_only=True)
class JournalEntry:
    """One item of a journal, for reports and for settling what is uncertain.

    Attributes:
        workflow: The workflow as it was named when the item was submitted.
        key: The item's key.
        state: `new` (not submitted), `submitting` (sent, and the process has ended since), `uncertain` (no usable response),
            `submitted` (its task is known), `finished`, or the word of a later version.
        is_uncertain: Whether a task may exist whose id is not known.
        task_id: Its task, where it is known.
        submitted_at: When it was last submitted, by this machine's clock.
        attempts: How many tasks it may have cost.
        result: What became of it, without presigned URLs; `None` until it has finished.

    """

    workflow: str
    key: str
    state: str
    is_uncertain: bool
    task_id: str | None
    submitted_at: datetime | None
    attempts: int
    result: TaskResult | None = attrs.field(repr=False)


def entry_of(row: Row) -> JournalEntry:
    """Show a row to a user."""
    result = row.result
    return JournalEntry(
        workflow=row.workflow,
        key=row.key,
        state=row.state,
        is_uncertain=next_step(row) == "report",
        task_id=row.task_id or (None if result is None else result.id),
        submitted_at=None if row.began is None else datetime.fromtimestamp(row.began, timezone.utc),
        attempts=row.attempts,
        result=result,
    )


def next_step(row: Row | None, *, resubmit: Collection[Resubmit] = (), attempts: int = 1) -> Step:
    """Decide what to do with an item; only `submit` submits.

    Args:
        row: What the journal has of it, if anything.
        resubmit: What the caller pays for again.
        attempts: How many tasks an item may cost while its tasks fail.

    """
    if row is None:
        return "submit"
    if row.state not in STATES:
        return _only_if("uncertain" in resubmit)
    if (result := row.result) is not None:
        has_failed = result.status != TaskStatus.COMPLETED
        is_worth_another = result.status == TaskStatus.FAILED and row.attempts < attempts
        return "submit" if is_worth_another or (has_failed and "failed" in resubmit) else "give back"
    if row.task_id is not None:
        return "wait"
    if row.state == "new" and row.outcome is None:
        return "submit"
    return _only_if("uncertain" in resubmit)


def _only_if(asked: bool) -> Step:
    return "submit" if asked else "report"


def settled(row: Row, task_id: str | None) -> Row:
    """Give the row of an uncertain item once it is known which task it is, or that there is none."""
    state, attempts = ("new", max(0, row.attempts - 1)) if task_id is None else ("submitted", row.attempts)
    return attrs.evolve(row, state=state, task_id=task_id, attempts=attempts, matched=False, outcome=None)


def submitting(row: Row, now: float) -> Row:
    """Give the row of an item that is about to be submitted."""
    unsettled = row.unsettled
    if next_step(row) == "report" and row.began is not None:
        unsettled = f"{unsettled or ''} {row.began}".strip()
    return attrs.evolve(
        row,
        state="submitting",
        began=now,
        attempts=row.attempts + 1,
        task_id=None,
        matched=False,
        outcome=None,
        response=None,
        unsettled=unsettled,
    )


def check_key(key: str) -> str:
    """Refuse a key that has no form on a disk.

    Raises:
        InvalidParameters: It holds half of a surrogate pair, as a file name that is no UTF-8 or half of an emoji does.

    """
    if not is_storable(key):
        raise InvalidParameters(
            [f"the key {key!r} is not valid text, so a journal cannot hold it: give the item another"]
        )
    return key


def is_storable(text: str) -> bool:
    """Whether text has a form as UTF-8; a lone surrogate has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def used_twice(key: str) -> InvalidParameters:
    """Give the error of the second item under one key."""
    return InvalidParameters([f"the key {key!r} is used by two items of this batch: give each its own"])


def other_parameters(key: str) -> InvalidParameters:
    """Give the error of a changed item under the key of another one."""
    return InvalidParameters(
        [f"the journal has other parameters under the key {key!r}: give the changed item a new key"]
    )


def dump_outcome(result: TaskResult) -> str:
    """Write a result in the words of the wire, but for its URLs: they would expire, and give the files to any reader."""
    said = {
        "id": result.id,
        "task_status": result.status,
        "task_output": result.output,
        "task_error": result.error,
        "completed_at": result.completed_at and format_timestamp(result.completed_at),
    }
    return json.dumps(said, separators=(",", ":"))
