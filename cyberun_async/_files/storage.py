"""Bytes in and out of storage, by signed URLs; no key and no header of the API comes near it."""

from collections.abc import AsyncIterable, Callable, Mapping
from contextlib import suppress
from functools import partial

import anyio
import attrs
import httpx

from cyberun_async._concurrency import InFlight, run_in_child_task, run_shielded
from cyberun_async._files.resume import content_length
from cyberun_async._protocol.error_responses import ERROR_TEXT
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Link, Secret, secrets_of_url
from cyberun_async._settings import Settings
from cyberun_async._transport.bodies import RequestBody, close_body, raw_chunks
from cyberun_async._transport.content_codings import decompress
from cyberun_async._transport.early_response import listening
from cyberun_async._transport.error_mapping import (
    below,
    describe_cause,
    foreign_failures,
    is_retryable,
    map_exceptions,
    shown_cause,
)
from cyberun_async._transport.requests import Send, checked_headers, checked_url, sender_of, timeout_extension
from cyberun_async._transport.sharded_pool import ShardedTransport

LARGE = 8 * 1024 * 1024
"""Bytes from which a body is worth a connection of its own."""

CHUNK_SIZE = 256 * 1024
"""Bytes read in one go from such a connection; asyncio takes no more from a socket."""


SLOWEST = 4
"""Times `Timeouts.write` that a block of an upload may take: it is a mebibyte, as smaller ones cost twice the CPU."""


class StorageFailure(Exception):
    """The storage did not answer, or its answer broke off.

    Attributes:
        retryable: Whether trying again may help.

    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.retryable = retryable


@attrs.frozen
class StorageAnswer:
    """What the storage said to an upload."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    url: Secret[str] = attrs.field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the storage has taken the file."""
        return 200 <= self.status < 300


class Storage:
    """Sends requests to storage, a bounded number at once.

    Args:
        settings: The client's settings.
        storage_client: A client of the user's own to send through; it is never closed here.
        check_usable: Refuses a closed client, and another event loop than that of the first use.

    Attributes:
        gate: To be held by whoever moves a file.

    """

    def __init__(
        self, settings: Settings, storage_client: httpx.AsyncClient | None, check_usable: Callable[[], None]
    ) -> None:
        """Open nothing yet."""
        self.gate: anyio.Semaphore = anyio.Semaphore(settings.limits.max_transfers, fast_acquire=True)
        self._check_usable = check_usable
        self._pools, self._upload_pools = ShardedTransport(), ShardedTransport(reads_while_sending=True)
        self._in_flight = InFlight()
        self._send: Send = self._pools.handle_async_request
        self._send_upload: Send = self._upload_pools.handle_async_request
        if storage_client is not None:
            self._send = self._send_upload = sender_of(storage_client)
        self._is_own = storage_client is None
        timeouts = settings.timeouts
        self._read_timeout = timeouts.read
        self._cleanup = timeouts.cleanup
        self._timeout = timeout_extension(timeouts.connect, timeouts.read, timeouts.write * SLOWEST)

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return self._pools.is_open or self._upload_pools.is_open

    async def aclose(self) -> None:
        """End what is going on and close every connection, under cancellation too; safe to call twice."""
        await run_shielded(self._close, within=self._cleanup)

    async def _close(self) -> None:
        await self._in_flight.aclose()
        await self._pools.aclose()
        await self._upload_pools.aclose()

    async def get(self, url: Secret[str], headers: Mapping[str, str]) -> "StorageBody":
        """Ask for a file, or a part of it; the answer's body must be closed.

        Raises:
            StorageFailure: There was no answer.

        """
        self._check_usable()
        url = Link(url)
        opened: list[StorageBody] = []

        async def open_it() -> None:
            # Identity, since ranges and checksums are of the bytes as they are stored.
            request = self._request("GET", url, Secret({"Accept-Encoding": "identity", **headers}))
            response = await self._send(request)
            opened.append(StorageBody(url, response, self._cleanup, past_parser=self._past_parser(response)))

        try:
            await map_exceptions(
                lambda: run_in_child_task(open_it, among=self._in_flight), partial(storage_failure, url)
            )
        except BaseException:
            for body in opened:
                await body.aclose()
            raise
        return opened[0]

    async def put(
        self, url: Secret[str], headers: Secret[Mapping[str, str]], content: AsyncIterable[bytes]
    ) -> StorageAnswer:
        """Send a file, with exactly these headers; what the content raises comes out as it is.

        Raises:
            StorageFailure: There was no answer.

        """
        self._check_usable()
        url = Link(url)
        sent = RequestBody(content)

        async def exchange() -> StorageAnswer:
            response = await self._send_upload(self._request("PUT", url, headers, sent))
            body = StorageBody(url, response, self._cleanup)
            try:
                # What breaks off here takes nothing from the status.
                answer = StorageAnswer(body.status, body.headers, await body.text(), url)
            finally:
                await body.aclose()
            if answer.is_success and self._is_own and not sent.is_exhausted:
                raise StorageFailure("it responded before it had the complete file", retryable=True)
            return answer

        def mapped(failure: Exception) -> Exception:
            return sent.failure or storage_failure(url, failure)

        return await map_exceptions(
            lambda: run_in_child_task(lambda: listening(exchange), among=self._in_flight), mapped
        )

    def _past_parser(self, response: httpx.Response) -> "RawSocketReader | None":
        """Give the short way to the bytes of a large body; only on our own connections is it known what is in between."""
        length = content_length(response.headers)
        is_plain = response.http_version == "HTTP/1.1" and "transfer-encoding" not in response.headers
        if self._is_own and is_plain and length is not None and length >= LARGE:
            return RawSocketReader(response, length, self._read_timeout)
        return None

    def _request(
        self, method: str, url: Secret[str], headers: Secret[Mapping[str, str]], content: RequestBody | None = None
    ) -> httpx.Request:
        # Made by hand, so that no default header, cookie or parameter of a user's own client gets in.
        place, given = checked_url(url), checked_headers(headers)
        # httpx adds it only to a body of its own making.
        given.setdefault("Host", place.netloc.decode())
        return httpx.Request(method, place, headers=given, stream=content, extensions=self._timeout)


