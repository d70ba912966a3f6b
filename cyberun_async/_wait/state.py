"""What a wait does next: a pure state machine, which never waits, reads no clock and sends nothing.

A wait follows its task by two means, an event stream and requests: `WaitState` decides about the stream, and `Inquiry`
about the requests. `TaskFollower` asks for the `next_action`, carries it out, and reports what happened, each kind of
happening by a method of its own; it decides nothing itself.

| the stream is | a poll is due | `next_action` |
| --- | --- | --- |
| closed, and its time has come | | `OPEN_STREAM`, and poll beside it: the server may withhold its headers |
| closed, and all streams of the client are taken | | `WAIT_FOR_SLOT`, and poll meanwhile |
| closed, to be opened later | | `WAIT` until then, and poll meanwhile |
| open and cancel-safe | no, and none is planned | `LISTEN`: nothing else is done, so an event costs no task |
| open, and lost where reading it is cancelled | no | `POLL_BESIDE_STREAM`: the stream is read while the wait polls |
| open | no, but a request is planned | `POLL_BESIDE_STREAM` |
| open | yes, after the stream was read and was quiet | `POLL_BESIDE_STREAM`, by the shared poller |
| open | yes | `POLL`, ahead of what the stream may have brought by now: so it is clear what a new stream adds to |
| open | yes, and the last request was cancelled | `LAND_POLL`, which no event cancels |

| happening | what follows |
| --- | --- |
| the stream is open | a poll at once, so that nothing that ended before is missed |
| it was refused, broke, or was closed | a poll at once, and another try after a back-off, or after `Retry-After` |
| an event that is an update | is emitted, and makes polls rarer |
| an event that is none | is dropped: it was reported before |
| an event with a terminal status | the result is fetched at once |
| what cannot be read, has no status, or is an error | a poll soon |
| a webhook or a signal reports the end | a poll at once; a request in flight may have been too early |
| the terminal event | the stream is closed, and then it is emitted |
| an event while a request is in flight | the request has `POLL_GRACE` to be answered, and is cancelled then |
| the same, and the last request was cancelled | the request lands; what follows the event is read ahead for a terminal one |

What always holds, whatever the stream and the API do:

- A stream can only bring updates. Whatever goes wrong with it makes a poll due, and only requests end a wait.
- Once a result is readable it is reported within one interval (`Polling.interval_while_streaming` while events arrive, else
  `Polling.interval`, each with its jitter) and three round trips; a `Retry-After` of the server comes on top.
- Events cancel no two requests in a row, so they postpone none for ever; and a terminal one waits for no request.
- Events are emitted in order, and the wait is over with the first terminal one.
"""

from enum import Enum

from cyberun_async._protocol.events import ErrorEvent, StatusEvent, TaskEvent, UnknownEvent
from cyberun_async._protocol.hints import says_end
from cyberun_async._protocol.status import UNSTATED, TaskStatus
from cyberun_async._settings import Polling
from cyberun_async._wait.dedup import EventDeduplicator
from cyberun_async._wait.inquiry import Inquiry, PollDecision
from cyberun_async._wait.schedule import PollSchedule

POLL_GRACE = 0.25
"""Seconds that a request in flight gets to be answered once the stream has an update, unless the last one was cancelled."""

STREAM_LAG = 1.0
"""Seconds that stream and polls get for each other, before one of them goes on alone.

A stream gets them to deliver what a poll has seen before it counts as not getting through, and to open once the polls are
done; a poll that goes ahead of the stream (`POLL`) gets them before it is cancelled, and the next one lands (`LAND_POLL`).
"""

MAX_READ_AHEAD = 100
"""Events that are read ahead, for the terminal one, while the first of them waits for a request in flight."""


_NO_SIGN_OF_LIFE = (ErrorEvent, UnknownEvent)
"""Events that make polls no rarer: an unknown one may be a heartbeat, which proves a connection and not a task."""


class Stream(Enum):
    """How the event stream of a wait is."""

    CLOSED = "closed"
    OPEN = "open, and lost where reading it is cancelled"
    CANCEL_SAFE = "open, and reading it can be cancelled and resumed"


class Action(Enum):
    """What a wait does next."""

    OPEN_STREAM = "open the stream, and poll at the same time"
    LISTEN = "read the stream until a poll is due, or the shared poller has an update"
    POLL = "poll, before more of the stream is read"
    POLL_BESIDE_STREAM = "poll, and read the stream at the same time"
    LAND_POLL = "poll by a request of this wait alone, which no event cancels, and read the stream at the same time"
    WAIT = "poll until it is time to open the stream"
    WAIT_FOR_SLOT = "poll until one of the client's streams is free"


