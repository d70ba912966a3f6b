"""How far the items of a batch are: each by itself, and all together, with what they have cost."""

from collections import Counter

from cyberun_async._batch.decisions import BatchCounts, Item, Outcome
from cyberun_async._batch.item_record import ItemRecord
from cyberun_async._batch.journal import Journal
from cyberun_async._batch.journal_rows import Row
from cyberun_async._protocol.tasks import Task, TaskResult


class Progress:
    """How far one item is."""

    __slots__ = (
        "candidates",
        "is_from_journal",
        "is_new",
        "is_pending",
        "is_stopped",
        "is_uncertain",
        "item",
        "record",
        "task_id",
    )

    def __init__(self, item: Item, workflow: str, journal: Journal | None) -> None:
        """Know what was given; it is pending, since it may have to be submitted."""
        self.item: Item = item
        self.record: ItemRecord = ItemRecord(Row(workflow=workflow, key=item.key, digest=""), journal)
        self.task_id: str | None = None
        self.candidates: tuple[Task, ...] = ()
        self.is_pending: bool = True
        self.is_new: bool = False
        self.is_uncertain: bool = False
        self.is_stopped: bool = False
        self.is_from_journal: bool = False

    def outcome(self, result: TaskResult | None, error: Exception | None) -> Outcome:
        """Give what became of it."""
        return Outcome(
            index=self.item.index,
            key=self.item.key,
            parameters=self.item.parameters,
            task_id=self.task_id,
            result=result,
            error=error,
            is_uncertain=self.is_uncertain,
            is_matched=self.record.row.matched,
            is_from_journal=self.is_from_journal,
            candidates=self.candidates,
        )


class Tally:
    """How many items came to which end, and how many tasks that has cost.

    An item is pending from when it is begun until it is known whether it is submitted. As long as it is, it counts as a
    task that may have to be paid for, so that a limit of tasks is never passed, and no item is begun in vain.

    Args:
        max_tasks: How many tasks there may be; `None` is no limit.

    Attributes:
        submitted: How many tasks were submitted, or may have been.
        failures: How many items have failed in this run.

    """

    def __init__(self, max_tasks: int | None) -> None:
        """Count from zero."""
        self.submitted: int = 0
        self.failures: int = 0
        self._max_tasks = max_tasks
        self._pending = 0
        self._ends: Counter[str] = Counter()

    @property
    def is_spent(self) -> bool:
        """Whether there are as many tasks as there may be."""
        return self._max_tasks is not None and self.submitted >= self._max_tasks

    @property
    def may_begin(self) -> bool:
        """Whether one more item may be begun, in case that it has to be submitted."""
        return self._max_tasks is None or self.submitted + self._pending < self._max_tasks

    def begin(self) -> None:
        """Count one more item, or one more attempt, as pending."""
        self._pending += 1

    def settle(self, progress: Progress) -> None:
        """Note that it is known whether an item is submitted; safe to call twice."""
        self._pending -= progress.is_pending
        progress.is_pending = False

    def end(self, progress: Progress, failure: Exception | None) -> None:
        """Count an item that has come to its end."""
        end = "stopped" if progress.is_stopped else "uncertain" if progress.is_uncertain else "failed"
        self._ends["succeeded" if failure is None else end] += 1
        self._ends["from_journal"] += progress.is_from_journal
        is_old = progress.is_from_journal or (progress.is_uncertain and not progress.is_new)
        self.failures += failure is not None and not is_old and not progress.is_stopped

    def counts(self, in_flight: int) -> BatchCounts:
        """Show how far the batch is."""
        return BatchCounts(in_flight=in_flight, submitted=self.submitted, **self._ends)
