"""Files of a result into a directory: whole under their names, or not at all."""

import errno
import inspect
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from cyberun_async._concurrency import run_all
from cyberun_async._errors import CyberunError, InvalidParameters, StorageError
from cyberun_async._files.checksums import Checksum, Digest, new_digest
from cyberun_async._files.existing import ExistingFiles, note_digest
from cyberun_async._files.file_system import status_of
from cyberun_async._files.part_file import PartFile, map_disk_errors
from cyberun_async._files.remote_file import CHECKED, NO_MD5, Links, Output, files_of, log
from cyberun_async._files.resume import NOTHING, Delivery, Have
from cyberun_async._files.storage import Storage, StorageBody, StorageFailure
from cyberun_async._protocol.filenames import numbered, shortened
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.content_codings import name_as_stored
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_callback, check_kind

_T = TypeVar("_T")

DownloadProgress = Callable[[OutputFile, int, int | None], object | Awaitable[object]]
"""Called with a file, how many of its bytes are on the disk, and how many it has where the storage says so."""

BLOCK = 2 * 1024 * 1024
"""Bytes written in one go: large enough that changing threads costs less than the disk."""

MAX_HELD_BACK = 1.0
"""Seconds after which less than a block is written, so that a slow link shows progress, and a kill costs little."""


@attrs.frozen
class Downloads:
    """What the files of one task have in common while they are fetched.

    Attributes:
        storage: Where they come from.
        settings: The client's.
        links: Their links.
        directory: Where they go.
        on_progress: Who wants to know.

    """

    storage: Storage
    settings: Settings
    links: Links
    directory: Path
    on_progress: DownloadProgress | None


async def download(
    transport: Transport,
    storage: Storage,
    settings: Settings,
    task: str | TaskResult,
    directory: "str | os.PathLike[str]",
    *,
    concurrency: int,
    on_progress: DownloadProgress | None,
) -> list[Path]:
    """Fetch every file of a result; see `AsyncClient.download`."""
    check_kind(directory, (str, bytes, os.PathLike), "directory", "a path")
    check_callback(on_progress, "on_progress")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise InvalidParameters([f"concurrency must be a whole number above zero, not {concurrency!r}"])
    task_id, files = await files_of(transport, task)
    links = Links(transport, task_id, files)
    downloads = Downloads(storage, settings, links, Path(os.fsdecode(directory)), on_progress)
    with map_disk_errors(files[0].name if files else "files", 0, task_id):
        await anyio.to_thread.run_sync(partial(downloads.directory.mkdir, parents=True, exist_ok=True))
    paths: dict[str, Path] = {}
    failures: dict[str, CyberunError] = {}
    waiting = iter(files)

    async def work() -> None:
        for file in waiting:
            try:
                paths[file.key] = await Download(downloads, file).run()
            except CyberunError as failure:
                failures[file.key] = failure
                if not _is_about_one_file(failure):
                    return

    await run_all(*[work] * min(concurrency, len(files)))
    if failures:
        raise _one_of(failures, [file for file in files if file.key not in paths])
    return [paths[file.key] for file in files]


def _is_about_one_file(failure: CyberunError) -> bool:
    """Whether the storage refused one file for good; a full disk or a broken network would stop the others as well."""
    return isinstance(failure, StorageError) and failure.status is not None and not failure.retryable


def _one_of(failures: dict[str, CyberunError], missing: list[OutputFile]) -> CyberunError:
    """Give the first failure, and let it say what else is missing."""
    key, first = next(iter(failures.items()))
    others = [file.name for file in missing if file.key != key]
    if others and isinstance(first, StorageError):
        first.args = (f"{first}; also missing: {', '.join(others)}",)
    return first


class _TooMuch(StorageFailure):
    """More bytes came than the head of the answer has promised."""


