"""One output file into a directory: found there, or fetched, checked, and given its name once it is complete.

**What is trusted.** Bytes are written to a hidden temporary file (`part_file.py`), beside which stands of which version
of the file they are: strong ETag, size, checksum. A later attempt, in another process too, resumes from them if, and only
if, the storage says that it still has that version; `resume.py` has the table of these decisions. Everything that is
read of a server or a disk may be wrong, so in doubt the download starts over, which is never wrong.

**When it starts over.** The storage does not continue that version (`_fetch_to_the_end`); it sent more bytes than it
announced, so that it is not known which of them are the file's; or the complete file does not have its checksum
(`_fetch_checked`), and then twice at most. An ETag that only looks like an MD5 is no checksum: if the same bytes come
twice, and the storage still has that version, they are right and the ETag is none.

**Order.** Reading and writing run concurrently, with one block in between, so that a slow disk slows the connection down
(backpressure). What arrived before a failure is written before the retry. The data are on the disk (`fsync`) before the
file gets its name, in one step (a hard link or a rename), so no process and no power cut leaves half a file under it.
"""

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from cyberun_async._concurrency import call_back, run_all
from cyberun_async._errors import StorageError
from cyberun_async._files.checksums import Checksum, Digest, new_digest
from cyberun_async._files.existing import ExistingFiles, note_digest
from cyberun_async._files.file_system import status_of
from cyberun_async._files.filenames import numbered, shortened
from cyberun_async._files.part_file import PartFile, map_disk_errors
from cyberun_async._files.presigned_urls import PresignedUrls, log
from cyberun_async._files.remote_file import ETAG_IS_NO_MD5, MAX_CHECKED_FETCHES, RemoteFile
from cyberun_async._files.resume import NOTHING, Delivery, Have
from cyberun_async._files.storage import Storage
from cyberun_async._files.storage_body import StorageBody
from cyberun_async._files.storage_failure import StorageFailure
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._settings import Settings
from cyberun_async._transport.content_codings import name_as_stored

_T = TypeVar("_T")

DownloadProgress = Callable[[OutputFile, int, int | None], object | Awaitable[object]]
"""Called with a file, how many of its bytes are on the disk, and how many it has where the storage says so."""

BLOCK_SIZE = 2 * 1024 * 1024
"""Bytes written in one go: large enough that changing threads costs less than the disk."""

MAX_WRITE_DELAY = 1.0
"""Seconds after which less than a block is written, so that a slow connection shows progress, and a kill costs little."""


@attrs.frozen
class Downloads:
    """What the files of one task have in common while they are fetched.

    Attributes:
        storage: Where they come from.
        settings: The client's.
        urls: Their presigned URLs.
        directory: Where they go.
        on_progress: Called with the progress of each.

    """

    storage: Storage
    settings: Settings
    urls: PresignedUrls
    directory: Path
    on_progress: DownloadProgress | None


class _TooManyBytes(StorageFailure):
    """More bytes came than the head of the response has announced."""


