"""Files of a result into a directory: whole under their names, or not at all."""

import hashlib
import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from cyberun_async._errors import CyberunError, InvalidParameters, StorageError
from cyberun_async._flows.disk import PartFile, failures_of_disk, hash_stretch, is_taken
from cyberun_async._flows.outputs import Links, Output, files_of
from cyberun_async._flows.together import side_by_side
from cyberun_async._protocol.checksums import Checksum
from cyberun_async._protocol.filenames import numbered
from cyberun_async._protocol.ranges import Delivery
from cyberun_async._protocol.tasks import OutputFile, TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.storage import Body, Storage, StorageFailure
from cyberun_async._transport.transport import Transport

_T = TypeVar("_T")

DownloadProgress = Callable[[OutputFile, int, int | None], object | Awaitable[object]]
"""Called with a file, how many of its bytes are on the disk, and how many it has where the storage says so."""

BLOCK = 2 * 1024 * 1024
"""Bytes written in one go: large enough that changing threads costs less than the disk."""

LONGEST_HELD_BACK = 1.0
"""Seconds after which less than a block is written, so that a slow link shows progress, and a kill costs little."""

CHECKED = 2
"""Times that a file is fetched whole before its checksum is believed to be broken for good."""


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
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise InvalidParameters([f"concurrency must be a whole number above zero, not {concurrency!r}"])
    task_id, files = await files_of(transport, task)
    links = Links(transport, task_id, files)
    downloads = Downloads(storage, settings, links, Path(os.fsdecode(directory)), on_progress)
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

    await side_by_side(*[work] * min(concurrency, len(files)))
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


class Download:
    """One file on its way into a directory."""

    def __init__(self, downloads: Downloads, file: OutputFile) -> None:
        """Touch nothing yet."""
        self._downloads = downloads
        self._file = file
        self._output = Output(downloads.storage, downloads.links, file, downloads.settings.retries)
        self._part = PartFile(downloads.directory, file.name, f"{file.task_id}\n{file.key}")
        self._digest: hashlib._Hash | None = None
        self._hashed = 0

    async def run(self) -> Path:
        """Fetch the file unless it is there, and give its path."""
        async with self._downloads.storage.gate:
            return await self._find() or await self._fetch()

    # What is there already

    async def _find(self) -> Path | None:
        if not await self._in_thread(is_taken, self._downloads.directory / self._file.name):
            return None
        delivery = await self._output.look()
        for name in numbered(self._file.name):
            path = self._downloads.directory / name
            if not await self._in_thread(is_taken, path):
                return None
            if await self._is_same(path, delivery):
                await self._in_thread(self._part.discard)
                await self._tell(delivery.total or 0, delivery.total)
                return path
        raise AssertionError("unreachable")

    async def _is_same(self, path: Path, delivery: Delivery) -> bool:
        """Whether what is there is this file: by its checksum, or else by its size and its time."""
        status = await self._in_thread(_status, path)
        if status is None or status.st_size != delivery.total:
            return False
        if delivery.checksum is None:
            return status.st_mtime == delivery.modified
        digest, done = new_digest(delivery.checksum), 0
        while done < status.st_size and (end := await self._in_thread(hash_stretch, path, digest, done)) > done:
            done = end
        return digest.hexdigest() == delivery.checksum.value

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
        for _ in range(CHECKED):
            delivery = await self._fetch_to_the_end()
            if await self._is_right(delivery.checksum):
                return delivery
            await self._in_thread(self._restart, None)
        raise self._output.error("what arrives does not have the checksum that the storage gives", retryable=True)

    async def _fetch_to_the_end(self) -> Delivery:
        while True:
            delivery, body = await self._output.ask(self._part.have)
            try:
                if delivery.start == 0:
                    await self._in_thread(self._restart, delivery.etag)
                await self._take(delivery, body)
                return delivery
            except StorageFailure as failure:
                await self._output.pause(failure)
            finally:
                await body.aclose()

    async def _take(self, delivery: Delivery, body: Body) -> None:
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
            await side_by_side(read, lambda: self._write(delivery, receiving))
        if breaks:
            raise breaks[0]

    async def _read(self, delivery: Delivery, body: Body, sending: MemoryObjectSendStream[list[bytes]]) -> None:
        size, held, since = delivery.start, 0, anyio.current_time()
        block: list[bytes] = []
        try:
            while (chunk := await body.receive()) is not None:
                size += len(chunk)
                if delivery.total is not None and size > delivery.total:
                    raise StorageFailure(f"more than the promised {delivery.total} bytes came", retryable=True)
                block.append(chunk)
                held += len(chunk)
                if held >= BLOCK or anyio.current_time() - since >= LONGEST_HELD_BACK:
                    await sending.send(block)
                    block, held, since = [], 0, anyio.current_time()
        finally:
            # What came before a break is worth keeping.
            if block:
                await sending.send(block)
        if delivery.total is not None and size < delivery.total:
            raise StorageFailure(f"{size} of the promised {delivery.total} bytes came", retryable=True)

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

    def _restart(self, etag: str | None) -> None:
        self._part.restart(etag)
        self._digest, self._hashed = None, 0
        self._output.done = 0

    # Checking

    async def _catch_up(self, checksum: Checksum) -> None:
        """Hash what an earlier try, or an earlier process, has left."""
        if self._digest is None or self._digest.name != checksum.algorithm:
            self._digest, self._hashed = new_digest(checksum), 0
        while self._hashed < self._part.have.size:
            self._hashed = await self._in_thread(self._part.read_into, self._digest, self._hashed)

    async def _is_right(self, checksum: Checksum | None) -> bool:
        return checksum is None or (self._digest is not None and self._digest.hexdigest() == checksum.value)

    # Placing

    async def _place(self, delivery: Delivery) -> Path:
        for name in numbered(self._file.name):
            path = self._downloads.directory / name
            if await self._in_thread(self._part.place, path):
                return path
            if await self._is_same(path, delivery):
                await self._in_thread(self._part.discard)
                return path
        raise AssertionError("unreachable")

    async def _tell(self, done: int, total: int | None) -> None:
        if self._downloads.on_progress is not None:
            outcome = self._downloads.on_progress(self._file, done, total)
            if inspect.isawaitable(outcome):
                await outcome

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        with failures_of_disk(self._file.name, self._output.done, self._file.task_id):
            return await anyio.to_thread.run_sync(work, *args)


def new_digest(checksum: Checksum) -> "hashlib._Hash":
    """Begin to compute a checksum; it guards against accidents, not against enemies."""
    return hashlib.new(checksum.algorithm, usedforsecurity=False)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