class Download:
    """One file on its way into a directory."""

    def __init__(self, downloads: Downloads, file: OutputFile) -> None:
        """Touch nothing yet."""
        self._downloads = downloads
        self._file = file
        self._output = Output(downloads.storage, downloads.links, file, downloads.settings.retries)
        self._use_name(file.name)
        self._digest: Digest | None = None
        self._hashed = 0
        self._is_confirmed = True

    def _use_name(self, name: str) -> None:
        self._name = name
        self._existing = ExistingFiles(self._downloads.directory, name, self._in_thread)
        self._part = PartFile(self._downloads.directory, name, f"{self._file.task_id}\n{self._file.key}")

    async def run(self) -> Path:
        """Fetch the file unless it is there, and give its path."""
        async with self._downloads.storage.gate:
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
        delivery = await self._output.look()
        path = await self._existing.find(name_as_stored(self._name, delivery.encoding), delivery)
        if path is not None:
            await self._in_thread(self._part.discard)
            await self._tell(delivery.total or 0, delivery.total)
        return path

    # Fetching

    async def _fetch(self) -> Path:
        await self._in_thread(self._part.open)
        try:
            delivery = await self._fetch_whole()
            await self._in_thread(self._part.flush, delivery.modified)
            return await self._place(delivery)
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_thread(self._part.close)

    async def _fetch_whole(self) -> Delivery:
        came: str | None = None
        for _ in range(CHECKED):
            delivery = attrs.evolve(await self._fetch_to_the_end(), total=self._part.have.size)
            checksum, before = delivery.checksum, came
            if checksum is None or self._digest is None:
                return delivery
            came = self._digest.hexdigest()
            if came == checksum.value:
                return delivery
            may_be_none = came == before and self._is_confirmed and not checksum.is_sure
            if may_be_none and await self._output.confirms(self._part.have.size, delivery.etag):
                log.warning(NO_MD5, self._file.name)
                return attrs.evolve(delivery, checksum=Checksum(checksum.algorithm, came))
            await self._in_thread(self._restart, NOTHING)
            self._output.start_over()
        raise self._output.error("what arrives does not have the checksum that the storage gives", retryable=True)

    async def _fetch_to_the_end(self) -> Delivery:
        while True:
            delivery, body = await self._output.ask(self._part.have)
            try:
                if delivery.start == 0:
                    have = Have(0, delivery.etag, delivery.total, delivery.checksum, delivery.encoding)
                    await self._in_thread(self._restart, have)
                self._is_confirmed &= delivery.is_confirmed
                await self._take(delivery, body)
                if body.may_be_cut:
                    await self._output.ensure_size(self._part.have.size)
                return delivery
            except StorageFailure as failure:
                if isinstance(failure, _TooMuch):
                    # It is not known which of its bytes are those of the file.
                    await self._in_thread(self._restart, NOTHING)
                await self._output.pause(failure)
            finally:
                await body.aclose()

    async def _take(self, delivery: Delivery, body: StorageBody) -> None:
        """Read and write side by side until the file is whole.

        Raises:
            StorageFailure: The connection broke; what had arrived is written.

        """
        if delivery.checksum is not None:
            await self._catch_up(delivery.checksum)
        await self._tell(self._part.have.size, delivery.total)
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
                    raise _TooMuch(f"more than the announced {delivery.end} bytes came", retryable=True)
                block.append(chunk)
                held += len(chunk)
                if held >= BLOCK or anyio.current_time() - since >= MAX_HELD_BACK:
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
            self._output.progressed(self._part.have.size)
            await self._tell(self._part.have.size, delivery.total)

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
        self._output.done = 0

    async def _catch_up(self, checksum: Checksum) -> None:
        """Hash what an earlier attempt, or an earlier process, has left."""
        if self._digest is None or self._digest.name != checksum.algorithm:
            self._digest, self._hashed = new_digest(checksum.algorithm), 0
        while self._hashed < self._part.have.size:
            self._hashed = await self._in_thread(self._part.read_into, self._digest, self._hashed)

    # Placing

    async def _place(self, delivery: Delivery) -> Path:
        # Where its time says nothing, only its bytes can tell a file from another one.
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

    async def _tell(self, done: int, total: int | None) -> None:
        if self._downloads.on_progress is not None:
            outcome = self._downloads.on_progress(self._file, done, total)
            if inspect.isawaitable(outcome):
                await outcome

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        with map_disk_errors(self._file.name, self._output.done, self._file.task_id):
            return await anyio.to_thread.run_sync(work, *args)


def _is_name_too_long(failure: StorageError) -> bool:
    return isinstance(failure.__cause__, OSError) and failure.__cause__.errno == errno.ENAMETOOLONG
