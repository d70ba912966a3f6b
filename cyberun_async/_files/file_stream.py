"""An output file as a stream: its facts as soon as it is open, its bytes or a part of them as they arrive.

**Positions** are absolute: `_at` is the next byte of the file that is handed out. A response begins where it says, so
`_to_skip` bytes of it were handed out before, or lie before the part that is wanted: a storage that takes no ranges
answers 200 with the complete file, and the part is cut out of that.

**Resume.** After an interruption the next request asks for what is missing of the same version, by `If-Range`. The
checksum is not compared here, since the bytes have been handed out by then; so each response has to say of which version it is, and a
file that has changed, or does not say its version, ends in an error. Until the first byte is handed out, the file is
opened anew, and has to have the facts that were shown.
"""

import warnings
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

from cyberun_async._files.checksums import Checksum
from cyberun_async._files.presigned_urls import PresignedUrls
from cyberun_async._files.ranges import COMPLETE_FILE, ByteRange, is_version, response_headers
from cyberun_async._files.remote_file import RemoteFile
from cyberun_async._files.resume import Delivery, Have, has_same_facts, is_same_version
from cyberun_async._files.storage import Storage
from cyberun_async._files.storage_body import StorageBody
from cyberun_async._files.storage_failure import StorageFailure
from cyberun_async._files.transfer_slot import TransferSlot
from cyberun_async._protocol.content_types import content_type_of
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._settings import Settings
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_kind, explain_misuse

if TYPE_CHECKING:
    from typing_extensions import Self


