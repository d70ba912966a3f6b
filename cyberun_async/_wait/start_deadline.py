"""How long a wait lets its task stay in the queue: `start_timeout`. (pending, waiting, no agent)

The deadline bounds the wait for each event until one says that the task has started; from then on nothing is bounded. Polls
are seconds apart, and what follows may cancel the task: so when the deadline passes, the task is polled once more, and one
that has started meanwhile is waited for. Where that poll has no response, the last status seen counts.
"""

from typing import Protocol

import anyio

from cyberun_async._errors import CyberunError
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.events import ProgressEvent, StatusEvent, TaskEvent
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.follower import FAILURES
from cyberun_async._wait.poll_errors import is_lag, is_passing
from cyberun_async._wait.schedule import Question


class Follower(Protocol):
    """What a wait needs of whatever follows its task: a `TaskFollower`, or what stands in for one."""

    @property
    def status(self) -> TaskStatus | None:
        """The last status seen."""

    async def next(self) -> TaskEvent:
        """Wait for the next event."""

    async def settle(self) -> TaskResult:
        """Fetch the result of the task, which has ended."""

    async def aclose(self) -> None:
        """Stop following."""


class NotStarted(Exception):
    """The deadline passed, and nothing says that the task has started."""


class BoundedStart:
    """Follows a task as another follower does, which it stands in for, and bounds the time until the task has started.

    Args:
        follower: Follows the task.
        transport: Sends the last poll.
        task_id: The task.
        seconds: The time that it has, from now.
        grace: Seconds that the last poll may take.

    """

    __slots__ = ("_due", "_follower", "_grace", "_has_started", "_task_id", "_transport")

    def __init__(self, follower: Follower, transport: Transport, task_id: str, seconds: float, grace: float) -> None:
        self._follower = follower
        self._transport = transport
        self._task_id = task_id
        self._due = anyio.current_time() + seconds
        self._grace = grace
        self._has_started = False

    def __repr__(self) -> str:
        """Show whether the task has started."""
        return f"<{type(self).__name__} of {self._follower!r}{', started' if self._has_started else ''}>"

    @property
    def status(self) -> TaskStatus | None:
        """The last status seen."""
        return self._follower.status

    async def next(self) -> TaskEvent:
        """Wait for the next event.

        Raises:
            NotStarted: The time is over.

        """
        if not self._has_started:
            with anyio.CancelScope(deadline=self._due):
                event = await self._follower.next()
                self._has_started = says_started(event)
                return event
            if not await self._is_started():
                raise NotStarted
            self._has_started = True
        return await self._follower.next()

    async def settle(self) -> TaskResult:
        """Fetch the result of the task, which has ended."""
        return await self._follower.settle()

    async def aclose(self) -> None:
        """Stop following."""
        await self._follower.aclose()

    async def _is_started(self) -> bool:
        """Poll once more."""
        with anyio.move_on_after(self._grace):
            try:
                return is_started(await self._transport.send_once(endpoints.get_task(self._task_id)))
            except FAILURES as failure:
                if not is_passing(failure) and not self._is_lag(failure):
                    raise
        return False

    def _is_lag(self, failure: CyberunError) -> bool:
        """Whether the task is not known everywhere yet."""
        submitted_at = self._transport.recent.time_of(self._task_id)
        return submitted_at is not None and is_lag(failure, Question.TASK, self._due - submitted_at)


def says_started(event: TaskEvent) -> bool:
    """Whether an event says that its task has started, or is over."""
    is_progress = isinstance(event, ProgressEvent) or event.is_terminal
    return is_progress or (isinstance(event, StatusEvent) and event.status.has_started)


def is_started(task: Task) -> bool:
    """Whether a poll says that a task has started; one that is queued again after a failure had started, too."""
    return task.started_at is not None or task.status.has_started
