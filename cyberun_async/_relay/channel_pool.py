"""The channels of a relay: which readers share one, and who follows its task in the background."""

import json
import logging
from typing import TYPE_CHECKING

import anyio
import attrs

from cyberun_async._client import core_of
from cyberun_async._errors import ConfigurationError, CyberunError
from cyberun_async._protocol.events import ErrorEvent
from cyberun_async._relay.channel import Account, Channel, account_of
from cyberun_async._relay.loop_handle import LoopHandle

if TYPE_CHECKING:
    from cyberun_async._client import AsyncClient

_log = logging.getLogger("cyberun_async.relay")


@attrs.frozen
class _Key:
    """What readers have in common who share a channel."""

    account: Account
    task_id: str


class ChannelPool:
    """One channel for each task and account, which lives for as long as it has readers, and a while longer.

    Each channel is followed by a background task. Its client is that of one of the readers; when that client is closed,
    the client of another reader takes its place, so that no reader's stream depends on another reader's client.

    Args:
        history: Events that a channel keeps.
        linger: Seconds that a channel outlives its last reader.

    Attributes:
        is_draining: Whether readers are to leave, and none is let in.

    """

    def __init__(self, history: int, linger: float) -> None:
        self.is_draining: bool = False
        self._history = history
        self._linger = linger
        self._loop: LoopHandle | None = None
        self._readers = 0
        # Those that take readers, and all that have not ended yet.
        self._channels: dict[_Key, Channel] = {}
        self._running: set[Channel] = set()
        self._changed = anyio.Event()

    def __repr__(self) -> str:
        """Show whether it is open, and for how many readers."""
        state = "closed" if self._loop is None else "draining" if self.is_draining else "open"
        return f"<{type(self).__name__} {state}: {self.upstreams} tasks, {self._readers} readers>"

    @property
    def upstreams(self) -> int:
        """How many tasks are being followed."""
        return sum(not channel.is_over for channel in self._running)

    @property
    def loop(self) -> LoopHandle:
        """The event loop that it is open on.

        Raises:
            ConfigurationError: It is not open.

        """
        if self._loop is None:
            message = "the relay is not open: use 'async with Relay(client)' around the life of the application"
            raise ConfigurationError(message)
        return self._loop

    def open(self) -> None:
        """Begin to let readers in."""
        self._loop = LoopHandle()
        self.is_draining = False

    def join(self, task_id: str, client: "AsyncClient") -> Channel:
        """Give the channel of a task to one more reader."""
        key = _Key(account_of(core_of(client).settings), task_id)
        channel = self._channels.get(key)
        if channel is None or not channel.takes_readers:
            channel = self._channels[key] = Channel(self._history, self._linger)
            self._running.add(channel)
            self.loop.start(self._follow, key, channel, client)
        channel.join(client)
        self._readers += 1
        return channel

    def leave(self, channel: Channel, client: "AsyncClient") -> None:
        """Let a reader go."""
        channel.leave(client)
        self._readers -= 1
        self._wake()

    async def drain(self, within: float) -> None:
        """Have the readers leave, wait for them for a bounded time, and stop following."""
        self.is_draining = True
        for channel in self._running:
            channel.wake()
        with anyio.move_on_after(within):
            while self._readers and self._loop is not None:
                await self._changed.wait()
        await self._stop()

    async def aclose(self) -> None:
        """Let nobody in any more, and stop following; safe to call twice."""
        self._loop = None
        self._wake()
        await self._stop()

    async def _stop(self) -> None:
        """End the channels, under cancellation too."""
        for channel in self._running:
            channel.scope.cancel()
        with anyio.CancelScope(shield=True):
            while self._running:
                await self._changed.wait()

    async def _follow(self, key: _Key, channel: Channel, client: "AsyncClient") -> None:
        try:
            with channel.scope:
                if await self._publish_events(key.task_id, channel, client):
                    channel.end()
                    # Readers who come late or come again find what was published.
                    await anyio.sleep_forever()
        finally:
            channel.end()
            if self._channels.get(key) is channel:
                del self._channels[key]
            self._running.discard(channel)
            self._wake()

    def _wake(self) -> None:
        """Wake those who wait until readers have left, or until no task is followed."""
        self._changed.set()
        self._changed = anyio.Event()

    async def _publish_events(self, task_id: str, channel: Channel, client: "AsyncClient") -> bool:
        """Publish all events of a task in its channel, and return whether the last one is among them."""
        following: AsyncClient | None = client
        while following is not None:
            try:
                async with following.events(task_id) as events:
                    async for event in events:
                        if not isinstance(event, ErrorEvent):
                            channel.publish(event)
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as failure:  # noqa: BLE001 - a token provider's may be any; readers raise those of an exit
                if not following.is_closed or (channel.clients and all(each.is_closed for each in channel.clients)):
                    _report(task_id, failure)
                    channel.fail(failure, "unavailable", json.dumps({"task_id": task_id}))
                    return False
                following = next((each for each in channel.clients if not each.is_closed), None)
            else:
                return True
        return False


def _report(task_id: str, failure: BaseException) -> None:
    # What a token provider of the application raises is the application's to find.
    is_foreign = not isinstance(failure, CyberunError)
    _log.warning("task %s cannot be followed: %s", task_id, failure, exc_info=failure if is_foreign else None)
