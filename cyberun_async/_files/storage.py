"""Bytes in and out of storage, by presigned URLs; no key and no header of the API comes near it."""

from collections.abc import AsyncIterable, Callable, Mapping
from copy import copy
from functools import partial

import attrs
import httpx

from cyberun_async._concurrency import InFlight, run_in_child_task, run_shielded
from cyberun_async._files.resume import content_length
from cyberun_async._files.storage_body import RawSocketReader, StorageBody
from cyberun_async._files.storage_failure import StorageFailure, storage_failure
from cyberun_async._files.transfer_slot import TransferGate, TransferSlot
from cyberun_async._protocol.secret import Link, Secret
from cyberun_async._settings import Settings, Timeouts
from cyberun_async._transport.bodies import RequestBody
from cyberun_async._transport.early_response import listening
from cyberun_async._transport.error_mapping import map_exceptions
from cyberun_async._transport.requests import Send, checked_headers, checked_url, sender_of, timeout_extension
from cyberun_async._transport.sharded_pool import ShardedTransport

RAW_READER_THRESHOLD = 8 * 1024 * 1024
"""Bytes from which a body is worth a connection of its own."""

WRITE_TIMEOUT_FACTOR = 4
"""Times `Timeouts.write` that a block of an upload may take: it is a mebibyte, as smaller ones cost twice the CPU."""


@attrs.frozen
class StorageResponse:
    """The response of the storage to an upload."""

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
        gate: The slots of transfers.

    """

    def __init__(
        self, settings: Settings, storage_client: httpx.AsyncClient | None, check_usable: Callable[[], None]
    ) -> None:
        self.gate: TransferGate = TransferGate(settings.limits.max_transfers)
        self._check_usable = check_usable
        self._pools, self._upload_pools = ShardedTransport(), ShardedTransport(reads_while_sending=True)
        self._in_flight = InFlight()
        self._send: Send = self._pools.handle_async_request
        self._send_upload: Send = self._upload_pools.handle_async_request
        if storage_client is not None:
            self._send = self._send_upload = sender_of(storage_client)
        self._is_own = storage_client is None
        self._set_timeouts(settings.timeouts)

    def _set_timeouts(self, timeouts: Timeouts) -> None:
        self._read_timeout = timeouts.read
        self._cleanup = timeouts.cleanup
        self._timeout = timeout_extension(timeouts.connect, timeouts.read, timeouts.write * WRITE_TIMEOUT_FACTOR)

    def __repr__(self) -> str:
        """Show whether there may be connections, and whose client it is."""
        whose = "" if self._is_own else " by a client of the user's own"
        return f"<{type(self).__name__}{whose}, {'open' if self.is_open else 'without connections'}>"

    def view(self, settings: Settings) -> "Storage":
        """Give the same storage, its connections and its slots, with the timeouts of other settings."""
        view = copy(self)
        view._set_timeouts(settings.timeouts)  # noqa: SLF001 - it is of this class
        return view

    def slot(self) -> TransferSlot:
        """Give what is to be held while a file is transferred."""
        return TransferSlot(self.gate)

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

    async def get(self, url: Secret[str], headers: Mapping[str, str]) -> StorageBody:
        """Ask for a file, or a part of it; the response's body must be closed.

        Raises:
            StorageFailure: There was no response.

        """
        self._check_usable()
        url = Link(url)
        opened: list[StorageBody] = []

        async def open_it() -> None:
            # Identity, since ranges and checksums are of the bytes as they are stored.
            request = self._request("GET", url, Secret({"Accept-Encoding": "identity", **headers}))
            response = await self._send(request)
            opened.append(StorageBody(url, response, self._cleanup, raw_reader=self._raw_reader(response)))

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
    ) -> StorageResponse:
        """Send a file, with exactly these headers; what the content raises comes out as it is.

        Raises:
            StorageFailure: There was no response.

        """
        self._check_usable()
        url = Link(url)
        sent = RequestBody(content)

        async def round_trip() -> StorageResponse:
            response = await self._send_upload(self._request("PUT", url, headers, sent))
            body = StorageBody(url, response, self._cleanup)
            try:
                # What breaks off here takes nothing from the status.
                said = StorageResponse(body.status, body.headers, await body.text(), url)
            finally:
                await body.aclose()
            if said.is_success and self._is_own and not sent.is_exhausted:
                raise StorageFailure("it responded before it had the complete file", retryable=True)
            return said

        def mapped(failure: Exception) -> Exception:
            return sent.failure or storage_failure(url, failure)

        return await map_exceptions(
            lambda: run_in_child_task(lambda: listening(round_trip), among=self._in_flight), mapped
        )

    def _raw_reader(self, response: httpx.Response) -> RawSocketReader | None:
        """Give a reader past the HTTP parser for a large body; only on our own connections is it known what is in between."""
        length = content_length(response.headers)
        is_plain = response.http_version == "HTTP/1.1" and "transfer-encoding" not in response.headers
        if self._is_own and is_plain and length is not None and length >= RAW_READER_THRESHOLD:
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
