"""Reading a body so that waiting for its bytes can be left and taken up again.

Whoever is cut off while httpcore waits for bytes loses the connection with it, so waiting for a stream and for anything
else at once would take a task for the stream, for each event anew. Here httpcore's reading comes to a standstill
wherever it needs bytes, and the waiting is done outside of it: nothing is lost when that is cut off.
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
"""What a reading yields to whoever drives it, in place of what an event loop would wait for."""


@coroutine
def _suspend() -> Generator[object, None, None]:
    yield _NEEDS_BYTES


class CancelSafeStream:
    """A network stream, as httpcore's pools use it, whose bytes can be waited for ahead of reading them.

    Attributes:
        stands_still: Whether reading comes to a standstill where nothing was fetched ahead.

    """

    def __init__(self, stream: "httpcore.AsyncNetworkStream") -> None:
        """Read as any other at first."""
        self._stream = stream
        self._ahead: bytes | None = None
        self._failure: Exception | None = None
        self.suspended: bool = False

    async def fetch(self, timeout: float | None) -> None:
        """Wait for bytes, or for a failure to read any, and keep it for the reading; may be cut off and called again."""
        try:
            self._ahead = await self._stream.read(CHUNK_SIZE, timeout)
        except Exception as failure:  # noqa: BLE001 - raised where it is read, so that httpcore cleans up after it
            self.fail(failure)

    def fail(self, failure: Exception) -> None:
        """Have the reading fail."""
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
    """A network backend, as httpcore's pools use it, that connects as another one does, with patient streams."""

    def __init__(self, backend: "httpcore.AsyncNetworkBackend") -> None:
        """Stand before another backend."""
        self._backend = backend

    async def connect_tcp(self, *args: Any, **options: Any) -> CancelSafeStream:
        """Connect to a host."""
        return CancelSafeStream(await self._backend.connect_tcp(*args, **options))


class CancelSafeBody:
    """The body of a response, read chunk by chunk; on a patient stream the waiting can be left and taken up again.

    Args:
        response: As it comes from the transport, its body unread.
        silence: Seconds without a byte after which a patient stream counts as dead.

    """

    def __init__(self, response: httpx.Response, *, silence: float) -> None:
        """Start before the first chunk."""
        stream = response.extensions.get("network_stream")
        self._stream = stream if isinstance(stream, CancelSafeStream) else None
        if self._stream is not None:
            self._stream.suspended = True
        # Not the whole response: a thousand streams stay open for long, and the collector looks at all that they hold.
        self._source = response.stream
        self._chunks = raw_chunks(response)
        self._reading: Generator[Any, Any, bytes] | None = None
        self._silence = silence
        self._waited = 0.0

    @property
    def is_patient(self) -> bool:
        """Whether the waiting can be left without an end to the connection."""
        return self._stream is not None

    async def next(self, *, leaves_in: float = float("inf")) -> bytes:
        """Wait for the next chunk.

        Args:
            leaves_in: Seconds after which the caller leaves off by itself.

        Raises:
            StopAsyncIteration: There is none any more.

        """
        try:
            if self._stream is None:
                return await self._chunks.__anext__()
            while (chunk := await self._read_on()) is None:
                await self._fetch(self._stream, leaves_in)
            return chunk
        except StopAsyncIteration:
            raise
        except Exception as error:  # noqa: BLE001 - raised again; `below` would cost each event more than the rest
            raise as_foreign(error) from error.__cause__

    async def _fetch(self, stream: CancelSafeStream, leaves_in: float) -> None:
        """Wait for bytes, for as long as the stream may still be silent."""
        began, left = time.monotonic(), self._silence - self._waited
        try:
            # A clock that cannot strike before the caller's own is not worth its price, and trio has none of less than 0.
            await stream.fetch(None if leaves_in < left else max(left, 0.0))
        except BaseException:
            # A wait that is left goes on counting with the next one; the time that nobody waits does not count.
            self._waited += time.monotonic() - began
            raise
        self._waited = 0.0

    @coroutine
    def _read_on(self) -> Generator[Any, Any, bytes | None]:
        """Let httpcore read until it has a chunk, or needs bytes; what else it waits for is the event loop's matter."""
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
                await self._leave(stream)
            except BaseException:
                # A one-shot cancellation of asyncio's went through the shield, and another may follow.
                await run_shielded(lambda: self._drop(stream), within=within)
                raise

    async def _leave(self, stream: CancelSafeStream) -> None:
        """End the reading from the inside, at whatever point it is, which closes the connection."""
        stream.fail(httpx.ReadError("nobody reads on"))
        with suppress(Exception):
            while True:
                await self._read_on()
        await self._drop(stream)

    async def _drop(self, stream: CancelSafeStream) -> None:
        """Close what is still open."""
        for part in (stream, self._source):
            with suppress(Exception):
                await part.aclose()  # type: ignore[union-attr]
