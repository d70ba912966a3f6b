"""One reader's stream of a task: events as Server-Sent Events, keep-alive comments between them, `retry:` at both ends."""

import random
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import anyio

from cyberun_async._relay.channel import Channel
from cyberun_async._relay.channel_pool import ChannelPool
from cyberun_async._relay.loop_handle import LoopHandle

if TYPE_CHECKING:
    from typing_extensions import Self

    from cyberun_async._client import AsyncClient

RECONNECT = range(1000, 3000)
"""Milliseconds after which a browser reconnects: spread, so that not all of them meet a backend that has just restarted."""

KEEP_ALIVE = b": keep-alive\n\n"


class RelayedStream(AsyncIterator[bytes]):
    """One reader's stream of a task, as `Relay.open()` gives it: an async iterator, and an async context manager.

    A framework that iterates over it by itself needs no more. Where you do that yourself, use `async with`, which
    leaves the task however it is left:

    ```python
    async with await relay.open(task_id) as chunks:
        async for chunk in chunks:
            await response.write(chunk)
    ```
    """

    def __init__(
        self, pool: ChannelPool, task_id: str, client: "AsyncClient", *, last_event_id: str | None, heartbeat: float
    ) -> None:
        """Follow nothing before the first bytes are wanted."""
        self._pool = pool
        self._heartbeat = heartbeat
        self._task_id = task_id
        self._last_event_id = last_event_id
        self._client = client
        self._number = 0
        self._channel: Channel | None = None
        self._loop: LoopHandle | None = None
        self._has_begun = False
        self._is_over = False

    def __repr__(self) -> str:
        """Show which task it is of, and how far it is."""
        state = "over" if self._is_over else "open"
        return f"<{type(self).__name__} of task {self._task_id} {state}: at event {self._number}>"

    def __aiter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next bytes: an event, or a comment after a time of silence."""
        if self._is_over:
            raise StopAsyncIteration
        try:
            chunk = await self._next()
        except BaseException:
            self._leave()
            raise
        if chunk is None:
            self._leave()
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> bytes | None:
        if not self._has_begun and not self._pool.is_draining:
            self._has_begun = True
            self._join()
            # At once, so that headers go out and proxies see life.
            return _retry()
        while not self._pool.is_draining:
            channel = self._join()
            item = channel.after(self._number)
            if item is not None:
                self._number = item.number
                return item.text
            if channel.is_over:
                channel.raise_exit()
                return None
            if not await channel.changed(self._heartbeat):
                return KEEP_ALIVE
        self._leave()
        return _retry()

    async def wait_until_known(self, within: float) -> None:
        """Wait until something is known of the task, and raise what stands against following it."""
        if self._pool.is_draining:
            return
        channel = self._join()
        with anyio.move_on_after(within):
            while not (channel.is_known or channel.is_over or self._pool.is_draining):
                await channel.changed()
        if not channel.is_known:
            channel.raise_failure()

    def _join(self) -> Channel:
        if self._channel is None:
            self._loop = self._pool.loop
            self._channel = self._pool.join(self._task_id, self._client)
            self._number = self._channel.place_of(self._last_event_id)
        return self._channel

    def _leave(self) -> None:
        self._is_over = True
        channel, self._channel = self._channel, None
        if channel is not None:
            self._pool.leave(channel, self._client)

    async def aclose(self) -> None:
        """Leave the task; safe to call twice."""
        self._leave()

    async def __aenter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the task."""
        self._leave()

    def __del__(self) -> None:
        """Leave the task where a framework was interrupted between two steps; the collector runs in any thread."""
        if self._channel is not None and self._loop is not None:
            self._loop.call_soon(partial(self._pool.leave, self._channel, self._client))


def _retry() -> bytes:
    return f"retry: {random.choice(RECONNECT)}\n\n".encode()
