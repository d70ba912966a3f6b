"""Reading while sending, so that a response which comes before the whole request has left is not lost.

A storage may refuse an upload by its head alone, close its end, and after a moment the whole connection: with unread bytes
on the way, that is a reset, which throws away what the client has not read yet. httpcore reads only once it has sent
everything or a write has failed. So each write here reads side by side; when the final response begins, and is no
success, the write fails as httpcore expects it of a closed connection (`WriteError`), upon which it reads the response.

Sources: https://www.rfc-editor.org/rfc/rfc9112#name-tear-down (the reset), and httpcore's `http11.py` (the `WriteError`).
"""

from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    # It takes longer to import than all of this package, and httpx leaves it to the first client, too.
    import httpcore

READ_AT_ONCE = 64 * 1024
"""Bytes, as many as httpcore asks for."""

_START = len(b"HTTP/1.1 200")


def stops_sending(received: bytes) -> bool:
    """Whether what has been received before a request was sent as a whole makes it pointless to send the rest.

    An interim response (100, 103) asks for nothing, and is followed by the final one. A success may be meant of the
    whole request. What is no response at all is left to the parser.
    """
    while received.startswith(b"HTTP/1.") and received[9:10] == b"1":
        _, end, received = received.partition(b"\r\n\r\n")
        if not end:
            return False
    if len(received) < _START:
        return not b"HTTP/1.".startswith(received[:7])
    return received[9:10] != b"2"


class EarlyResponseStream:
    """A network stream, as httpcore's pools use it, that notices a response while a request is being sent."""

    def __init__(self, stream: "httpcore.AsyncNetworkStream") -> None:
        """Stand before another stream."""
        self._stream = stream
        self._received = b""
        self._is_at_end = False

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, unless the server has no use for them."""
        import httpcore

        failures: list[Exception] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope)
            try:
                await self._stream.write(buffer, timeout)
            except Exception as failure:  # noqa: BLE001 - raised again below, outside of an exception group
                failures.append(failure)
            group.cancel_scope.cancel()
        if self._is_at_end or (self._received and stops_sending(self._received)):
            raise httpcore.WriteError("the server has answered, or closed its end, before it had everything")
        if failures:
            raise failures[0]

    async def _watch(self, sending: anyio.CancelScope) -> None:
        """Read until there is no point in sending any more, and then stop that."""
        while not self._is_at_end and not (self._received and stops_sending(self._received)):
            try:
                chunk = await self._stream.read(READ_AT_ONCE, None)
            except Exception:  # noqa: BLE001 - the write fails of it as well, or the read that comes after it
                return
            self._received += chunk
            self._is_at_end = not chunk
        sending.cancel()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Give what came while sending, or what comes next."""
        if self._received:
            received, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return received
        return b"" if self._is_at_end else await self._stream.read(max_bytes, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
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
        """Stand before another backend."""
        self._backend = backend

    async def connect_tcp(self, *args: Any, **options: Any) -> EarlyResponseStream:
        """Connect to a host."""
        return EarlyResponseStream(await self._backend.connect_tcp(*args, **options))
