"""Cancel-safe reads of a body: waiting for its next bytes can be cancelled, and done again later. (suspend, coroutine)

**Why.** Cancelling an httpcore read closes its connection. A wait that listens to a stream until its next poll is due
would have to keep the read in a task of its own, for each event anew, or lose the stream with each poll.

**How.** httpcore reads a body by a chain of coroutines that ends at the network stream. There stands our
`CancelSafeStream`. In the mode `suspended`, a read that finds no bytes ahead does not wait: it yields a marker,
`_NEEDS_BYTES`, to the driver of the coroutine. That is not the event loop but `CancelSafeBody._read_on`, which runs
httpcore's coroutine by hand, one `send` at a time, and passes on to the event loop whatever else it yields. At the marker
it stops and keeps the coroutine. Then `_fetch` waits for bytes outside of httpcore, and may be cancelled at any time:

    next() ─ _read_on: httpcore's coroutine ─┬─ a chunk ──────────────────────────────── returned
                  ▲                          └─ _NEEDS_BYTES: the coroutine is suspended
                  └── resumed ◄── bytes ahead ◄── _fetch: stream.read(), cancellable ────┘

**States.** Of the body: not reading (`_reading` is `None`), or suspended within httpcore's coroutine. Of the stream:
nothing ahead, bytes ahead, or failed.

**Invariants.**

- Bytes that were read are in `_ahead` or with httpcore, never in a frame that a cancellation can drop: `fetch` has no
  await after its read.
- A failure to read is raised inside of httpcore's coroutine and not in `fetch`, so that httpcore cleans up after it.
- The coroutine is driven to its end before the stream is closed (`_end_reading` makes its next read fail): the collector
  is left no generator of httpcore's, about which trio complains.
- Silence is counted over all waits since the last byte, without the time in which nobody waits.

On any other stream (of a user's own client, or where httpx gives no place to put ours) `is_cancel_safe` is false, and
`next` is a plain await.
"""

import time
from collections.abc import Generator
from contextlib import suppress
from types import coroutine
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from cyberun_async._concurrency import run_shielded
from cyberun_async._transport.bodies import close_body, raw_chunks
from cyberun_async._transport.error_mapping import as_foreign

if TYPE_CHECKING:
    # It takes longer to import than all of this package, and httpx leaves it to the first client, too.
    import httpcore

CHUNK_SIZE = 64 * 1024
"""Bytes, as many as httpcore asks for."""

_NEEDS_BYTES = object()
"""What httpcore's coroutine yields to its driver, in place of what an event loop would wait for."""


@coroutine
def _suspend() -> Generator[object, None, None]:
    yield _NEEDS_BYTES


class CancelSafeStream:
    """A network stream, as httpcore's pools use it, whose bytes can be waited for ahead of reading them.

    Attributes:
        suspended: Whether a read suspends where nothing was fetched ahead, instead of waiting.

    """

    def __init__(self, stream: "httpcore.AsyncNetworkStream") -> None:
        self._stream = stream
        self._ahead: bytes | None = None
        self._failure: Exception | None = None
        self.suspended: bool = False

    def __repr__(self) -> str:
        """Show in which state it is."""
        ahead = "failed" if self._failure is not None else f"{len(self._ahead or b'')} bytes ahead"
        return f"<{type(self).__name__}: {'suspending' if self.suspended else 'waiting'}, {ahead}>"

    async def fetch(self, timeout: float | None) -> None:
        """Wait for bytes, or for a failure to read any, and keep it for the next read; may be cancelled and called again."""
        try:
            self._ahead = await self._stream.read(CHUNK_SIZE, timeout)
        except Exception as failure:  # noqa: BLE001 - raised where it is read, so that httpcore cleans up after it
            self.fail(failure)

    def fail(self, failure: Exception) -> None:
        """Have the next read fail."""
        self._failure = failure

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Give what was fetched ahead, or what comes next."""
        while self.suspended and self._ahead is None and self._failure is None:
            await _suspend()
        if self._failure is not None:
            raise self._failure
        if self._ahead is None:
            return await self._stream.read(max_bytes, timeout)
        ahead, self._ahead = self._ahead, None
        return ahead

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> "CancelSafeStream":
        """Go on by TLS."""
        return CancelSafeStream(await self._stream.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        """Give what is known of the connection."""
        return self._stream.get_extra_info(info)


class CancelSafeBackend:
    """A network backend, as httpcore's pools use it, that connects as another one does, with cancel-safe streams."""

    def __init__(self, backend: "httpcore.AsyncNetworkBackend") -> None:
        self._backend = backend

    async def connect_tcp(self, *args: Any, **options: Any) -> CancelSafeStream:
        """Connect to a host."""
        return CancelSafeStream(await self._backend.connect_tcp(*args, **options))


