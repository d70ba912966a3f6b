"""Which events are news: what was handed out before is not told again."""

from cyberun_async._protocol.events import (
    CancelledEvent,
    CompletedEvent,
    FailedEvent,
    ProgressEvent,
    StatusEvent,
    TaskEvent,
)
from cyberun_async._protocol.status import UNSTATED, TaskStatus

_RANK = {
    TaskStatus.PENDING: 0,
    TaskStatus.WAITING: 1,
    TaskStatus.PROVISIONING: 2,
    TaskStatus.QUEUED: 3,
    TaskStatus.RUNNING: 4,
}
# Most events are progress, and to look a member of an enum up costs each of them.
_RUNNING = TaskStatus.RUNNING
_RANK_OF_PROGRESS = _RANK[_RUNNING]

# An empty set for each wait would be a tenth of what one without a stream takes up.
_NO_VALUES: frozenset[TaskStatus] = frozenset()


class EventDeduplicator:
    """Remembers how far the story of one task has been told.

    Whether a stream tells the past again when it is opened is not documented. So after each connect, what lies on the
    stream behind the point that was reached is dropped, up to its first event that goes beyond. On a running
    stream a task may go back, since the server can start it anew; and a look always tells the present.

    Attributes:
        status: The last status accepted, or `None` before the first.
        accepted: The events that are to be handed out, in order.

    """

    __slots__ = ("_last", "_may_be_told_again", "_reached", "_words_without_place", "accepted", "status")

    def __init__(self) -> None:
        """Know nothing of the task yet."""
        self.status: TaskStatus | None = None
        # A deque of none takes as much memory as all the rest of a wait without a stream.
        self.accepted: list[TaskEvent] = []
        self._last: TaskEvent | None = None
        self._reached = (-1, -1.0)
        self._words_without_place: frozenset[TaskStatus] = _NO_VALUES
        self._may_be_told_again = False

    def __repr__(self) -> str:
        """Show how far it is."""
        return f"<{type(self).__name__}: {self.status}, {len(self.accepted)} to hand out>"

    @property
    def is_over(self) -> bool:
        """Whether the last event that is to be handed out is a terminal one."""
        return bool(self.accepted) and self.accepted[-1].is_terminal

    def connected(self) -> None:
        """Expect that the past may be told again."""
        self._may_be_told_again = True

    def accept(self, event: TaskEvent) -> bool:
        """Whether to hand an event out; if so, it counts as handed out."""
        if event == self._last or (isinstance(event, StatusEvent) and event.status in {self.status, UNSTATED}):
            return False
        point = _point_of(event)
        if event.source == "stream" and self._may_be_told_again:
            if self._was_told(event, point):
                return False
            self._may_be_told_again = point is None
        self._reached = point or self._reached
        self._last = event
        self._note_status(event)
        self.accepted.append(event)
        return True

    def _was_told(self, event: TaskEvent, point: tuple[int, float] | None) -> bool:
        if point is not None:
            return point <= self._reached
        return isinstance(event, StatusEvent) and event.status in self._words_without_place

    def _note_status(self, event: TaskEvent) -> None:
        match event:
            case ProgressEvent():
                self.status = _RUNNING
            case StatusEvent() | CompletedEvent() | FailedEvent() | CancelledEvent():
                self.status = event.status
                if event.status not in _RANK:
                    self._words_without_place |= {event.status}
            case _:
                pass


def _point_of(event: TaskEvent) -> tuple[int, float] | None:
    """Place an event in the story; one that does not say how far the task is has no place."""
    if isinstance(event, ProgressEvent):
        return None if event.progress is None else (_RANK_OF_PROGRESS, event.progress)
    if isinstance(event, StatusEvent):
        rank = _RANK.get(event.status)
        return None if rank is None else (rank, -1.0)
    return None