@explain_misuse(
    iterate="use 'async for chunk in chunks' inside of 'async with client.open_file(...) as chunks:'",
    enter="use 'async with client.open_file(...) as chunks:'",
    await_it="use 'async with client.open_file(...) as chunks:', or 'await client.read_file(...)' for all bytes",
)
class FileStream(AsyncIterator[bytes]):
    """The bytes of one output file, or of a part of it, as they arrive: an async context manager and an async iterator.

    `AsyncClient.open_file` makes one. Entering it asks the storage for the file, so that its facts are known before the
    first byte; leaving it closes the connection. After an interruption it resumes, and it ends only once all bytes have
    been handed out. A step that was cancelled can be repeated.

    ```python
    async with client.open_file(file) as chunks:
        print(chunks.size, chunks.content_type, chunks.etag)
        async for chunk in chunks:
            await response.write(chunk)
    ```

    Attributes:
        file: The file.
        size: The number of bytes of the complete file; `None` if the storage does not say it.
        start: The first byte that is handed out, counted from 0.
        stop: The byte after the last one; `None` if the size is not known.

    Raises:
        StorageError: The storage rejects the request, has not responded for longer than `Retries.budget`, or has another
            version of the file by now.
        APIError: The server gives no fresh presigned URL.

    """

    __reduce__ = refuse_copies

    def __init__(
        self,
        transport: Transport,
        storage: Storage,
        settings: Settings,
        file: OutputFile,
        *,
        part: ByteRange | None = None,
        if_range: str | None = None,
        slot: TransferSlot | None = None,
    ) -> None:
        check_kind(file, OutputFile, "file", "one of TaskResult.files")
        check_kind(if_range, (str, type(None)), "if_range", "the value of an If-Range header, or None")
        self.file = file
        self.size: int | None = None
        self.start: int = 0
        self.stop: int | None = None
        self._part = COMPLETE_FILE if part is None else part
        self._is_part = part is not None
        self._if_range = if_range
        self._urls = PresignedUrls(transport, file.task_id, (file,))
        self._storage = storage
        self._settings = settings
        self._slot = slot
        self._remote: RemoteFile | None = None
        self._delivery: Delivery | None = None
        self._body: StorageBody | None = None
        self._at = self._to_skip = 0
        self._until: int | None = None
        self._is_over = False

    def __repr__(self) -> str:
        """Show which file it is, and how much of it was handed out."""
        done = self._at - self.start
        of = "" if self.stop is None else f" of {self.stop - self.start}"
        return f"<{type(self).__name__} of {self.file.name} of task {self.file.task_id}, {done}{of} bytes>"

    # Facts

    @property
    def content_type(self) -> str:
        """The `Content-Type` that the storage says; before it is entered, and where it says none, that of the name."""
        said = None if self._delivery is None else self._delivery.content_type
        return said or content_type_of(self.file.name)

    @property
    def content_encoding(self) -> str:
        """The compression that the bytes are stored and handed out with (`gzip`), or an empty string."""
        return self._delivery.encoding if self._delivery else ""

    @property
    def etag(self) -> str | None:
        """The strong ETag of the file, with its quotation marks; `None` if the storage gives none."""
        return self._delivery.etag if self._delivery else None

    @property
    def last_modified(self) -> datetime | None:
        """When the file was stored, in UTC; `None` if the storage does not say it."""
        return self._delivery.stored_at if self._delivery else None

    @property
    def checksum(self) -> Checksum | None:
        """The checksum of the complete file, if the storage says one; it is not compared here."""
        return self._delivery.checksum if self._delivery else None

    @property
    def status(self) -> int:
        """The HTTP status of a response that hands these bytes on: 200, 206 for a part, 416 if there is no such part."""
        if not self._is_part:
            return 200
        return 416 if self.start == self.stop else 206

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers of a response that hands these bytes on; nothing of them is secret."""
        return response_headers(self.status, self._delivery, self.content_type, self.start, self.stop)

    # Bytes

    def __aiter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next bytes."""
        while not self._is_over:
            try:
                chunk = await self._receive()
            except StorageFailure as failure:
                await self._release()
                await self._remote_file().pause(failure)
                continue
            except BaseException:
                await self._release()
                raise
            if chunk:
                return chunk
        raise StopAsyncIteration

    async def _receive(self) -> bytes:
        """Give the next bytes, or nothing where those that came were had before, or none are left.

        Raises:
            StorageFailure: The connection broke.

        """
        if self._body is None and not self._is_complete:
            await self._open()
        chunk = await self._body.receive() if self._body is not None else None
        if chunk is None:
            await self._end()
            return b""
        skipped = min(self._to_skip, len(chunk))
        self._to_skip -= skipped
        fresh = chunk[skipped:]
        if self._is_cut_here and self.stop is not None:
            fresh = fresh[: self.stop - self._at]
        self._at += len(fresh)
        if self._until is not None and self._at > self._until:
            raise self._remote_file().error(f"more than the announced {self._until} bytes came; open it again")
        if fresh:
            self._remote_file().progressed(self._at - self.start)
        if self._is_cut_here and self._is_complete:
            await self._end()
        return fresh

    @property
    def _is_complete(self) -> bool:
        """Whether all bytes were handed out, as far as that is known."""
        return self._delivery is not None and self._at == self.stop

    @property
    def _is_cut_here(self) -> bool:
        """Whether the response goes on beyond the part that is wanted."""
        return self.stop is not None and (self._until is None or self.stop < self._until)

    async def _open(self) -> None:
        if self._delivery is None or self._at == self.start:
            delivery = await self._open_part()
        else:
            delivery = await self._resume(self._delivery)
        self._until = self.size if delivery.end is None else delivery.end
        if delivery.is_complete or self._is_complete:
            await self._release()

    async def _open_part(self) -> Delivery:
        """Ask for the part that is wanted, and take over the facts.

        Raises:
            StorageError: It was open before, and has other facts now.

        """
        delivery, self._body = await self._remote_file().ask_for(self._part)
        if self._is_part and not self._can_be_part(delivery):
            brings_all = delivery.starts_over and not delivery.is_complete and delivery.end == delivery.total
            if not self._part.is_complete_file and not brings_all:
                await self._release()
                delivery, self._body = await self._remote_file().ask_for(COMPLETE_FILE)
            self._part, self._is_part = COMPLETE_FILE, False
        if self._delivery is not None and not has_same_facts(self._delivery, delivery):
            raise self._remote_file().error("it has changed since it was opened; open it again")
        self._delivery, self.size = delivery, delivery.total
        if self.size is not None:
            self.start, self.stop = self._part.bounds(self.size)
        else:
            self.start, self.stop = delivery.start, delivery.end
        self._at, self._to_skip = self.start, self.start - delivery.start
        return delivery

    def _can_be_part(self, delivery: Delivery) -> bool:
        """Whether the range counts: the version is the one that was asked for, and it is known what the part is of."""
        is_wanted = self._if_range is None or is_version(self._if_range, delivery)
        return is_wanted and delivery.end is not None

    async def _resume(self, before: Delivery) -> Delivery:
        have = Have(self._at, before.etag, before.total, before.checksum, before.encoding, is_checked=False)
        delivery, self._body = await self._remote_file().ask(have, self.stop)
        if delivery.starts_over and not is_same_version(before, delivery):
            raise self._remote_file().error("the transfer was interrupted and cannot be resumed; open it again")
        self._to_skip = 0 if delivery.start else self._at
        if self.size is None:
            self.size = delivery.total
            self.stop = self.size if self.stop is None else self.stop
        return delivery

    async def _end(self) -> None:
        ends_with_connection = self._body is not None and self._body.ends_with_connection
        has_surplus = self._body is not None and self._body.has_surplus
        await self._release()
        if self.stop is not None and self._at < self.stop:
            raise StorageFailure(f"{self._at - self.start} of {self.stop - self.start} bytes came", retryable=True)
        if ends_with_connection and self.stop is None:
            await self._remote_file().ensure_size(self._at)
        elif has_surplus and self._at == self.size:
            await self._ensure_announced_size()
        self._is_over = True

    async def _ensure_announced_size(self) -> None:
        try:
            await self._remote_file().ensure_size(self._at)
        except StorageFailure:
            failure = self._remote_file().error(f"it has more than the announced {self._at} bytes; open it again")
        else:
            return
        raise failure

    def _remote_file(self) -> RemoteFile:
        if self._remote is None:
            self._remote = RemoteFile(self._storage, self._urls, self.file, self._settings.retries, self._slot)
        return self._remote

    async def is_confirmed(self) -> bool:
        """Whether the storage still says what it said with the bytes that were given: their number, and their version."""
        return await self._remote_file().confirms(self._at, self.etag)

    # Open and closed

    async def __aenter__(self) -> "Self":
        """Ask the storage for the file, unless it is open, and give the stream itself.

        Raises:
            StorageError: The storage rejects the request, or has not responded for longer than `Retries.budget`.
            APIError: The server gives no fresh presigned URL.

        """
        if self._delivery is None and not self._is_over:
            try:
                await self._open()
            except BaseException:
                await self._release()
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream."""
        await self.aclose()

    async def _release(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()

    async def aclose(self) -> None:
        """Close the stream; safe to call twice."""
        self._is_over = True
        await self._release()

    def __del__(self) -> None:
        """Warn of a connection left open; closing it takes an event loop, which is not there any more."""
        # One whose arguments were invalid has no such attribute.
        if vars(self).get("_body") is not None:
            message = f"unclosed {type(self).__name__} of {self.file.name}: use 'async with client.open_file(...)'"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)
