"""Deduplication: which events are updates. What was reported before is not reported again, after a reconnect or by a poll.

The service documents no replay and no ids of events, so a stream that is opened again may begin with what is happening
now, or with the past. What a task does has an order: its statuses before the end, and its progress while it runs. So each
event that says how far the task is has a place in that order, and

- an event that equals the last one, and a status that is known, are no updates;
- after a connect, an event at or before the furthest place reached is the past, up to the first event that goes beyond.
  An unknown status has no place: after a connect it is the past if it was reported before;
- on a stream that goes on, nothing is the past: a task may go back, since the server can start it anew;
- a poll reports the present, so what it says is the past nowhere, and the stream need not bring it any more.

What is accepted waits here to be handed out.
"""

from cyberun_async._protocol.events import (
    CancelledEvent,
    CompletedEvent,
    FailedEvent,
    ProgressEvent,
    StatusEvent,
    TaskEvent,
)
from cyberun_async._protocol.status import ACTIVE, UNSTATED, TaskStatus

_RANK = {status: rank for rank, status in enumerate(ACTIVE)}
# Most events are progress, and each of them would pay for finding a member of the enum.
_RUNNING = TaskStatus.RUNNING
_RANK_OF_PROGRESS = _RANK[_RUNNING]

# An empty set for each wait would be a tenth of what one without a stream takes up.
_NO_VALUES: frozenset[TaskStatus] = frozenset()


class EventDeduplicator:
    """Remembers how far the events of one task have been reported.

    Attributes:
        status: The last status accepted, or `None` before the first.
        accepted: The events that are to be handed out, in order.

    """

    __slots__ = ("_last", "_may_be_past", "_reached", "_unplaced", "accepted", "status")

    def __init__(self) -> None:
        """Know nothing of the task yet."""
        self.status: TaskStatus | None = None
        # A deque of none takes as much memory as all the rest of a wait without a stream.
        self.accepted: list[TaskEvent] = []
        self._last: TaskEvent | None = None
        self._reached = (-1, -1.0)
        self._unplaced: frozenset[TaskStatus] = _NO_VALUES
        self._may_be_past = False

    def __repr__(self) -> str:
        """Show how far it is."""
        return f"<{type(self).__name__}: {self.status}, {len(self.accepted)} to hand out>"

    @property
    def is_over(self) -> bool:
        """Whether the last event that is to be handed out is a terminal one."""
        return bool(self.accepted) and self.accepted[-1].is_terminal

    def connected(self) -> None:
        """Expect that the stream begins with the past."""
        self._may_be_past = True

    def accept(self, event: TaskEvent) -> bool:
        """Keep an event to be handed out, if it is an update, and say whether it is."""
        if event == self._last or (isinstance(event, StatusEvent) and event.status in {self.status, UNSTATED}):
            return False
        place = _place_of(event)
        if event.source == "stream" and self._may_be_past:
            if self._is_past(event, place):
                return False
            self._may_be_past = place is None
        self._reached = place or self._reached
        self._last = event
        self._note_status(event)
        self.accepted.append(event)
        return True

    def _is_past(self, event: TaskEvent, place: tuple[int, float] | None) -> bool:
        if place is not None:
            return place <= self._reached
        return isinstance(event, StatusEvent) and event.status in self._unplaced

    def _note_status(self, event: TaskEvent) -> None:
        match event:
            case ProgressEvent():
                self.status = _RUNNING
            case StatusEvent() | CompletedEvent() | FailedEvent() | CancelledEvent():
                self.status = event.status
                if event.status not in _RANK:
                    self._unplaced |= {event.status}
            case _:
                pass


def _place_of(event: TaskEvent) -> tuple[int, float] | None:
    """Give the place of an event in the order; one that does not say how far the task is has none."""
    if isinstance(event, ProgressEvent):
        return None if event.progress is None else (_RANK_OF_PROGRESS, event.progress)
    if isinstance(event, StatusEvent):
        rank = _RANK.get(event.status)
        return None if rank is None else (rank, -1.0)
    return None
