"""Which events are news: what was handed out before is not told again."""

from cyberun_async._protocol.events import ProgressEvent, StatusEvent, TaskEvent
from cyberun_async._protocol.status import TaskStatus

_RANK = {
    TaskStatus.PENDING: 0,
    TaskStatus.WAITING: 1,
    TaskStatus.PROVISIONING: 2,
    TaskStatus.QUEUED: 3,
    TaskStatus.RUNNING: 4,
}


class News:
    """Remembers how far the story of one task has been told.

    Whether a stream tells the past again after a reconnect is not documented. So after each connect, whatever lies
    behind the point that was reached is dropped, up to the first event that goes beyond it. On a running stream a task
    may go back, since the server can start it anew.

    Attributes:
        status: The last status handed out, or `None` before the first.

    """

    def __init__(self) -> None:
        """Know nothing of the task yet."""
        self.status: TaskStatus | None = None
        self._last: TaskEvent | None = None
        self._reached = (-1, -1.0)
        self._may_be_told_again = False

    def connected(self) -> None:
        """Expect that the past may be told again."""
        self._may_be_told_again = True

    def is_news(self, event: TaskEvent) -> bool:
        """Whether to hand an event out; if so, it counts as handed out."""
        if event == self._last or (isinstance(event, StatusEvent) and event.status == self.status):
            return False
        point = _point_of(event)
        if point is not None:
            if self._may_be_told_again and point <= self._reached:
                return False
            self._reached, self._may_be_told_again = point, False
        if isinstance(event, StatusEvent):
            self.status = event.status
        elif isinstance(event, ProgressEvent):
            self.status = TaskStatus.RUNNING
        self._last = event
        return True


def _point_of(event: TaskEvent) -> tuple[int, float] | None:
    """Place an event in the story; an event that says nothing of the task's way has no place."""
    if isinstance(event, StatusEvent):
        rank = _RANK.get(event.status)
        return None if rank is None else (rank, -1.0)
    if isinstance(event, ProgressEvent):
        return _RANK[TaskStatus.RUNNING], event.progress or 0.0
    return None