class CancelSafeBody:
    """The body of a response, read chunk by chunk; on a `CancelSafeStream`, waiting for it can be cancelled.

    Args:
        response: As it comes from the transport, its body unread.
        silence: Seconds without a byte after which a `CancelSafeStream` counts as dead.

    """

    def __init__(self, response: httpx.Response, *, silence: float) -> None:
        stream = response.extensions.get("network_stream")
        self._stream = stream if isinstance(stream, CancelSafeStream) else None
        if self._stream is not None:
            self._stream.suspended = True
        # Not the response itself: a thousand streams stay open for long, and the collector goes through all that they hold.
        self._source = response.stream
        self._chunks = raw_chunks(response)
        self._reading: Generator[Any, Any, bytes] | None = None
        self._silence = silence
        self._waited = 0.0

    def __repr__(self) -> str:
        """Show in which state it is."""
        kind = "cancel-safe" if self.is_cancel_safe else "plain"
        state = "reading" if self._reading is None else "suspended"
        return f"<{type(self).__name__}: {kind}, {state}, silent for {self._waited:.3f} s>"

    @property
    def is_cancel_safe(self) -> bool:
        """Whether waiting can be cancelled without losing the connection."""
        return self._stream is not None

    async def next(self, *, caller_timeout: float = float("inf")) -> bytes:
        """Wait for the next chunk.

        Args:
            caller_timeout: Seconds after which the caller cancels the read; for a longer silence no timer is set.

        Raises:
            StopAsyncIteration: That was the last one.

        """
        try:
            if self._stream is None:
                return await self._chunks.__anext__()
            while (chunk := await self._read_on()) is None:
                await self._fetch(self._stream, caller_timeout)
            return chunk
        except StopAsyncIteration:
            raise
        except Exception as error:  # noqa: BLE001 - raised again; `below` would cost each event more than the rest
            raise as_foreign(error) from error.__cause__

    async def _fetch(self, stream: CancelSafeStream, caller_timeout: float) -> None:
        """Wait for bytes, for as long as the stream may still be silent."""
        began, left = time.monotonic(), self._silence - self._waited
        try:
            # A timeout that cannot fire before the caller's own would cost a timer for nothing; trio has none below 0.
            await stream.fetch(None if caller_timeout < left else max(left, 0.0))
        except BaseException:
            # The next wait goes on counting; time in which nobody waits does not count.
            self._waited += time.monotonic() - began
            raise
        self._waited = 0.0

    @coroutine
    def _read_on(self) -> Generator[Any, Any, bytes | None]:
        """Drive httpcore's coroutine until it has a chunk, or needs bytes (`None`); the event loop gets all else it yields."""
        reading = self._reading
        if reading is None:
            self._reading = reading = self._chunks.__anext__().__await__()
        resume, value = reading.send, None
        try:
            while (wanted := resume(value)) is not _NEEDS_BYTES:
                try:
                    resume, value = reading.send, (yield wanted)
                except BaseException as error:  # noqa: BLE001 - thrown into the reading, as a plain await would
                    resume, value = reading.throw, error
        except StopIteration as end:
            self._reading = None
            chunk: bytes = end.value
            return chunk
        except BaseException:
            self._reading = None
            raise
        return None

    async def aclose(self, *, within: float) -> None:
        """Close the connection, under cancellation too, for a bounded time."""
        if self._stream is None:
            await run_shielded(lambda: close_body(self._source, self._chunks), within=within)
            return
        stream = self._stream
        with anyio.move_on_after(within, shield=True):
            try:
                await self._end_reading(stream)
            except BaseException:
                # A one-shot cancellation of asyncio's went through the shield, and another may follow.
                await run_shielded(lambda: self._close(stream), within=within)
                raise

    async def _end_reading(self, stream: CancelSafeStream) -> None:
        """Have httpcore's coroutine fail at whatever point it is, which closes the connection."""
        stream.fail(httpx.ReadError("the stream was closed"))
        with suppress(Exception):
            while True:
                await self._read_on()
        await self._close(stream)

    async def _close(self, stream: CancelSafeStream) -> None:
        """Close what is still open."""
        for part in (stream, self._source):
            with suppress(Exception):
                await part.aclose()  # type: ignore[union-attr]
