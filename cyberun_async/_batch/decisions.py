"""Whether an item of a batch is submitted: submit, wait, give back or report, and what a failed submission means.

An item costs money each time it is submitted, and the API has no idempotency key. So permission to submit is never read
out of something that is missing. `next_step` decides by the complete row that the journal has of the item, in this order:

| the row | step |
| --- | --- |
| there is none | submit |
| a state that this version does not know | report as uncertain; submit if `"uncertain"` is in `resubmit` |
| an outcome: completed, or cancelled, or failed | give back; submit if it failed with attempts left, or by `resubmit` |
| no outcome that can be read, and a task id | wait for that task (resume) |
| `new`, with neither | submit |
| anything else: sent, and no usable response is known | report as uncertain; submit if `"uncertain"` is in `resubmit` |

Who asks here submits each key once, so that it is idempotent on this side: a batch (`item_run.py`), a second attempt after
a failed task, and `submit_once` (dedup by key). Whether the batch may submit anything more is decided in `admission.py`.
"""

from collections.abc import Collection
from typing import Literal

import attrs

from cyberun_async._batch.journal_rows import STATES, Row
from cyberun_async._errors import CyberunError, InvalidParameters, TransportError
from cyberun_async._protocol.status import TaskStatus

Resubmit = Literal["uncertain", "failed"]
"""Which items of a journal are submitted again although they have been submitted before."""

Step = Literal["submit", "wait", "give back", "report"]
"""What to do with an item: submit it, wait for its task, give back its outcome, or report it as uncertain."""


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


def may_exist(failure: Exception) -> bool:
    """Whether a task may have come to be although submitting it failed so."""
    return isinstance(failure, CyberunError) and failure.may_have_been_sent


def unconfirmed_error(path: str) -> CyberunError:
    """Give the error of an item whose submission an earlier run did not see the end of."""
    reason = "an earlier run of the batch ended before the response"
    return TransportError(reason, method="POST", path=path, may_have_been_sent=True, retryable=False)


def used_twice(key: str) -> InvalidParameters:
    """Give the error of the second item under one key."""
    return InvalidParameters([f"the key {key!r} is used by two items of this batch: give each its own"])


def other_parameters(key: str) -> InvalidParameters:
    """Give the error of a changed item under the key of another one."""
    return InvalidParameters(
        [f"the journal has other parameters under the key {key!r}: give the changed item a new key"]
    )
