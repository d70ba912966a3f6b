"""When a wait polls, and when it opens its stream again: plain arithmetic on a clock that others read. (backoff, retry)

The next poll is due at `next_poll_at`, which is

- an interval after the last one began (`poll_sent`), spread by chance so that many waits do not poll at once;
- `Polling.interval_while_streaming` after it, where events arrive: the first event after a poll puts the next one off
  (`event_came`), and the others do not, so events cannot put a poll off for ever. A poll that something calls for is
  never put off;
- at once, where the stream opened, broke or ended (`poll_now`), or something said that the task has ended
  (`poll_for_end`); soon, where something odd came (`poll_soon`), which keeps its distance from the last request;
- after a back-off that doubles up to the interval, where a result does not yet say what its task says (`back_off`);
- never before what a `Retry-After` asked for is over (`is_deferred`), whatever calls for it.

The stream is due at `stream_due`: with full jitter under a ceiling that doubles with each stream that brought nothing, and
never before what `retry:` or `Retry-After` asks for.

What keeps failing is given up by an `Outage` for each `Question`. Its time runs from when a poll was planned, so
`lateness` is measured from that and not from when something called for one.
"""

import random
from enum import Enum

from cyberun_async._backoff import backoff
from cyberun_async._settings import Polling
from cyberun_async._wait.outage import Outage

FIRST_RECONNECT = 0.5
"""Upper bound of the first delay before a stream is opened again, in seconds; each one that brings nothing doubles it."""

MAX_RECONNECT_DELAY = 60.0
"""Upper bound of that delay."""

FIRST_BACK_OFF = 0.1
"""Delay before a result that does not yet say what its task says is fetched again, in seconds; each time doubles it."""

MIN_POLL_DISTANCE = 1.0
"""Seconds between two polls that events call for: a stream of odd events must not become a stream of polls."""

UNANSWERED_STREAM = 0.5
"""Seconds after which a task is polled beside a stream that has not answered: a proxy may withhold its headers."""

_LONG_AGO = float("-inf")


class Question(Enum):
    """What a wait asks the API; each has an outage of its own."""

    TASK = "how the task stands"
    RESULT = "what its result is"


