"""Admission: how many items of a batch may be in flight, what they may cost, and when none is started any more.

An item is started if all of these hold, and waits for them otherwise (backpressure: no item is read before):

- fewer items are in flight than the window allows. A 429 halves the window, success widens it again;
- fewer than `max_in_flight` outcomes wait to be consumed;
- the tasks that were submitted, and those that items in flight may still have to submit, are fewer than `max_tasks`.
  An item holds a `Reservation` for its task from its start until it is known whether it is submitted, so the limit is
  never exceeded, and no item is started that could not be submitted.

The first reason to start no more items is kept (`stopped_by`). Two of them go further: after `stop_after_failures`
nothing is submitted any more, by the items in flight either, and after `cancel_rest` their tasks are cancelled as well.

Nothing here waits. The batch asks `may_start`, and calls `start` and `end_item` for each item; the items in flight ask
`may_submit` and `reserve`, and report their submissions and the server's 429s.
"""

from collections import Counter
from collections.abc import Callable
from typing import Literal

import attrs

from cyberun_async._batch.outcome import BatchCounts

StoppedBy = Literal["stop", "cancel_rest", "stop_after_failures", "max_tasks"]
"""What keeps a batch from starting more items."""

OnError = Literal["collect", "cancel_rest"]
"""What a failed item does to the others: nothing, or it cancels them."""

End = Literal["succeeded", "failed", "uncertain", "stopped"]
"""How an item has ended: `stopped` was never submitted, because the batch was stopped."""

FIRST_IN_FLIGHT = 8
"""Items in flight before the first success, where failures are to stop the batch: a broken workflow bills a handful."""


@attrs.frozen(kw_only=True)
class Ending:
    """How an item has ended, for the counts.

    Attributes:
        end: Which way.
        is_from_journal: Whether an earlier run had finished it.
        is_failure: Whether it counts towards `stop_after_failures`: what earlier runs left behind does not.

    """

    end: End
    is_from_journal: bool = False
    is_failure: bool = False


class Reservation:
    """A task that an item may have to submit, which counts towards `max_tasks` until it is released."""

    __slots__ = ("_on_release",)

    def __init__(self, on_release: Callable[[], None]) -> None:
        self._on_release: Callable[[], None] | None = on_release

    def __repr__(self) -> str:
        """Show whether it counts."""
        return f"<{type(self).__name__}, {'released' if self._on_release is None else 'held'}>"

    def release(self) -> None:
        """Give it back, since it is known whether the item is submitted; safe to call twice."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            on_release()


class Window:
    """How many items may be in flight: halved by a 429, widened again by success.

    Args:
        most: The most.
        first: How many there may be before the first success, if fewer.

    Attributes:
        round: How often it was narrowed.

    """

    def __init__(self, most: int, first: int | None = None) -> None:
        self._most = most
        self._size = float(most if first is None else min(most, first))
        self.round: int = 0
        self._has_opened = first is None

    def __repr__(self) -> str:
        """Show its size."""
        return f"<{type(self).__name__}, {self.size} of {self._most}>"

    @property
    def size(self) -> int:
        """How many there may be now."""
        return int(self._size)

    def open_up(self) -> None:
        """Allow the most after the first success, unless the server has asked for less meanwhile."""
        if not self._has_opened and self.round == 0:
            self._size = float(self._most)
        self._has_opened = True

    def narrow(self, seen_in: int, in_flight: int) -> None:
        """Take half of what is in flight; of the 429s of one round, those sent before it was narrowed, one counts."""
        if seen_in == self.round:
            self._size = max(1.0, min(self._size, in_flight) / 2)
            self.round += 1

    def widen(self) -> None:
        """Grow by a hundredth of the most, and at least by one, with each window's worth of successes."""
        if self._has_opened:
            self._size = min(self._most, self._size + max(1.0, self._most / 100) / self._size)


