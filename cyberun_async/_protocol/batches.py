"""What a batch decides without waiting: how items are read, how many are in flight, what a failure means."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Literal, get_args

import attrs

from cyberun_async._errors import ConfigurationError, CyberunError, InvalidParameters, TransportError
from cyberun_async._protocol.codec import decode_json
from cyberun_async._protocol.files import InputFile
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult
from cyberun_async._protocol.timestamps import format_timestamp

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
        result: Its result, where the task completed. One that comes from a journal has no links: they would have expired.
        error: Why there is no result.
        is_uncertain: Whether a task may exist that nobody knows the id of: its submission was not answered.
        is_matched: Whether its task was not heard of when it was submitted, but found among the tasks by workflow and time.

    """

    index: int
    key: str
    parameters: Parameters = attrs.field(repr=False)
    task_id: str | None = None
    result: TaskResult | None = None
    error: Exception | None = None
    is_uncertain: bool = False
    is_matched: bool = False

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
    return Item(index, str(key), parameters)


def read_resubmit(words: Collection[Resubmit]) -> frozenset[Resubmit]:
    """Check which items of a journal are to be submitted again.

    Raises:
        ConfigurationError: There are no such items.

    """
    known = get_args(Resubmit)
    if isinstance(words, str) or not all(word in known for word in words):
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
        problem = f"with a journal, parameters must be JSON values, bytes or paths, to be known again ({error})"
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

    """

    def __init__(self, most: int) -> None:
        """Begin with the most."""
        self._most = most
        self._size = float(most)
        self.round: int = 0

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
        self._size = min(self._most, self._size + max(1.0, self._most / 100) / self._size)


# What a failed submission means


def may_exist(failure: Exception) -> bool:
    """Whether a task may have come to be although submitting it failed so."""
    return isinstance(failure, CyberunError) and failure.may_have_been_sent


def unheard(path: str) -> CyberunError:
    """Give the error of an item whose submission an earlier run did not see the end of."""
    reason = "an earlier run of the batch ended before it was heard"
    return TransportError(reason, method="POST", path=path, may_have_been_sent=True, retryable=False)


# What a journal remembers


State = Literal["new", "submitting", "uncertain", "submitted", "finished"]
"""How far an item is: only `new` ones are submitted without being asked for."""


@attrs.frozen(kw_only=True)
class Entry:
    """One item as a journal has it.

    Attributes:
        digest: Of its parameters.
        state: How far it is.
        run: The run of the batch that last dealt with it, counted from 1.
        task_id: Its task.
        began: When it was submitted, in seconds since 1970 on this machine's clock.
        matched: Whether its task was found by workflow and time.
        outcome: What became of it, as JSON.

    """

    digest: str
    state: State
    run: int
    task_id: str | None = None
    began: float | None = None
    matched: bool = False
    outcome: str | None = None


def remember(result: TaskResult) -> str:
    """Write a result in the words of the wire, but for its links: they would expire, and whoever has them has the files."""
    said = {
        "id": result.id,
        "task_status": result.status,
        "task_output": result.output,
        "task_error": result.error,
        "completed_at": result.completed_at and format_timestamp(result.completed_at),
    }
    return json.dumps(said, separators=(",", ":"))


def recall(entry: Entry | None) -> TaskResult | None:
    """Read what `remember` wrote."""
    return decode_json(entry.outcome, TaskResult) if entry is not None and entry.outcome is not None else None


Step = Literal["submit", "wait", "give back", "report"]
"""What to do with an item: submit it, wait for its task, give back its outcome, or report it as uncertain."""


def step_for(item: Item, digest: str, entry: Entry | None, run: int, resubmit: Collection[Resubmit]) -> Step:
    """Decide what to do with an item by what the journal has of it.

    Raises:
        InvalidParameters: Its key stands for something else.

    """
    if entry is None:
        return "submit"
    if entry.run == run:
        raise InvalidParameters([f"the key {item.key!r} is used by two items of this batch: give each its own"])
    if entry.digest != digest:
        problem = f"the journal has other parameters under the key {item.key!r}: give the changed item a new key"
        raise InvalidParameters([problem])
    if entry.state in {"submitting", "uncertain"}:
        return "submit" if "uncertain" in resubmit else "report"
    if entry.state == "finished":
        result = recall(entry)
        has_failed = result is None or result.status != TaskStatus.COMPLETED
        return "submit" if has_failed and "failed" in resubmit else "give back"
    return "submit" if entry.state == "new" else "wait"


def match_unheard(
    began: Mapping[str, float], tasks: Sequence[Task], *, workflow_id: str, known: Collection[str], longest: float
) -> dict[str, str]:
    """Find the tasks of submissions that were not answered, where there is no doubt.

    Args:
        began: When each was sent, by key, in seconds since 1970.
        tasks: All tasks of the team.
        workflow_id: The workflow's UUID.
        known: Tasks that belong to other items.
        longest: Seconds that a submission may have been under way.

    Returns:
        The task's id by key, for each submission that only one task can have come from, and that task from no other.

    """
    free = [task for task in tasks if task.workflow_id == workflow_id and task.id not in known and task.created_at]
    fits = {key: [task.id for task in free if _is_in_time(task, when, longest)] for key, when in began.items()}
    claims = [task_id for ids in fits.values() for task_id in ids]
    return {key: ids[0] for key, ids in fits.items() if len(ids) == 1 and claims.count(ids[0]) == 1}


def _is_in_time(task: Task, began: float, longest: float) -> bool:
    assert task.created_at is not None
    since = task.created_at.timestamp() - began
    return -SKEW.total_seconds() <= since <= longest + SKEW.total_seconds()
