"""When to look at a task, and when to try its stream again."""

import random

from cyberun_async._settings import Polling

FIRST_RECONNECT = 0.5
"""Upper bound of the first delay before a stream is tried again, in seconds; each fruitless try doubles it."""

LONGEST_RECONNECT = 60.0
"""Upper bound of that delay."""

FIRST_LAG = 0.1
"""Delay before a result that does not yet say what its task says is read again, in seconds; each time doubles it."""

LEAST_BETWEEN_LOOKS = 1.0
"""Seconds between two looks that events ask for: a stream full of oddities must not become a stream of looks."""

_LONG_AGO = float("-inf")


class Pace:
    """The times of one wait, on the clock of its event loop.

    Attributes:
        has_started: Whether the wait has begun.
        look_due: When to look at the task.
        stream_due: When to open its stream.

    """

    __slots__ = (
        "_failing_since",
        "_fruitless",
        "_lags",
        "_last_event",
        "_last_look",
        "_least_delay",
        "_polling",
        "_unrelaxed",
        "has_started",
        "look_due",
        "stream_due",
    )

    def __init__(self, polling: Polling) -> None:
        """Wait for the start."""
        self._polling = polling
        self.has_started: bool = False
        self._fruitless = self._lags = 0
        self._last_event = self._last_look = _LONG_AGO
        self._failing_since: float | None = None
        self._least_delay = 0.0
        self._unrelaxed: float | None = None
        self.look_due: float = _LONG_AGO
        self.stream_due: float = _LONG_AGO

    def start(self, now: float) -> None:
        """Begin with the stream; the first look follows once it is open, or does not open. Only the first start counts."""
        if not self.has_started:
            self.has_started = True
            self.stream_due = now
            self.look_due = now + self._polling.interval

    # Looks

    def look_now(self) -> None:
        """Make a look due: what happens to the stream, only a look explains."""
        self.look_due = _LONG_AGO

    def first_look_now(self) -> None:
        """Make the first look due."""
        if self._last_look == _LONG_AGO:
            self.look_now()

    def look_soon(self, now: float) -> None:
        """Bring the next look forward: something on the stream calls for it."""
        self.look_due = min(self.look_due, max(now, self._last_look + LEAST_BETWEEN_LOOKS))
        self._unrelaxed = None

    def looked(self, now: float) -> None:
        """Plan the look after this one: later while events arrive on the stream."""
        is_relaxed = self.has_event_since_look
        self._last_look = now
        self._plan_look(self._polling.relaxed if is_relaxed else self._polling.interval)
        self._unrelaxed = None if is_relaxed else self.look_due

    def _plan_look(self, interval: float) -> None:
        self.look_due = self._last_look + interval * random.uniform(1.0, 1.2)

    def lagging(self, now: float) -> None:
        """Plan to read a result again that does not yet say what its task says."""
        self.look_due = now + min(FIRST_LAG * 2.0 ** min(self._lags, 30), self._polling.interval)
        self._lags += 1

    def answered(self) -> None:
        """Note that the server answers."""
        self._failing_since = None

    def failed(self, since: float) -> None:
        """Note that what was sent at `since` got no answer that is of use."""
        if self._failing_since is None:
            self._failing_since = since

    def is_out_of_patience(self, now: float) -> bool:
        """Whether the server has failed to answer for too long; the time that nobody asks does not count."""
        return self._failing_since is not None and now - self._failing_since > self._polling.patience

    # The stream

    @property
    def has_event_since_look(self) -> bool:
        """Whether the stream has delivered anything since the last look began."""
        return self._last_event > self._last_look

    def event_came(self, now: float) -> None:
        """Note that the stream brings news, which gives the next look time unless something calls for it."""
        self._last_event = now
        self._fruitless = 0
        if self.look_due == self._unrelaxed:
            self._plan_look(self._polling.relaxed)

    def retry_asked(self, milliseconds: int | None) -> None:
        """Take the server's `retry:` field as the least delay."""
        if milliseconds is not None and milliseconds >= 0:
            self._least_delay = min(milliseconds, 1000 * LONGEST_RECONNECT) / 1000

    def stream_broke(self, now: float, retry_after: float | None = None) -> None:
        """Plan to open the stream again; a polite end counts as well, and only news starts the delays over."""
        ceiling = min(FIRST_RECONNECT * 2.0 ** min(self._fruitless, 30), LONGEST_RECONNECT)
        self._fruitless += 1
        self.stream_due = now + max(self._least_delay, retry_after or 0.0, random.uniform(0.0, ceiling))
