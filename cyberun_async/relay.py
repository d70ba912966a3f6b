"""Relaying the events of tasks to browsers, which cannot carry a key: one upstream stream a task, any number of readers.

Source: https://docs.cyberun.cloud/api-reference/streaming-events ("in a browser, proxy through your own backend")
"""

import json
import logging
import random
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from cyberun_async._client import AsyncClient
from cyberun_async._errors import ConfigurationError, CyberunError
from cyberun_async._flows.channel import Channel
from cyberun_async._protocol.events import ErrorEvent, encode_event
from cyberun_async._protocol.paths import segment

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HEADERS", "Relay", "RelayedStream"]

_log = logging.getLogger("cyberun_async.relay")

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
"""The headers to send with a relayed stream; the last keeps nginx from holding events back."""

RECONNECT = range(1000, 3000)
"""Milliseconds after which a browser asks again: spread, so that not all of them meet a backend that has just restarted."""

KEEP_ALIVE = b": keep-alive\n\n"


class Relay:
    """Follows tasks on behalf of browsers, as an async context manager that lives as long as the web application.

    However many readers a task has, it has one upstream stream, opened with the first reader and closed soon after the
    last one has left. A slow reader holds nobody up: it reads on from where it is, and what it misses beyond the memory
    is left out. Readers get the service's own events, but for `error`, which in a browser is the connection's; a task
    that cannot be followed ends in an event of our own, `unavailable`.

    ```python
    async with AsyncClient() as client, Relay(client) as relay:
        ...  # in a handler: StreamingResponse(relay.stream(task_id, last_event_id=...), headers=HEADERS)
    ```

    It has to be left in the task that entered it, as it is in the lifespan of every framework.

    Args:
        client: The client to follow tasks with.
        heartbeat: Seconds of silence after which a reader gets a comment, so that proxies keep the connection.
        linger: Seconds that a task is followed, and its events are kept, after its last reader has left.
        memory: Events a task that are kept for readers who come late or come again.

    Raises:
        ConfigurationError: One of the numbers cannot work.

    """

    def __init__(
        self, client: AsyncClient, *, heartbeat: float = 15.0, linger: float = 5.0, memory: int = 1000
    ) -> None:
        """Follow nothing yet."""
        if not (heartbeat > 0 and linger >= 0 and memory > 0):
            raise ConfigurationError("heartbeat and memory must be above 0, and linger must not be below it")
        self._client = client
        self._heartbeat = heartbeat
        self._linger = linger
        self._memory = memory
        self._channels: dict[str, Channel] = {}
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> "Self":
        """Begin to serve readers."""
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop following; the readers' streams end, and their browsers will ask again."""
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.cancel()
            # The error is the application's own, and is not wrapped in a group here: it goes its way after this.
            await group.__aexit__(None, None, None)

    def __repr__(self) -> str:
        """Show how many tasks are followed."""
        return f"<{type(self).__name__} of {self.upstreams} tasks>"

    @property
    def upstreams(self) -> int:
        """How many tasks are being followed."""
        return sum(not channel.is_over for channel in self._channels.values())

    def stream(
        self, task_id: str, *, last_event_id: str | None = None, client: AsyncClient | None = None
    ) -> "RelayedStream":
        """Give a task's events as the bytes of a Server-Sent Events stream, from the first one known, to its end.

        Args:
            task_id: The task. Whether the reader may see it is for the application to check.
            last_event_id: The browser's `Last-Event-ID` header: the stream goes on after it.
            client: The client to follow this task with, where users have keys of their own.

        Raises:
            InvalidParameters: The id cannot be one.
            ConfigurationError: The relay is not open.

        """
        segment(task_id, "task_id")
        self._check_open()
        return RelayedStream(self, task_id, last_event_id, client or self._client)

    def _check_open(self) -> anyio.abc.TaskGroup:
        if self._group is None:
            message = "the relay is not open: use 'async with Relay(client)' around the life of the application"
            raise ConfigurationError(message)
        return self._group

    def _join(self, task_id: str, client: AsyncClient) -> Channel:
        group = self._check_open()
        channel = self._channels.get(task_id)
        if channel is None or not channel.takes_readers:
            channel = self._channels[task_id] = Channel(self._memory, self._linger)
            group.start_soon(self._follow, client, task_id, channel)
        channel.join()
        return channel

    async def _follow(self, client: AsyncClient, task_id: str, channel: Channel) -> None:
        try:
            with channel.scope:
                if await self._tell(client, task_id, channel):
                    channel.end()
                    # Those who come late or come again find what was told.
                    await anyio.sleep_forever()
        finally:
            channel.end()
            if self._channels.get(task_id) is channel:
                del self._channels[task_id]

    async def _tell(self, client: AsyncClient, task_id: str, channel: Channel) -> bool:
        """Tell the channel all that happens to a task, and say whether that is the whole story."""
        try:
            async with client.events(task_id) as events:
                async for event in events:
                    if not isinstance(event, ErrorEvent):
                        channel.add(*encode_event(event))
        except Exception as failure:  # noqa: BLE001
            # A provider of tokens may raise anything, and there are others to serve.
            _log.warning(
                "task %s cannot be followed: %s", task_id, failure, exc_info=not isinstance(failure, CyberunError)
            )
            channel.add("unavailable", json.dumps({"task_id": task_id}))
            return False
        return True


class RelayedStream(AsyncIterator[bytes]):
    """One reader's stream of a task, as `Relay.stream()` gives it: an async iterator, and an async context manager.

    A framework that iterates over it by itself needs no more. Where you do that yourself, use `async with`, which lets
    go of the task however it is left:

    ```python
    async with relay.stream(task_id) as chunks:
        async for chunk in chunks:
            await response.write(chunk)
    ```
    """

    def __init__(self, relay: Relay, task_id: str, last_event_id: str | None, client: AsyncClient) -> None:
        """Follow nothing before the first bytes are wanted."""
        self._relay = relay
        self._task_id = task_id
        self._last_event_id = last_event_id
        self._client = client
        self._number = 0
        self._channel: Channel | None = None
        self._is_over = False

    def __aiter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next bytes: an event, or a comment after a time of silence."""
        if self._is_over:
            raise StopAsyncIteration
        if self._channel is None:
            self._channel = self._relay._join(self._task_id, self._client)
            self._number = self._channel.place_of(self._last_event_id)
            # At once, so that headers go out and proxies see life.
            return f"retry: {random.choice(RECONNECT)}\n\n".encode()
        try:
            item = await self._next(self._channel)
        except BaseException:
            self._leave()
            raise
        if item is None:
            self._leave()
            raise StopAsyncIteration
        return item

    async def _next(self, channel: Channel) -> bytes | None:
        while True:
            item = channel.after(self._number)
            if item is not None:
                self._number = item.number
                return item.text
            if channel.is_over:
                return None
            if not await channel.changed(self._relay._heartbeat):
                return KEEP_ALIVE

    def _leave(self) -> None:
        self._is_over = True
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.leave()

    async def aclose(self) -> None:
        """Let go of the task; safe to call twice."""
        self._leave()

    async def __aenter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of the task."""
        self._leave()

    def __del__(self) -> None:
        """Let go of the task where a framework was cut off between two steps, and could not say so."""
        if self._channel is not None:
            self._channel.leave_from_anywhere()
