"""Waiting for a result on the stream that a relay follows already."""

from typing import TYPE_CHECKING

from cyberun_async._protocol.events import TaskEvent
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._relay.channel_pool import ChannelPool
from cyberun_async._wait.follower import TaskFollower

if TYPE_CHECKING:
    from cyberun_async._client import AsyncClient


class SharedFollower:
    """Follows a task by a channel of a relay for as long as that takes readers, and alone from there.

    It stands in for a `TaskFollower` in a wait. Its own follower reads the result, and takes over where the relay is closed first.
    """

    def __init__(self, pool: ChannelPool, client: "AsyncClient", own: TaskFollower) -> None:
        """Join the channel, unless the relay is about to stop."""
        self._pool = pool
        self._client = client
        self._own = own
        self._channel = None if pool.is_draining else pool.join(own.task_id, client)
        self._number = 0
        self._status: TaskStatus | None = None

    def __repr__(self) -> str:
        """Show what it follows by."""
        return f"<{type(self).__name__} by {self._channel or self._own!r}>"

    @property
    def status(self) -> TaskStatus | None:
        """The last status seen."""
        return self._own.status or self._status

    async def next(self) -> TaskEvent:
        """Wait for the next event.

        Raises:
            CyberunError: The task cannot be followed.

        """
        while self._channel is not None:
            item = self._channel.after(self._number)
            if item is not None:
                self._number = item.number
                if item.event is not None:
                    self._status = getattr(item.event, "status", self._status)
                    return item.event
            elif self._channel.is_over or self._pool.is_draining:
                self._channel.raise_failure()
                self._detach()
            else:
                await self._channel.changed()
        return await self._own.next()

    async def settle(self) -> TaskResult:
        """Read the result of the task, which has ended."""
        return await self._own.settle()

    async def aclose(self) -> None:
        """Leave the channel."""
        self._detach()
        await self._own.aclose()

    def _detach(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._pool.leave(channel, self._client)