class StorageBody:
    """The answer to a request for a file, with its body as it arrives.

    It must be closed. Nobody but its owner may be waiting in it at that time.

    Attributes:
        may_be_cut: Whether it ends with its connection, so that a break looks like its end.

    """

    def __init__(
        self, url: Secret[str], response: httpx.Response, cleanup: float, past_parser: "RawSocketReader | None" = None
    ) -> None:
        """Take over the response."""
        self.url = url
        self._response = response
        self._chunks = raw_chunks(response)
        self._past_parser = past_parser
        self._is_at_end = False
        self._cleanup = cleanup
        self._is_closed = False
        # A response in memory has no version, and does not break.
        ends_with_connection = not {"content-length", "transfer-encoding"}.intersection(response.headers)
        self.may_be_cut: bool = ends_with_connection and response.extensions.get("http_version", b"").startswith(
            b"HTTP/1"
        )
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def receive(self) -> bytes | None:
        """Wait for the next bytes.

        Returns:
            `None` at the end.

        Raises:
            StorageFailure: The connection broke.

        """
        return await map_exceptions(self._receive, partial(storage_failure, self.url))

    async def _receive(self) -> bytes | None:
        if self._past_parser is not None and self._past_parser.taken:
            return await self._past_parser.receive()
        try:
            with below():
                chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._is_at_end = True
            return None
        if self._past_parser is not None:
            self._past_parser.taken = len(chunk)
        return chunk

    async def text(self, most: int = ERROR_TEXT) -> bytes:
        """Give the beginning of the body of a refusal, or nothing where it cannot be read."""
        text = b""
        # The status has said the most of it, and a server that trickles would never be done.
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
        """Read nothing yet."""
        self._stream = response.extensions["network_stream"]
        self._length = length
        self._timeout = timeout
        self.taken = 0

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


def storage_failure(url: Secret[str], error: Exception) -> Exception:
    """Give what the layers below raise as a `StorageFailure` that says nothing of the signature, and any other as it is."""
    if not isinstance(error, foreign_failures()):
        return error
    secrets = secrets_of_url(url)
    failure = StorageFailure(redact(describe_cause(error), secrets), retryable=is_retryable(error))
    failure.__cause__ = shown_cause(error, secrets)
    return failure
