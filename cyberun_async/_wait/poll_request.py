"""One wait's next look at its task."""

import anyio

from cyberun_async._protocol.status import TaskStatus
from cyberun_async._wait.inquiry import PollDecision
from cyberun_async._wait.schedule import PollSchedule


class PollRequest:
    """One wait's next look.

    Args:
        task_id: Whose.
        known: The status that is no news.
        pace: When the look is due; it is told of every look that brought no news.
        wants_stream: Whether it waits for one of the client's streams to become free.

    Attributes:
        told: What came of it: the new status, or what the wait is to do.

    """

    __slots__ = ("_scope", "_woken", "known", "schedule", "task_id", "told", "wants_stream")

    def __init__(
        self, task_id: str, known: TaskStatus | None, schedule: PollSchedule, *, wants_stream: bool = False
    ) -> None:
        """Wait to be told."""
        self.task_id: str = task_id
        self.known: TaskStatus | None = known
        self.schedule: PollSchedule = schedule
        self.wants_stream: bool = wants_stream
        self.told: TaskStatus | PollDecision | None = None
        self._woken: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None

    def listening(self) -> "anyio.CancelScope":
        """Give the scope in which its wait listens to its stream until there is something to do."""
        self._scope = anyio.CancelScope(deadline=self.schedule.next_poll_at)
        return self._scope

    async def wait(self, until: float) -> None:
        """Wait for something to do."""
        self._woken = anyio.Event()
        if until == float("inf"):
            await self._woken.wait()
        else:
            with anyio.move_on_after(until - anyio.current_time()):
                await self._woken.wait()

    def wake(self) -> None:
        """End the waiting."""
        if self._woken is not None:
            self._woken.set()
        if self._scope is not None:
            self._scope.cancel()