class FileDownload:
    """The download of one file into a directory.

    Args:
        downloads: What it has in common with the others.
        file: Which one.

    """

    def __init__(self, downloads: Downloads, file: OutputFile) -> None:
        self._downloads = downloads
        self._file = file
        self._slot = downloads.storage.slot()
        self._remote = RemoteFile(downloads.storage, downloads.urls, file, downloads.settings.retries, self._slot)
        self._use_name(file.name)
        self._digest: Digest | None = None
        self._hashed = 0
        self._is_confirmed = True

    def __repr__(self) -> str:
        """Show which file it is, and how much of it is there."""
        file, have = self._file, self._part.have
        return f"<{type(self).__name__} of {file.name} of task {file.task_id}, {have.size} of {have.total} bytes>"

    def _use_name(self, name: str) -> None:
        self._name = name
        self._existing = ExistingFiles(self._downloads.directory, name, self._in_thread)
        self._part = PartFile(self._downloads.directory, name, f"{self._file.task_id}\n{self._file.key}")

    async def run(self) -> Path:
        """Fetch the file unless it is there, and give its path."""
        async with self._slot:
            names = list(shortened(self._file.name))
            for name in names:
                self._use_name(name)
                try:
                    return await self._find() or await self._fetch()
                except StorageError as failure:
                    if name == names[-1] or not _is_name_too_long(failure):
                        raise
        raise AssertionError("unreachable")

    async def _find(self) -> Path | None:
        """Give the file, if it is there already."""
        if not await self._existing.any():
            return None
        delivery = await self._remote.probe()
        path = await self._existing.find(name_as_stored(self._name, delivery.encoding), delivery)
        if path is not None:
            await self._in_thread(self._part.discard)
            await self._report_progress(delivery.total or 0, delivery.total)
        return path

    # Fetching

    async def _fetch(self) -> Path:
        await self._in_thread(self._part.open)
        try:
            delivery = await self._fetch_checked()
            await self._in_thread(self._part.flush, delivery.modified)
            return await self._place(delivery)
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_thread(self._part.close)

    async def _fetch_checked(self) -> Delivery:
        fetched: str | None = None
        for _ in range(MAX_CHECKED_FETCHES):
            delivery = attrs.evolve(await self._fetch_to_the_end(), total=self._part.have.size)
            checksum, before = delivery.checksum, fetched
            if checksum is None or self._digest is None:
                return delivery
            fetched = self._digest.hexdigest()
            if fetched == checksum.value:
                return delivery
            may_be_none = fetched == before and self._is_confirmed and not checksum.is_sure
            if may_be_none and await self._remote.confirms(self._part.have.size, delivery.etag):
                log.warning(ETAG_IS_NO_MD5, self._file.name)
                return attrs.evolve(delivery, checksum=Checksum(checksum.algorithm, fetched))
            await self._in_thread(self._restart, NOTHING)
            self._remote.start_over()
        raise self._remote.error("what arrives does not have the checksum that the storage gives", retryable=True)

    async def _fetch_to_the_end(self) -> Delivery:
        while True:
            delivery, body = await self._remote.ask(self._part.have)
            try:
                if delivery.starts_over:
                    have = Have(0, delivery.etag, delivery.total, delivery.checksum, delivery.encoding)
                    await self._in_thread(self._restart, have)
                self._is_confirmed &= delivery.is_confirmed
                await self._take(delivery, body)
                if body.has_surplus:
                    self._part.have = attrs.evolve(self._part.have, total=None)
                if body.ends_with_connection or body.has_surplus:
                    await self._remote.ensure_size(self._part.have.size)
                return delivery
            except StorageFailure as failure:
                if isinstance(failure, _TooManyBytes):
                    # It is not known which of its bytes are those of the file.
                    await self._in_thread(self._restart, NOTHING)
                await self._remote.pause(failure)
            finally:
                await body.aclose()

    async def _take(self, delivery: Delivery, body: StorageBody) -> None:
        """Read and write side by side until the file is complete.

        Raises:
            StorageFailure: The connection broke; what had arrived is written.

        """
        if delivery.checksum is not None:
            await self._catch_up(delivery.checksum)
        await self._report_progress(self._part.have.size, delivery.total)
        if delivery.is_complete:
            return
        sending, receiving = anyio.create_memory_object_stream[list[bytes]](1)
        breaks: list[StorageFailure] = []

        async def read() -> None:
            with sending:
                try:
                    await self._read(delivery, body, sending)
                except StorageFailure as failure:
                    breaks.append(failure)

        # A child that is cancelled before its first step closes nothing.
        with sending, receiving:
            await run_all(read, lambda: self._write(delivery, receiving))
        if breaks:
            raise breaks[0]

    async def _read(self, delivery: Delivery, body: StorageBody, sending: MemoryObjectSendStream[list[bytes]]) -> None:
        size, held, since = delivery.start, 0, anyio.current_time()
        block: list[bytes] = []
        try:
            while (chunk := await body.receive()) is not None:
                size += len(chunk)
                if delivery.end is not None and size > delivery.end:
                    raise _TooManyBytes(f"more than the announced {delivery.end} bytes came", retryable=True)
                block.append(chunk)
                held += len(chunk)
                if held >= BLOCK_SIZE or anyio.current_time() - since >= MAX_WRITE_DELAY:
                    await sending.send(block)
                    block, held, since = [], 0, anyio.current_time()
        finally:
            # What came before a break is worth keeping.
            if block:
                await sending.send(block)
        if delivery.total is not None and size < delivery.total:
            raise StorageFailure(f"{size} of {delivery.total} bytes came", retryable=True)

    async def _write(self, delivery: Delivery, receiving: MemoryObjectReceiveStream[list[bytes]]) -> None:
        async for block in receiving:
            await self._in_thread(self._write_block, block)
            self._remote.progressed(self._part.have.size)
            await self._report_progress(self._part.have.size, delivery.total)

    def _write_block(self, block: list[bytes]) -> None:
        for chunk in block:
            self._part.write(chunk)
            if self._digest is not None:
                self._digest.update(chunk)
                self._hashed += len(chunk)

    def _restart(self, have: Have) -> None:
        self._part.restart(have)
        self._digest, self._hashed = None, 0
        self._is_confirmed = True
        self._remote.done = 0

    async def _catch_up(self, checksum: Checksum) -> None:
        """Hash what an earlier attempt, or an earlier process, has left."""
        if self._digest is None or self._digest.name != checksum.algorithm:
            self._digest, self._hashed = new_digest(checksum.algorithm), 0
        while self._hashed < self._part.have.size:
            self._hashed = await self._in_thread(self._part.read_into, self._digest, self._hashed)

    # Placing

    async def _place(self, delivery: Delivery) -> Path:
        # Where there is no usable time, files are compared by their bytes.
        by_bytes = delivery.checksum is None and (self._part.time is None or self._part.time != delivery.modified)
        for name in numbered(name_as_stored(self._name, delivery.encoding)):
            path = self._downloads.directory / name
            if await self._in_thread(self._part.place, path):
                await self._in_thread(self._note_digest, path)
                return path
            if await self._existing.is_same(path, delivery) or (
                by_bytes and await self._existing.is_equal(path, self._part)
            ):
                await self._in_thread(self._part.discard)
                return path
        raise AssertionError("unreachable")

    def _note_digest(self, path: Path) -> None:
        status = status_of(path)
        if self._digest is not None and status is not None:
            note_digest(path, status, self._digest.name, self._digest.hexdigest())

    async def _report_progress(self, done: int, total: int | None) -> None:
        if self._downloads.on_progress is not None:
            await call_back(self._downloads.on_progress, self._file, done, total)

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        with map_disk_errors(self._file.name, self._remote.done, self._file.task_id):
            return await anyio.to_thread.run_sync(work, *args)


def _is_name_too_long(failure: StorageError) -> bool:
    return isinstance(failure.__cause__, OSError) and failure.__cause__.errno == errno.ENAMETOOLONG
