"""When to look at a task, and when to try its stream again."""

import random
from enum import Enum

from cyberun_async._backoff import backoff
from cyberun_async._settings import Polling
from cyberun_async._wait.outage import Outage

FIRST_RECONNECT = 0.5
"""Upper bound of the first delay before a stream is tried again, in seconds; each fruitless try doubles it."""

MAX_RECONNECT_DELAY = 60.0
"""Upper bound of that delay."""

FIRST_LAG = 0.1
"""Delay before a result that does not yet say what its task says is read again, in seconds; each time doubles it."""

LEAST_BETWEEN_LOOKS = 1.0
"""Seconds between two looks that events ask for: a stream full of oddities must not become a stream of looks."""

UNANSWERED_STREAM = 0.5
"""Seconds after which a task is polled beside a stream that has not answered: a proxy may withhold its headers."""

_LONG_AGO = float("-inf")


class Question(Enum):
    """What a wait asks the API; each has a patience of its own."""

    TASK = "how the task stands"
    RESULT = "what its result is"


class PollSchedule:
    """The times of one wait, on the clock of its event loop.

    Attributes:
        has_started: Whether the wait has begun.
        look_due: When to look at the task.
        stream_due: When to open its stream.

    """

    __slots__ = (
        "_fruitless",
        "_lags",
        "_last_asked",
        "_last_event",
        "_last_look",
        "_least_delay",
        "_not_before",
        "_outages",
        "_planned",
        "_polling",
        "_unrelaxed",
        "has_started",
        "next_poll_at",
        "stream_due",
    )

    def __init__(self, polling: Polling) -> None:
        """Wait for the start."""
        self._polling = polling
        self.has_started: bool = False
        self._fruitless = self._lags = 0
        self._last_event = self._last_look = self._last_asked = _LONG_AGO
        self._outages: dict[Question, Outage] | None = None
        self._not_before = _LONG_AGO
        self._least_delay = 0.0
        self._unrelaxed: float | None = None
        self.next_poll_at: float = _LONG_AGO
        # By the clock alone, whatever brings the look forward.
        self._planned = float("inf")
        self.stream_due: float = _LONG_AGO

    def start(self, now: float, *, is_new: bool = False) -> None:
        """Begin with the stream; the first look follows once it is open, or does not open. Only the first start counts.

        Args:
            now: The time.
            is_new: Whether the task was submitted here a moment ago, so that it can hardly have ended.

        """
        if not self.has_started:
            self.has_started = True
            self.stream_due = now
            self._plan(now + (self._polling.interval if is_new else min(UNANSWERED_STREAM, self._polling.interval)))

    # Looks

    def poll_now(self) -> None:
        """Make a look due: what happens to the stream, only a look explains."""
        self.next_poll_at = self._not_before

    def is_deferred(self, now: float) -> bool:
        """Whether the server wants to be left alone for now."""
        return now < self._not_before

    def lateness(self, now: float) -> float:
        """Give the seconds by which a look that begins now is later than planned, also where something else calls for it."""
        return max(now - self._planned, 0.0)

    def first_look_now(self) -> None:
        """Make the first look due."""
        if self._last_look == _LONG_AGO:
            self.poll_now()

    def poll_soon(self, now: float) -> None:
        """Bring the next look forward: something on the stream calls for it."""
        self.next_poll_at = min(self.next_poll_at, max(now, self._last_asked + LEAST_BETWEEN_LOOKS, self._not_before))
        self._unrelaxed = None

    def poll_for_end(self, now: float) -> None:
        """Bring the next look forward to now, since something says that the task has ended; less so where that was early."""
        if self._lags == 0:
            self.poll_now()
        else:
            self.next_poll_at = min(self.next_poll_at, max(now, self._last_asked + self._lag(), self._not_before))
        self._unrelaxed = None

    def asked(self, now: float) -> None:
        """Note that a request is sent."""
        self._last_asked = now

    def looked(self, now: float) -> None:
        """Plan the look after this one: later while events arrive on the stream."""
        is_relaxed = self.has_event_since_poll
        self._last_look = self._last_asked = now
        self._plan_poll(self._polling.interval_while_streaming if is_relaxed else self._polling.interval)
        self._unrelaxed = None if is_relaxed else self.next_poll_at

    def landed(self, now: float) -> None:
        """Plan anew where a look has taken longer than the time to the next, which would leave none for the stream."""
        if _LONG_AGO < self.next_poll_at <= now:
            interval = self._polling.interval_while_streaming if self.has_event_since_poll else self._polling.interval
            self._plan(now + interval * random.uniform(1.0, 1.2))

    def _plan_poll(self, interval: float) -> None:
        self._plan(max(self._last_look + interval * random.uniform(1.0, 1.2), self._not_before))

    def _plan(self, due: float) -> None:
        self.next_poll_at = self._planned = due

    def lagging(self, now: float) -> None:
        """Plan to read a result again that does not yet say what its task says."""
        self._plan(max(now + self._lag(), self._not_before))
        self._lags += 1

    def _lag(self) -> float:
        return backoff(self._lags, initial=FIRST_LAG, maximum=self._polling.interval)

    # Failures

    def answered(self, question: Question) -> None:
        """Note that a question was answered."""
        if self._outages is not None:
            self._outages.pop(question, None)

    def failed(
        self, question: Question, began: float, now: float, *, late: float = 0.0, retry_after: float | None = None
    ) -> bool:
        """Note that a question got no answer that is of use, and say whether to give up.

        Args:
            question: What was asked.
            began: When.
            now: When that had failed.
            late: Seconds by which it was asked later than planned.
            retry_after: Seconds for which the server wants to be left alone; they are kept as far as the patience goes.

        """
        self._outages = self._outages or {}
        outage = self._outages.setdefault(question, Outage(began, self._polling.unavailable_timeout))
        outage.failed(began, now, late=late)
        if retry_after:
            self._not_before = now + min(retry_after, outage.remaining)
            self._plan(max(self.next_poll_at, self._not_before))
        return outage.is_over

    def has_event_in_outage(self, question: Question) -> bool:
        """Whether the stream has brought an update since a question began to fail."""
        outage = (self._outages or {}).get(question)
        return outage is not None and self._last_event > outage.began

    # The stream

    @property
    def has_event_since_poll(self) -> bool:
        """Whether the stream has delivered anything since the last look began."""
        return self._last_event > self._last_look

    def event_came(self, now: float) -> None:
        """Note that the stream brings news, which gives the next look time unless something calls for it."""
        self._last_event = now
        self._fruitless = 0
        if self.next_poll_at == self._unrelaxed:
            self._plan_poll(self._polling.interval_while_streaming)

    def retry_asked(self, milliseconds: int | None) -> None:
        """Take the server's `retry:` field as the least delay."""
        if milliseconds is not None and milliseconds >= 0:
            self._least_delay = min(milliseconds, 1000 * MAX_RECONNECT_DELAY) / 1000

    def stream_broke(self, now: float, retry_after: float | None = None) -> None:
        """Plan to open the stream again; a polite end counts as well, and only news starts the delays over."""
        ceiling = backoff(self._fruitless, initial=FIRST_RECONNECT, maximum=MAX_RECONNECT_DELAY)
        self._fruitless += 1
        self.stream_due = now + max(self._least_delay, retry_after or 0.0, random.uniform(0.0, ceiling))
