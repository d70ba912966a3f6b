"""One wait's request to be polled together with others."""

import anyio

from cyberun_async._protocol.status import TaskStatus
from cyberun_async._wait.inquiry import PollDecision
from cyberun_async._wait.schedule import PollSchedule, Question


class PollRequest:
    """What a wait leaves with the shared poller while it waits for its next poll.

    It belongs to its wait: the leader reports to it what was found, and from that it keeps the schedule of its wait
    up to date, decides whether that is an update, and wakes its wait.

    Args:
        task_id: The task.
        known: The status that is no update.
        schedule: The times of the wait.
        wants_slot: Whether it waits for one of the client's streams to become free.

    Attributes:
        task_id: The task.
        known: The status that is no update.
        wants_slot: Whether it waits for one of the client's streams to become free.
        decision: What the wait has to do, or the new status of its task; `None` as long as it waits.

    """

    __slots__ = ("_schedule", "_scope", "_woken", "decision", "known", "task_id", "wants_slot")

    def __init__(
        self, task_id: str, known: TaskStatus | None, schedule: PollSchedule, *, wants_slot: bool = False
    ) -> None:
        """Wait for a decision."""
        self.task_id: str = task_id
        self.known: TaskStatus | None = known
        self.wants_slot: bool = wants_slot
        self.decision: TaskStatus | PollDecision | None = None
        self._schedule = schedule
        self._woken: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        """Show what it waits for."""
        state = f"due at {self.due:g}" if self.decision is None else self.decision
        return f"<{type(self).__name__} for task {self.task_id}: {state}>"

    @property
    def due(self) -> float:
        """When its poll is due."""
        return self._schedule.next_poll_at

    # For the wait

    def listening(self) -> "anyio.CancelScope":
        """Give the scope in which the wait reads its stream until its poll is due or there is a decision."""
        self._scope = anyio.CancelScope(deadline=self.due)
        return self._scope

    async def wait(self, until: float) -> None:
        """Wait to be woken."""
        self._woken = anyio.Event()
        if until == float("inf"):
            await self._woken.wait()
        else:
            with anyio.move_on_after(until - anyio.current_time()):
                await self._woken.wait()

    # For the shared poller

    def wake(self) -> None:
        """End the waiting."""
        if self._woken is not None:
            self._woken.set()
        if self._scope is not None:
            self._scope.cancel()

    def decide(self, decision: TaskStatus | PollDecision) -> None:
        """Give the wait something to do."""
        self.decision = decision
        self.wake()

    def listed(self, status: TaskStatus, began: float) -> None:
        """Take the status by which a list shows the task: a decision if it is an update, and else the poll is done.

        Args:
            status: The status.
            began: When the list was asked for.

        """
        self._schedule.poll_sent(began)
        self._schedule.answered(Question.TASK)
        if status != self.known:
            self.decide(status)

    def list_failed(self, began: float, now: float) -> None:
        """Take it that a list which may have the task could not be read; it counts as a poll that failed."""
        if self._schedule.failed(Question.TASK, began, now, late=self._schedule.lateness(began)):
            # Its own poll fails as well, and says how.
            self.decide(PollDecision.POLL)
        else:
            self._schedule.poll_sent(began)
