"""Relaying the events of tasks to browsers, which cannot carry a key: one upstream stream a task, any number of readers.

Source: https://docs.cyberun.cloud/api-reference/streaming-events ("in a browser, proxy through your own backend")
"""

import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import attrs

from cyberun_async._client import AsyncClient
from cyberun_async._errors import ConfigurationError, CyberunError
from cyberun_async._protocol.events import ErrorEvent, encode_event
from cyberun_async._protocol.paths import segment

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HEADERS", "Relay"]

log = logging.getLogger("cyberun_async.relay")

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
"""The headers to send with a relayed stream; the last keeps nginx from holding events back."""


@attrs.frozen
class _Line:
    """One event, ready to be sent."""

    number: int
    text: bytes


class _Channel:
    """What is known of one task: the events so far, and whoever waits for the next one."""

    def __init__(self, memory: int) -> None:
        # Numbers of an earlier life of the backend must not pass for ours.
        self.name = secrets.token_hex(4)
        self.lines: deque[_Line] = deque(maxlen=memory)
        self.readers = 0
        self.is_over = False
        self.left = anyio.Event()
        self.scope = anyio.CancelScope()
        self._count = 0
        self._changed = anyio.Event()

    def add(self, name: str, data: str) -> None:
        self._count += 1
        text = f"id: {self.name}-{self._count}\nevent: {name}\ndata: {data}\n\n"
        self.lines.append(_Line(self._count, text.encode()))
        self._wake()

    def end(self) -> None:
        self.is_over = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def after(self, number: int) -> list[_Line]:
        """Give the lines after a number, as far back as they are remembered."""
        lines = []
        for line in reversed(self.lines):
            if line.number <= number:
                break
            lines.append(line)
        return lines[::-1]

    def place_of(self, last_event_id: str | None) -> int:
        """Give the number that a reader has come to; one that comes from elsewhere starts over."""
        name, _, number = (last_event_id or "").rpartition("-")
        return int(number) if name == self.name and number.isascii() and number.isdigit() else 0

    async def changed(self, within: float) -> bool:
        """Wait for the next event, for a bounded time."""
        with anyio.move_on_after(within):
            await self._changed.wait()
            return True
        return False


class Relay:
    """Follows tasks on behalf of browsers, as an async context manager that lives as long as the web application.

    However many readers a task has, it has one upstream stream, opened with the first reader and closed soon after the
    last one leaves. A slow reader holds nobody up: it reads on from where it is, and what it misses beyond the memory is
    left out. The browser gets the service's own events, but for `error`; a task that cannot be followed ends in an
    event of our own, `unavailable`.

    ```python
    async with AsyncClient() as client, Relay(client) as relay:
        ...  # in a handler: StreamingResponse(relay.stream(task_id, last_event_id=...), headers=HEADERS)
    ```

    Args:
        client: The client to follow tasks with.
        heartbeat: Seconds of silence after which a reader gets a comment, so that proxies keep the connection.
        linger: Seconds that a task is followed, or its events are kept, after its last reader left.
        memory: Events a task that are kept for readers who come late or come again.

    """

    def __init__(
        self, client: AsyncClient, *, heartbeat: float = 15.0, linger: float = 5.0, memory: int = 1000
    ) -> None:
        """Follow nothing yet."""
        self._client = client
        self._heartbeat = heartbeat
        self._linger = linger
        self._memory = memory
        self._channels: dict[str, _Channel] = {}
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
        for channel in self._channels.values():
            channel.end()
        if group is not None:
            group.cancel_scope.cancel()
            await group.__aexit__(kind, error, traceback)

    @property
    def upstreams(self) -> int:
        """How many tasks are being followed."""
        return sum(not channel.is_over for channel in self._channels.values())

    async def stream(self, task_id: str, *, last_event_id: str | None = None) -> AsyncIterator[bytes]:
        """Give a task's events as the bytes of a Server-Sent Events stream, from the first one, to its end.

        Args:
            task_id: The task. Whether the reader may see it is for the application to check.
            last_event_id: The browser's `Last-Event-ID` header: the stream goes on after it.

        Raises:
            InvalidParameters: The id cannot be one.
            ConfigurationError: The relay is not open.

        """
        channel = self._channel(task_id)
        channel.readers += 1
        try:
            number = channel.place_of(last_event_id)
            # At once, so that headers go out and proxies see life.
            yield b"retry: 2000\n\n"
            while True:
                lines = channel.after(number)
                for line in lines:
                    number = line.number
                    yield line.text
                if not lines and channel.is_over:
                    return
                if not lines and not await channel.changed(self._heartbeat):
                    yield b": keep-alive\n\n"
        finally:
            channel.readers -= 1
            if not channel.readers:
                channel.left.set()

    def _channel(self, task_id: str) -> _Channel:
        segment(task_id, "task_id")
        if self._group is None:
            message = "the relay is not open: use 'async with Relay(client)' around the life of the application"
            raise ConfigurationError(message)
        channel = self._channels.get(task_id)
        if channel is None:
            channel = self._channels[task_id] = _Channel(self._memory)
            self._group.start_soon(self._follow, task_id, channel)
            self._group.start_soon(self._close_when_left, task_id, channel)
        return channel

    async def _follow(self, task_id: str, channel: _Channel) -> None:
        with channel.scope:
            try:
                async with self._client.events(task_id) as events:
                    async for event in events:
                        # In a browser "error" is the connection's own event, and this one is about a moment at the server.
                        if not isinstance(event, ErrorEvent):
                            channel.add(*encode_event(event))
            except CyberunError as failure:
                log.warning("task %s cannot be followed: %s", task_id, failure)
                channel.add("unavailable", json.dumps({"task_id": task_id}))
        channel.end()

    async def _close_when_left(self, task_id: str, channel: _Channel) -> None:
        """Let go of a task some time after its last reader has left."""
        while True:
            await channel.left.wait()
            channel.left = anyio.Event()
            await anyio.sleep(self._linger)
            if not channel.readers:
                channel.scope.cancel()
                del self._channels[task_id]
                return
