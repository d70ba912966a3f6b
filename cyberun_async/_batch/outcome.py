"""The items of a batch and what became of each: how an item is read, its outcome, the counts."""

from collections.abc import Mapping

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.tasks import Task, TaskResult

Parameters = Mapping[str, object]
"""The parameters of one item, by key."""

Keyed = tuple[str | int, Parameters]
"""One item with a key of its own."""


@attrs.frozen
class Item:
    """One item of a batch.

    Attributes:
        index: Its place among the items, from 0.
        key: What tells it apart; its index unless it came with a key.
        parameters: Its parameters.

    """

    index: int
    key: str
    parameters: Parameters = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one item of a batch.

    Attributes:
        index: The item's place among the items, from 0.
        key: What tells the item apart; its index, as text, unless it came with a key.
        parameters: Its parameters, as they were given.
        task_id: Its task, once there was one.
        result: Its result, where the task completed. One that comes from a journal has no presigned URLs: they would have
            expired. `client.download(outcome, folder)` and `client.tasks.result(outcome.task_id)` get fresh ones.
        error: Why there is no result.
        is_uncertain: Whether a task may exist whose id is not known: there was no usable response to its submission.
        is_matched: Whether its task was found among the team's tasks, by workflow and time, since the submission itself got
            no response.
        is_from_journal: Whether an earlier run had finished it, so that this one asked the server for nothing.
        candidates: Of an uncertain item of an earlier run, the tasks that it may be, as the server listed them when the
            batch began; `Journal.settle()` says which one it is.

    """

    index: int
    key: str
    parameters: Parameters = attrs.field(repr=False)
    task_id: str | None = None
    result: TaskResult | None = None
    error: Exception | None = None
    is_uncertain: bool = False
    is_matched: bool = False
    is_from_journal: bool = False
    candidates: tuple[Task, ...] = attrs.field(default=(), repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    def unwrap(self) -> TaskResult:
        """Give the result.

        Raises:
            CyberunError: There is none; this is why.

        """
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


@attrs.frozen(kw_only=True)
class BatchCounts:
    """How far a batch is.

    Attributes:
        in_flight: Items that were begun and have no outcome yet.
        succeeded: Items with a result.
        failed: Items with an error, but for those that are uncertain or were not submitted because the batch was stopped.
        uncertain: Items of which a task may exist whose id is not known.
        stopped: Items that were begun and not submitted, because the batch was stopped.
        from_journal: Items among the succeeded and the failed that an earlier run had finished.
        submitted: Tasks that this run has submitted, a second one for the same item counted as well: what it costs.

    """

    in_flight: int = 0
    succeeded: int = 0
    failed: int = 0
    uncertain: int = 0
    stopped: int = 0
    from_journal: int = 0
    submitted: int = 0


def read_item(index: int, given: object) -> Item:
    """Take an item as it was given: parameters, or a key and parameters.

    Raises:
        InvalidParameters: It is neither.

    """
    key, parameters = given if isinstance(given, tuple) and len(given) == 2 else (index, given)
    if isinstance(key, bool) or not isinstance(key, (str, int)) or not isinstance(parameters, Mapping):
        kind = type(given).__name__
        if isinstance(given, tuple):
            kind = f"({', '.join(type(part).__name__ for part in given)})"
        problem = f"item {index} must be a mapping of parameters, or a tuple of a key and such a mapping, not {kind}"
        raise InvalidParameters([problem])
    # It may wait for a while, and a generator may give one dict again and again, each time with other values.
    return Item(index, str(key), dict(parameters))
