"""What a batch decides without waiting: how items are read, how many are in flight, what a failure means."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Literal, TypeVar, get_args

import attrs

from cyberun_async._errors import ConfigurationError, CyberunError, InvalidParameters, TransportError
from cyberun_async._protocol.files import InputFile
from cyberun_async._protocol.tasks import Task, TaskResult

_K = TypeVar("_K")

Parameters = Mapping[str, object]
"""The parameters of one item, by key."""

Keyed = tuple[str | int, Parameters]
"""One item with a key of its own."""

Resubmit = Literal["uncertain", "failed"]
"""Which items of a journal are submitted again although they have been submitted before."""

SKEW = timedelta(seconds=5)
"""How far the server's clock may be from ours when a task is looked for by its time."""


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


def read_resubmit(words: Collection[Resubmit]) -> frozenset[Resubmit]:
    """Check which items of a journal are to be submitted again.

    Raises:
        ConfigurationError: There are no such items.

    """
    known = get_args(Resubmit)
    if isinstance(words, str) or not isinstance(words, Collection) or not all(word in known for word in words):
        message = f"resubmit must be a collection of {' and '.join(repr(word) for word in known)}, as ['failed'] is, not {words!r}"
        raise ConfigurationError(message)
    return frozenset(words)


def fingerprint(parameters: Parameters) -> str:
    """Give a digest by which the same parameters are known again; a file counts by its path.

    Raises:
        InvalidParameters: Something in them cannot be known again.

    """
    try:
        text = json.dumps(parameters, default=_known_again, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"with a journal, parameters must be JSON values, bytes or paths, to be recognised again ({error})"
        raise InvalidParameters([problem]) from None
    return hashlib.sha256(text.encode()).hexdigest()


def _known_again(value: object) -> object:
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, InputFile):
        return attrs.asdict(value, recurse=False)
    if isinstance(value, os.PathLike):
        return {"path": os.fspath(value)}
    if isinstance(value, Mapping):
        return dict(value)
    message = f"{type(value).__name__} is none of these"
    raise TypeError(message)


# How many are in flight


class Window:
    """How many items may be in flight: halved by a refusal for rate, widened again by success.

    Args:
        most: The most.
        first: How many there may be before the first success, if not as many.

    """

    def __init__(self, most: int, first: int | None = None) -> None:
        """Begin with the most, unless with less."""
        self._most = most
        self._size = float(most if first is None else min(most, first))
        self.round: int = 0
        self._has_opened = first is None

    def open_up(self) -> None:
        """Allow the most after the first success, unless the server has asked for less meanwhile."""
        if not self._has_opened and self.round == 0:
            self._size = float(self._most)
        self._has_opened = True

    @property
    def size(self) -> int:
        """How many there may be now."""
        return int(self._size)

    def narrow(self, seen_in: int, in_flight: int) -> None:
        """Take half of what is in flight; of the refusals of one round, those sent before it was narrowed, one counts."""
        if seen_in == self.round:
            self._size = max(1.0, min(self._size, in_flight) / 2)
            self.round += 1

    def widen(self) -> None:
        """Grow by a hundredth of the most, and at least by one, with each window's worth of successes."""
        if self._has_opened:
            self._size = min(self._most, self._size + max(1.0, self._most / 100) / self._size)


# What a failed submission means


def may_exist(failure: Exception) -> bool:
    """Whether a task may have come to be although submitting it failed so."""
    return isinstance(failure, CyberunError) and failure.may_have_been_sent


def unconfirmed_error(path: str) -> CyberunError:
    """Give the error of an item whose submission an earlier run did not see the end of."""
    reason = "an earlier run of the batch ended before the response"
    return TransportError(reason, method="POST", path=path, may_have_been_sent=True, retryable=False)


# What an earlier run left open


def candidates_for(
    began: Mapping[_K, float], tasks: Sequence[Task], *, workflow_id: str, known: Collection[str], longest: float
) -> dict[_K, tuple[Task, ...]]:
    """Find the tasks that submissions without a response may have come to.

    Args:
        began: When each was sent, by key, in seconds since 1970.
        tasks: All tasks of the team.
        workflow_id: The workflow's UUID.
        known: Tasks that belong to other items.
        longest: Seconds that a submission may have been under way.

    """
    free = [task for task in tasks if task.workflow_id == workflow_id and task.id not in known and task.created_at]
    return {key: tuple(task for task in free if _is_in_time(task, when, longest)) for key, when in began.items()}


def match_unconfirmed(
    candidates: Mapping[str, Sequence[Task]], others: Collection[Sequence[Task]] = ()
) -> dict[str, str]:
    """Give the task's id by key, for each submission that only one task can have come from, and that task from no other.

    Args:
        candidates: The tasks that each may have come to, by key.
        others: Likewise for submissions that were made good by another one, which are nobody's any more.

    """
    claims = Counter(task.id for tasks in (*candidates.values(), *others) for task in tasks)
    return {key: tasks[0].id for key, tasks in candidates.items() if len(tasks) == 1 and claims[tasks[0].id] == 1}


def _is_in_time(task: Task, began: float, longest: float) -> bool:
    assert task.created_at is not None
    since = task.created_at.timestamp() - began
    return -SKEW.total_seconds() <= since <= longest + SKEW.total_seconds()