class WaitState:
    """The state of one wait.

    Args:
        task_id: The task.
        polling: How often it is polled.
        submitted_at: When this client has submitted it, where that was a moment ago.
        is_new: Whether the task was submitted for this wait, so that polls need not begin at once where no stream is free.

    Attributes:
        schedule: The times of the wait.
        dedup: What was reported, and what is to be handed out.
        inquiry: What is asked.
        stream: How the stream is.

    `_is_quiet` says that the last read of the stream has brought nothing until a poll was due.

    """

    __slots__ = ("_is_new", "_is_quiet", "dedup", "inquiry", "schedule", "stream")

    def __init__(
        self, task_id: str, polling: Polling, submitted_at: float | None = None, *, is_new: bool = False
    ) -> None:
        """Know nothing."""
        self.schedule: PollSchedule = PollSchedule(polling)
        self.dedup: EventDeduplicator = EventDeduplicator()
        self.inquiry: Inquiry = Inquiry(task_id, self.schedule, self.dedup, submitted_at)
        self.stream: Stream = Stream.CLOSED
        self._is_new = is_new
        self._is_quiet = False

    def __repr__(self) -> str:
        """Show where it stands."""
        return (
            f"<{type(self).__name__}: stream {self.stream.value}, {self.inquiry!r}, {self.dedup!r}, {self.schedule!r}>"
        )

    def start(self, now: float) -> None:
        """Begin; only the first start counts."""
        self.schedule.start(now, is_new=self.inquiry.submitted_at is not None)

    def next_action(self, now: float, *, has_slot: bool) -> Action:
        """Say what to do next.

        Args:
            now: The time.
            has_slot: Whether one of the client's streams is free.

        """
        if self.stream is Stream.CLOSED:
            if self.schedule.stream_due > now:
                return Action.WAIT
            return Action.OPEN_STREAM if has_slot else Action.WAIT_FOR_SLOT
        if self.schedule.next_poll_at > now and self.inquiry.planned is None and self.stream is Stream.CANCEL_SAFE:
            return Action.LISTEN
        if self.schedule.next_poll_at > now or self._is_quiet or self.inquiry.planned is not None:
            return Action.POLL_BESIDE_STREAM
        return Action.LAND_POLL if self.inquiry.was_cancelled else Action.POLL

    # The stream

    def opened(self, *, is_cancel_safe: bool) -> None:
        """Note that the stream is open."""
        self.stream = Stream.CANCEL_SAFE if is_cancel_safe else Stream.OPEN
        self._is_quiet = False
        self.dedup.connected()
        self.schedule.poll_now()

    def broke(self, now: float, retry_after: float | None = None) -> None:
        """Note that the stream was refused, broke or ended."""
        self.stream = Stream.CLOSED
        self.schedule.stream_broke(now, retry_after)
        self.schedule.poll_now()

    def slots_taken(self) -> None:
        """Note that no stream of the client is free, so that the polls begin without one."""
        if not self._is_new:
            self.schedule.first_poll_now()

    def closed(self) -> None:
        """Note that the stream was closed on this side."""
        self.stream = Stream.CLOSED

    def unreadable(self, now: float) -> None:
        """Note that something came that is no event."""
        self._is_quiet = False
        self.schedule.poll_soon(now)

    def received(self, event: TaskEvent, data: str, now: float) -> None:
        """Take an event of the stream.

        Args:
            event: The event, which is about this task.
            data: Its data, as the server sent it.
            now: The time.

        """
        self._is_quiet = False
        is_update = self.dedup.accept(event)
        # Progress has no status as a rule, and this is the whole price of looking for one. All else may be known already.
        if 'status"' in data and not event.is_terminal and says_end(event, data):
            self.inquiry.end_reported(None, now)
            self.schedule.poll_for_end(now)
        elif isinstance(event, _NO_SIGN_OF_LIFE):
            if is_update and isinstance(event, ErrorEvent):
                self.schedule.poll_soon(now)
        elif is_update:
            self.schedule.event_came(now)
        elif isinstance(event, StatusEvent) and event.status == UNSTATED:
            self.schedule.poll_soon(now)

    def listened(self, decision: TaskStatus | PollDecision | None, now: float) -> None:
        """Note that the stream was read for a while, and what the shared poller has decided meanwhile."""
        is_left = bool(self.dedup.accepted) or self.stream is Stream.CLOSED
        self._is_quiet = not is_left and self.schedule.next_poll_at <= now
        if decision is not None and is_left:
            self.schedule.poll_now()
        elif decision is not None:
            self.inquiry.act_on(decision, now, stream_first=True)

    # Both at the same time

    @property
    def grace(self) -> float:
        """The seconds that a request in flight has, now that the stream has an update."""
        if self.dedup.is_over or not self.inquiry.is_asking:
            return 0.0
        return float("inf") if self.inquiry.was_cancelled else POLL_GRACE

    @property
    def reads_ahead(self) -> bool:
        """Whether the stream is read on while a request is let land, since a terminal event does not wait for it."""
        is_held = self.stream is Stream.CANCEL_SAFE and self.grace == float("inf")
        return is_held and len(self.dedup.accepted) < MAX_READ_AHEAD

    @property
    def keeps_stream(self) -> bool:
        """Whether the stream takes no harm from being cancelled; one that lets a poll be first does not get through."""
        return self.stream is Stream.CANCEL_SAFE and not self.dedup.accepted