class PollSchedule:
    """The times of one wait, on the clock of its event loop.

    Args:
        polling: How often the task is polled, and when to give up.

    Attributes:
        next_poll_at: When the next poll is due.
        stream_due: When to open the stream.

    """

    __slots__ = (
        "_back_offs",
        "_last_event",
        "_last_poll",
        "_last_request",
        "_min_reconnect_delay",
        "_not_before",
        "_outages",
        "_planned",
        "_polling",
        "_postponable",
        "_reconnects",
        "next_poll_at",
        "stream_due",
    )

    def __init__(self, polling: Polling) -> None:
        """Plan nothing before the start."""
        self._polling = polling
        self._reconnects = self._back_offs = 0
        self._last_event = self._last_poll = self._last_request = _LONG_AGO
        self._outages: dict[Question, Outage] | None = None
        self._not_before = _LONG_AGO
        self._min_reconnect_delay = 0.0
        # The time of the next poll, where the first event may put it off.
        self._postponable: float | None = None
        self.next_poll_at: float = _LONG_AGO
        # By the clock alone, whatever brings the poll forward.
        self._planned = float("inf")
        self.stream_due: float = _LONG_AGO

    def __repr__(self) -> str:
        """Show the times."""
        return f"<{type(self).__name__}: poll at {self.next_poll_at:g}, stream at {self.stream_due:g}>"

    def start(self, now: float, *, is_new: bool = False) -> None:
        """Begin with the stream; the first poll follows once it is open, or does not open. Only the first start counts.

        Args:
            now: The time.
            is_new: Whether the task was submitted here a moment ago, so that it can hardly have ended.

        """
        if self.stream_due == _LONG_AGO:
            self.stream_due = now
            self._plan(now + (self._polling.interval if is_new else min(UNANSWERED_STREAM, self._polling.interval)))

    # Polls

    def poll_now(self) -> None:
        """Make a poll due: what happens to the stream, only a poll explains."""
        self.next_poll_at = self._not_before

    def first_poll_now(self) -> None:
        """Make the first poll due."""
        if self._last_poll == _LONG_AGO:
            self.poll_now()

    def poll_soon(self, now: float) -> None:
        """Bring the next poll forward: something on the stream calls for it."""
        self._bring_forward(max(now, self._last_request + MIN_POLL_DISTANCE))

    def poll_for_end(self, now: float) -> None:
        """Bring the next poll forward to now, since something says that the task has ended; less so where that was early."""
        if self._back_offs == 0:
            self._bring_forward(_LONG_AGO)
        else:
            self._bring_forward(max(now, self._last_request + self._next_back_off()))

    def _bring_forward(self, due: float) -> None:
        self.next_poll_at = min(self.next_poll_at, max(due, self._not_before))
        self._postponable = None

    def is_deferred(self, now: float) -> bool:
        """Whether the server wants to be left alone for now."""
        return now < self._not_before

    def lateness(self, now: float) -> float:
        """Give the seconds by which a poll that begins now is later than planned, also where something else calls for it."""
        return max(now - self._planned, 0.0)

    def request_sent(self, now: float) -> None:
        """Note that something is asked."""
        self._last_request = now

    def poll_sent(self, now: float) -> None:
        """Plan the poll after this one: later while events arrive on the stream."""
        is_streaming = self.has_event_since_poll
        self._last_poll = self._last_request = now
        self._plan_poll(self._polling.interval_while_streaming if is_streaming else self._polling.interval)
        self._postponable = None if is_streaming else self.next_poll_at

    def poll_done(self, now: float) -> None:
        """Plan anew where a poll has taken longer than the time to the next, which would leave none for the stream."""
        if _LONG_AGO < self.next_poll_at <= now:
            polling = self._polling
            interval = polling.interval_while_streaming if self.has_event_since_poll else polling.interval
            self._plan(now + interval * random.uniform(1.0, 1.2))

    def back_off(self, now: float) -> None:
        """Plan to fetch a result again that does not yet say what its task says."""
        self._plan(max(now + self._next_back_off(), self._not_before))
        self._back_offs += 1

    def _next_back_off(self) -> float:
        return backoff(self._back_offs, initial=FIRST_BACK_OFF, maximum=self._polling.interval)

    def _plan_poll(self, interval: float) -> None:
        self._plan(max(self._last_poll + interval * random.uniform(1.0, 1.2), self._not_before))

    def _plan(self, due: float) -> None:
        self.next_poll_at = self._planned = due

    # Failures

    def answered(self, question: Question) -> None:
        """Note that a question was answered."""
        if self._outages is not None:
            self._outages.pop(question, None)

    def failed(
        self, question: Question, began: float, now: float, *, late: float = 0.0, retry_after: float | None = None
    ) -> bool:
        """Note that a question got no response that is of use, and say whether to give up.

        Args:
            question: What was asked.
            began: When.
            now: When that had failed.
            late: Seconds by which it was asked later than planned.
            retry_after: Seconds for which the server wants to be left alone; they are kept until the outage is over.

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
        """Whether the stream has delivered anything since the last poll began."""
        return self._last_event > self._last_poll

    def event_came(self, now: float) -> None:
        """Note that the stream brings an update, which gives the next poll time unless something calls for it."""
        self._last_event = now
        self._reconnects = 0
        if self.next_poll_at == self._postponable:
            self._plan_poll(self._polling.interval_while_streaming)

    def retry_asked(self, milliseconds: int | None) -> None:
        """Take the server's `retry:` field as the least delay."""
        if milliseconds is not None and milliseconds >= 0:
            self._min_reconnect_delay = min(milliseconds, 1000 * MAX_RECONNECT_DELAY) / 1000

    def stream_broke(self, now: float, retry_after: float | None = None) -> None:
        """Plan to open the stream again; a polite end counts as well, and only an update starts the delays over."""
        ceiling = backoff(self._reconnects, initial=FIRST_RECONNECT, maximum=MAX_RECONNECT_DELAY)
        self._reconnects += 1
        self.stream_due = now + max(self._min_reconnect_delay, retry_after or 0.0, random.uniform(0.0, ceiling))
