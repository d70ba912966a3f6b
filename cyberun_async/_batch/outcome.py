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
        key: Its key; its index unless it was given with one.
        parameters: Its parameters.

    """

    index: int
    key: str
    parameters: Parameters = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Outcome:
    """The outcome of one item of a batch: a result or an error.

    ```python
    async for outcome in batch:
        if outcome.succeeded:
            await client.download(outcome, "out")
        else:
            print(outcome.key, outcome.error)
    ```

    Attributes:
        index: The item's position among the items, from 0.
        key: The item's key; its index, as text, unless it was given with one.
        parameters: The item's parameters, as they were given.
        task_id: The id of its task; `None` if none is known.
        result: The result if the task completed, else `None`. One that comes from a journal has no presigned URLs, since
            they would have expired: `client.download(outcome, folder)` and `client.tasks.result(task_id)` get fresh ones.
        error: Why there is no result; `None` if there is one.
        is_uncertain: Whether a task may exist whose id is not known: its submission got no usable response.
        is_matched: Whether its task was found in the list of tasks, by workflow and time, because its submission got no
            response.
        is_from_journal: Whether it is the outcome of an earlier run, so that this run sent no request for it.
        is_stopped: Whether it was not submitted, because the batch was stopped before.
        candidates: The tasks that an uncertain item of an earlier run may be, as the server listed them when the batch
            started; `Journal.settle()` says which one it is.

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
    is_stopped: bool = False
    candidates: tuple[Task, ...] = attrs.field(default=(), repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether the task completed, so that there is a result."""
        return self.error is None

    def unwrap(self) -> TaskResult:
        """Return the result, or raise the error.

        Raises:
            CyberunError: There is no result; this is `error`.

        """
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


@attrs.frozen(kw_only=True)
class BatchCounts:
    """The number of items of a batch by their state, and of the tasks that it has submitted.

    Attributes:
        in_flight: Items that were started and have no outcome yet.
        succeeded: Items with a result.
        failed: Items with an error, without those that are uncertain or stopped.
        uncertain: Items of which a task may exist whose id is not known.
        stopped: Items that were started and not submitted, because the batch was stopped.
        from_journal: Items among the succeeded and the failed whose outcome is that of an earlier run.
        submitted: Tasks that this run has submitted, each of which is billed; further attempts count as well.

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
