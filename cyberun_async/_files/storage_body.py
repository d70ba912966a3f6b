"""The body of a file from the storage as it arrives: by the HTTP parser, or for large files past it."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import anyio
import httpx

from cyberun_async._concurrency import run_shielded
from cyberun_async._files.storage_failure import StorageFailure, storage_failure
from cyberun_async._protocol.error_responses import ERROR_TEXT
from cyberun_async._protocol.secret import Secret
from cyberun_async._transport.bodies import close_body, has_surplus, raw_chunks
from cyberun_async._transport.content_codings import decompress
from cyberun_async._transport.error_mapping import below, map_exceptions

CHUNK_SIZE = 256 * 1024
"""Bytes read in one go from a connection of its own; asyncio takes no more from a socket."""


class StorageBody:
    """The response to a request for a file, with its body as it arrives.

    It must be closed, by its owner, while no read is pending.

    Attributes:
        ends_with_connection: Whether nothing else says where it ends, so that an interruption looks like its end.

    """

    def __init__(
        self, url: Secret[str], response: httpx.Response, cleanup: float, raw_reader: "RawSocketReader | None" = None
    ) -> None:
        self.url = url
        self._response = response
        self._chunks = raw_chunks(response)
        self._raw_reader = raw_reader
        self._is_at_end = False
        self._cleanup = cleanup
        self._is_closed = False
        # A response in memory has no version, and does not break.
        has_no_end = not {"content-length", "transfer-encoding"}.intersection(response.headers)
        is_http1 = response.extensions.get("http_version", b"").startswith(b"HTTP/1")
        self.ends_with_connection: bool = has_no_end and is_http1
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def __repr__(self) -> str:
        """Show the status, and whether it was closed or read to its end."""
        state = "closed" if self._is_closed else "at its end" if self._is_at_end else "open"
        return f"<{type(self).__name__}, {self.status}, {state}>"

    @property
    def has_surplus(self) -> bool:
        """Whether more bytes have come than it was announced to have, which may be the rest of the file."""
        return self._is_at_end and has_surplus(self._response.stream)

    async def receive(self) -> bytes | None:
        """Wait for the next bytes.

        Returns:
            `None` at the end.

        Raises:
            StorageFailure: The connection broke.

        """
        return await map_exceptions(self._receive, partial(storage_failure, self.url))

    async def _receive(self) -> bytes | None:
        if self._raw_reader is not None and self._raw_reader.taken:
            return await self._raw_reader.receive()
        try:
            with below():
                chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._is_at_end = True
            return None
        if self._raw_reader is not None:
            self._raw_reader.taken = len(chunk)
        return chunk

    async def text(self, most: int = ERROR_TEXT) -> bytes:
        """Give the beginning of the body of an error response, or nothing where it cannot be read."""
        text = b""
        # The status matters most, and a server that trickles would never end.
        with suppress(StorageFailure), anyio.move_on_after(self._cleanup):
            while len(text) < most and (chunk := await self.receive()) is not None:
                text += chunk
        try:
            return decompress(text, self.headers.get("content-encoding", ""), most)
        except ValueError:
            return b""

    async def aclose(self) -> None:
        """Close the connection unless the body was read to its end, under cancellation too; safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            unfinished = None if self._is_at_end else self._chunks
            await run_shielded(lambda: close_body(self._response.stream, unfinished), within=self._cleanup)


class RawSocketReader:
    """Reads a large body from its connection, past the HTTP parser, which takes twice as long as all the rest.

    The parser gives the first bytes: all that came with the head. From then on, the body is what the connection brings,
    up to its announced length. The connection cannot be used for anything else afterwards.

    Attributes:
        taken: Bytes of the body so far; none until the parser has given the first.

    """

    def __init__(self, response: httpx.Response, length: int, timeout: float) -> None:
        self._stream = response.extensions["network_stream"]
        self._length = length
        self._timeout = timeout
        self.taken = 0

    def __repr__(self) -> str:
        """Show how far it is."""
        return f"<{type(self).__name__}, {self.taken} of {self._length} bytes>"

    async def receive(self) -> bytes | None:
        """Wait for the next bytes; `None` at the end."""
        if self.taken == self._length:
            return None
        with below():
            chunk: bytes = await self._stream.read(min(CHUNK_SIZE, self._length - self.taken), self._timeout)
        if not chunk:
            reason = f"the connection was closed after {self.taken} of {self._length} bytes"
            raise StorageFailure(reason, retryable=True)
        self.taken += len(chunk)
        return chunk
