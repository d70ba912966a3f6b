"""An output file without a disk: as a stream, or as bytes."""

import warnings
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from cyberun_async._errors import StorageError
from cyberun_async._files.checksums import Checksum, contradict, new_digest
from cyberun_async._files.presigned_urls import PresignedUrls, log
from cyberun_async._files.remote_file import ETAG_IS_NO_MD5, MAX_CHECKED_FETCHES, RemoteFile
from cyberun_async._files.resume import NOTHING, Delivery, Have
from cyberun_async._files.storage import Storage
from cyberun_async._files.storage_body import StorageBody
from cyberun_async._files.storage_failure import StorageFailure
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
    """The bytes of one output file, as they arrive: an async iterator, and an async context manager.

    After a break it goes on where it was, and it ends only once the file is complete. Leaving `async with` closes it
    at once, however that happens.

    ```python
    async with client.open_file(file) as chunks:
        async for chunk in chunks:
            await response.write(chunk)
    ```

    A cancelled step can be taken again: the stream goes on where it was.

    Attributes:
        file: Which file it is.
        size: Its number of bytes; `None` until the first of them is there, and where the storage does not say.

    Raises:
        StorageError: The storage refuses the file, or has not answered for longer than `Retries.budget`.
        APIError: The server does not give a fresh link.

    """

    __reduce__ = refuse_copies

    def __init__(self, transport: Transport, storage: Storage, settings: Settings, file: OutputFile) -> None:
        """Ask for nothing before the first bytes are wanted."""
        check_kind(file, OutputFile, "file", "one of TaskResult.files")
        self.file = file
        self.size: int | None = None
        self._urls = PresignedUrls(transport, file.task_id, (file,))
        self._storage = storage
        self._settings = settings
        self._remote: RemoteFile | None = None
        self._delivery: Delivery | None = None
        self._body: StorageBody | None = None
        self._at = self._to_skip = 0
        self._until: int | None = None
        self._is_over = False

    def __repr__(self) -> str:
        """Show which file it is, and how much of it was handed out."""
        of = "" if self.size is None else f" of {self.size}"
        return f"<{type(self).__name__} of {self.file.name} of task {self.file.task_id}, {self._at}{of} bytes>"

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
        if self._body is None:
            await self._open()
        body = self._body
        chunk = await body.receive() if body is not None else None
        if chunk is None:
            await self._end()
            return b""
        skipped = min(self._to_skip, len(chunk))
        self._to_skip -= skipped
        fresh = chunk[skipped:]
        self._at += len(fresh)
        if self._until is not None and self._at > self._until:
            raise self._remote_file().error(f"more than the announced {self._until} bytes came; open it again")
        if fresh:
            self._remote_file().progressed(self._at)
        return fresh

    async def _open(self) -> None:
        before = self._delivery
        # Nobody compares the checksum here, so each response has to say of which version it is.
        have = NOTHING if before is None else _after(before, self._at)
        delivery, self._body = await self._remote_file().ask(have)
        if not self._at or before is None:
            self._delivery, self.size = delivery, delivery.total
        elif delivery.starts_over and not _is_same_version(before, delivery):
            raise self._remote_file().error("the transfer was interrupted and cannot be resumed; open it again")
        self._to_skip = 0 if delivery.start else self._at
        self.size = delivery.total if self.size is None else self.size
        self._until = self.size if delivery.end is None else delivery.end
        if delivery.is_complete:
            await self._release()

    async def _end(self) -> None:
        may_be_truncated = self._body is not None and self._body.may_be_truncated
        await self._release()
        if self.size is not None and self._at < self.size:
            raise StorageFailure(f"{self._at} of {self.size} bytes came", retryable=True)
        if may_be_truncated:
            await self._remote_file().ensure_size(self._at)
        self._is_over = True

    def _remote_file(self) -> RemoteFile:
        if self._remote is None:
            self._remote = RemoteFile(self._storage, self._urls, self.file, self._settings.retries)
        return self._remote

    @property
    def checksum(self) -> Checksum | None:
        """What the file has to come to, where the storage says so; known with the first bytes. It is not checked here."""
        return self._delivery.checksum if self._delivery else None

    @property
    def content_encoding(self) -> str:
        """The compression that the bytes are stored and given with (`gzip`), or nothing; known with the first bytes."""
        return self._delivery.encoding if self._delivery else ""

    async def is_confirmed(self) -> bool:
        """Whether the storage still says what it said with the bytes that were given: their number, and their version."""
        return await self._remote_file().confirms(self._at, self._delivery.etag if self._delivery else None)

    async def _release(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()

    async def aclose(self) -> None:
        """Close the stream; safe to call twice."""
        self._is_over = True
        await self._release()

    async def __aenter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream."""
        await self.aclose()

    def __del__(self) -> None:
        """Warn of a connection left open; closing it takes an event loop, which is not there any more."""
        # One that was refused its file has none of this.
        if vars(self).get("_body") is not None:
            message = f"unclosed {type(self).__name__} of {self.file.name}: use 'async with client.open_file(...)'"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)


def _after(one: Delivery, at: int) -> Have:
    return Have(at, one.etag, one.total, one.checksum, one.encoding, is_checked=False)


def _is_same_version(one: Delivery, other: Delivery) -> bool:
    is_tagged_alike = one.etag is not None and one.etag == other.etag
    is_alike = other.encoding == one.encoding and other.total in {None, one.total}
    return is_tagged_alike and is_alike and not contradict(one.checksum, other.checksum)


async def read_file(open_stream: Callable[[], FileStream], storage: Storage, max_bytes: int) -> bytes:
    """Give the bytes of a file, checked; see `AsyncClient.read_file`."""
    fetched: str | None = None
    async with storage.gate:
        for _ in range(MAX_CHECKED_FETCHES):
            stream, before = open_stream(), fetched
            data = await _read(stream, max_bytes)
            if stream.checksum is None:
                return data
            fetched = await anyio.to_thread.run_sync(_hash, data, stream.checksum)
            if fetched == stream.checksum.value:
                return data
            if fetched == before and not stream.checksum.is_sure and await stream.is_confirmed():
                log.warning(ETAG_IS_NO_MD5, stream.file.name)
                return data
    raise StorageError(
        "what arrived does not have the checksum that the storage gives",
        file=stream.file.name,
        bytes_done=len(data),
        retryable=True,
        task_id=stream.file.task_id,
    )


async def _read(stream: FileStream, max_bytes: int) -> bytes:
    data = bytearray()
    async with stream:
        async for chunk in stream:
            data += chunk
            if max(len(data), stream.size or 0) > max_bytes:
                reason = f"it has {stream.size or f'more than {max_bytes}'} bytes, and max_bytes is {max_bytes}; raise it, or use open_file()"
                raise StorageError(reason, file=stream.file.name, bytes_done=len(data), task_id=stream.file.task_id)
    return bytes(data)


def _hash(data: bytes, checksum: Checksum) -> str:
    digest = new_digest(checksum.algorithm)
    digest.update(data)
    return digest.hexdigest()
