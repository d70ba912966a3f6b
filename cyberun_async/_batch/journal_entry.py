"""The items of a journal as a user sees them."""

from datetime import datetime, timezone

import attrs

from cyberun_async._batch.decisions import next_step
from cyberun_async._batch.journal_rows import Row
from cyberun_async._protocol.tasks import TaskResult


@attrs.frozen(kw_only=True)
class JournalEntry:
    """One item of a journal, for reports and for settling what is uncertain.

    ```python
    async for entry in Journal("sunsets.journal"):
        if entry.is_uncertain:
            print(entry.workflow, entry.key, entry.submitted_at)
    ```

    Attributes:
        workflow: The workflow as it was named when the item was submitted.
        key: The item's key.
        state: `new` (not submitted), `submitting` (sent, and the process has ended since), `uncertain` (no usable
            response), `submitted` (its task is known), `finished`, or the value of a later version.
        is_uncertain: Whether a task may exist whose id is not known.
        task_id: The id of its task; `None` if it is not known.
        submitted_at: When it was last submitted, by this machine's clock, in UTC; `None` if it was not.
        attempts: The number of tasks that it may have cost.
        result: The result of its task, without presigned URLs; `None` until it has finished.

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