class Admission:
    """Decides whether a batch starts one more item, and whether it submits any more.

    Args:
        max_in_flight: Items in flight at once.
        max_tasks: Tasks that may be submitted; `None` is no limit.
        stop_after_failures: Items that may fail before nothing more is submitted; `None` never stops.
        on_error: Whether one failed item cancels the others.
        on_change: Called when there may be room for another item.

    Attributes:
        window: How many items may be in flight now.
        stopped_by: What keeps the batch from starting more items; `None` if nothing does.
        in_flight: Items that were started and have no outcome yet.
        may_submit: Whether the items in flight may be submitted.
        is_cancelling: Whether the tasks in flight are cancelled, and those that come with them.

    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_tasks: int | None = None,
        stop_after_failures: int | None = None,
        on_error: OnError = "collect",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        first = None if stop_after_failures is None else max(stop_after_failures, FIRST_IN_FLIGHT)
        self.window: Window = Window(max_in_flight, first)
        self.stopped_by: StoppedBy | None = None
        self.in_flight: int = 0
        self.may_submit: bool = True
        self.is_cancelling: bool = False
        self._max_in_flight = max_in_flight
        self._max_tasks = max_tasks
        self._stop_after_failures = stop_after_failures
        self._on_error = on_error
        self._on_change = on_change
        self._submitted = self._reserved = self._failures = 0
        self._ends: Counter[str] = Counter()

    def __repr__(self) -> str:
        """Show how many items are in flight, and what stops it."""
        stopped = "" if self.stopped_by is None else f", stopped by {self.stopped_by}"
        return f"<{type(self).__name__}, {self.in_flight} of {self.window.size} in flight{stopped}>"

    @property
    def counts(self) -> BatchCounts:
        """How far the batch is."""
        return BatchCounts(in_flight=self.in_flight, submitted=self._submitted, **self._ends)

    @property
    def is_spent(self) -> bool:
        """Whether there are as many tasks as `max_tasks` allows."""
        return self._max_tasks is not None and self._submitted >= self._max_tasks

    def may_start(self, unconsumed: int) -> bool:
        """Whether one more item may start.

        Args:
            unconsumed: Outcomes that wait to be consumed.

        """
        return self.in_flight < self.window.size and unconsumed < self._max_in_flight and self._has_task_left

    @property
    def _has_task_left(self) -> bool:
        return self._max_tasks is None or self._submitted + self._reserved < self._max_tasks

    def start(self) -> Reservation:
        """Count an item as in flight, and reserve a task for it."""
        self.in_flight += 1
        return self._reserve()

    def reserve(self) -> Reservation | None:
        """Reserve a task for another attempt of an item in flight; `None` where `max_tasks` leaves none."""
        return self._reserve() if self._has_task_left else None

    def _reserve(self) -> Reservation:
        self._reserved += 1
        return Reservation(self._release)

    def _release(self) -> None:
        self._reserved -= 1
        self._on_change()

    def count_submitted(self, tasks: int) -> None:
        """Count tasks that were submitted, or may have been."""
        self._submitted += tasks

    def rate_limited(self, seen_in: int, in_flight: int) -> None:
        """Narrow the window after a 429 to what was sent in a round of it, with so many tasks in flight."""
        self.window.narrow(seen_in, in_flight)

    def accepted(self) -> None:
        """Widen the window after a submission that met no 429."""
        self.window.widen()
        self._on_change()

    def end_item(self, ending: Ending) -> StoppedBy | None:
        """Count an item that has ended, and say by what it stops the batch, if it does."""
        self.in_flight -= 1
        self._ends[ending.end] += 1
        self._ends["from_journal"] += ending.is_from_journal
        self._failures += ending.is_failure
        if ending.end == "succeeded":
            if not ending.is_from_journal:
                self.window.open_up()
            return None
        if not self.may_submit:
            return None
        if self._on_error == "cancel_rest":
            self.may_submit, self.is_cancelling = False, True
            return "cancel_rest"
        if self._stop_after_failures is not None and self._failures >= self._stop_after_failures:
            self.may_submit = False
            return "stop_after_failures"
        return None

    def stop(self, reason: StoppedBy) -> None:
        """Note why no more items are started; the first reason is the one that is kept."""
        self.stopped_by = self.stopped_by or reason
