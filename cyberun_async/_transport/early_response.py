"""Early responses: reading while sending, so that a response which comes before the complete request has left is not lost.

**Why.** A storage may refuse an upload by its head alone, close its end, and after a moment the connection: with unread
bytes in flight, that is a reset, which throws away what the client has not read yet. httpcore reads only once it has
sent everything or a write has failed.

**How.** `listening` opens a task group around one upload. The first write of its request on an `EarlyResponseStream`
starts a reader there, which keeps what it reads. Once that begins a final response that is no success
(`stops_sending`, pure), whatever httpcore waits for (a write, or the next block of the body) fails as it expects it of a
closed connection, by a `WriteError`, upon which it reads the response, from what the reader has kept.

**States of a stream.** Idle, no reader; sending, with a reader, which may have stopped by itself (answered, at its end,
64 KiB ahead, failed); receiving, from the first `read` on, which stops the reader and hands out what it has kept.

**Invariants.**

- One reader at a time: `read` waits until the reader has stopped before it touches the stream below.
- The reader never outlives its upload: it is a child of the group that `listening` closes.
- Only an error response stops the sending. A success may be meant of the complete request.
- What the reader fails with is dropped: the next write or read fails with it, too.

Sources: https://www.rfc-editor.org/rfc/rfc9112#name-tear-down (the reset), and httpcore's `http11.py` (the `WriteError`).
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from cyberun_async._concurrency import FlatTaskGroup

if TYPE_CHECKING:
    # It takes longer to import than all of this package, and httpx leaves it to the first client, too.
    import httpcore

T = TypeVar("T")

CHUNK_SIZE = 64 * 1024
"""Bytes, as many as httpcore asks for, and as many as are read ahead."""

_START = len(b"HTTP/1.1 200")


def stops_sending(received: bytes) -> bool:
    """Whether what has been received before a request was sent completely makes it pointless to send the rest.

    An interim response (100, 103) asks for nothing, and is followed by the final one. A success may be meant of the
    complete request. What is no response at all is left to the parser.
    """
    while received.startswith(b"HTTP/1.") and received[9:10] == b"1":
        _, end, received = received.partition(b"\r\n\r\n")
        if not end:
            return False
    if len(received) < _START:
        return not b"HTTP/1.".startswith(received[:7])
    return received[9:10] != b"2"


class _Upload:
    """One request that is being sent: where its reader may run, and on which stream it has begun to leave."""

    __slots__ = ("group", "stream")

    def __init__(self, group: FlatTaskGroup) -> None:
        self.group = group
        self.stream: EarlyResponseStream | None = None


_current: ContextVar[_Upload | None] = ContextVar("upload", default=None)


async def listening(work: Callable[[], Awaitable[T]]) -> T:
    """Send a request, and read while it leaves, if that is on an `EarlyResponseStream`."""
    async with FlatTaskGroup() as group:
        _current.set(_Upload(group))
        result = await work()
        _current.set(None)
        group.cancel_scope.cancel()
    return result


async def unless_answered(work: Callable[[], Awaitable[T]]) -> T:
    """Wait for a part of a request's body, unless the response comes first.

    Raises:
        httpcore.WriteError: It has come.

    """
    upload = _current.get()
    return await (work() if upload is None or upload.stream is None else upload.stream.unless_answered(work))


class EarlyResponseStream:
    """A network stream, as httpcore's pools use it, that notices a response while a request is being sent."""

    def __init__(self, stream: "httpcore.AsyncNetworkStream") -> None:
        self._stream = stream
        self._received = b""
        self._is_at_end = False
        self._reader: anyio.CancelScope | None = None
        self._has_stopped = anyio.Event()
        self._at_work: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        """Show in which state it is."""
        state = "answered" if self._is_answered else "idle" if self._reader is None else "sending"
        return f"<{type(self).__name__}: {state}, {len(self._received)} bytes ahead>"

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, unless the server has no use for them."""
        upload = _current.get()
        if upload is not None and upload.stream is not self:
            upload.stream = self
            self._reader, self._has_stopped = anyio.CancelScope(), anyio.Event()
            upload.group.start_soon(self._listen, self._reader)
        await self.unless_answered(lambda: self._stream.write(buffer, timeout))

    async def unless_answered(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something that is a part of sending, unless there is a response."""
        import httpcore

        if not self._is_answered:
            with anyio.CancelScope() as self._at_work:
                return await work()
        raise httpcore.WriteError("the server has responded, or closed its end, before it had everything")

    @property
    def _is_answered(self) -> bool:
        # A success may be followed by the end of the connection before it is seen here that all was sent.
        return stops_sending(self._received) if self._received else self._is_at_end

    async def _listen(self, reader: anyio.CancelScope) -> None:
        try:
            with reader:
                while not self._is_answered and not self._is_at_end and len(self._received) < CHUNK_SIZE:
                    chunk = await self._stream.read(CHUNK_SIZE, None)
                    self._received += chunk
                    self._is_at_end = not chunk
        except Exception:  # noqa: BLE001 - whatever is written or read next fails of it as well
            return
        finally:
            self._has_stopped.set()
        if self._is_answered and self._at_work is not None:
            self._at_work.cancel()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Give what came while sending, or what comes next."""
        if self._reader is not None:
            self._reader.cancel()
            await self._has_stopped.wait()
            self._reader = None
        if self._received:
            received, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return received
        return b"" if self._is_at_end else await self._stream.read(max_bytes, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._reader is not None:
            self._reader.cancel()
        await self._stream.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> "EarlyResponseStream":
        """Go on by TLS."""
        return EarlyResponseStream(await self._stream.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        """Give what is known of the connection."""
        return self._stream.get_extra_info(info)


class EarlyResponseBackend:
    """A network backend, as httpcore's pools use it, that connects as another one does, and reads while sending."""

    def __init__(self, backend: "httpcore.AsyncNetworkBackend") -> None:
        self._backend = backend

    async def connect_tcp(self, *args: Any, **options: Any) -> EarlyResponseStream:
        """Connect to a host."""
        return EarlyResponseStream(await self._backend.connect_tcp(*args, **options))
