"""Which of the files in a directory is the one that would be downloaded: dedup by checksum, by time or by bytes."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cyberun_async._files.checksums import Checksum, new_digest
from cyberun_async._files.file_system import hash_stretch, is_taken, probe_time, status_of
from cyberun_async._files.filenames import numbered
from cyberun_async._files.part_file import PartFile
from cyberun_async._files.resume import Delivery

InThread = Callable[..., Awaitable[Any]]
"""Does what blocks in a thread."""

MAX_CACHED = 10_000

_digests: dict[tuple[object, ...], str] = {}
"""What files come to, by all that changes when their bytes do, so that many of one name are not hashed for each other."""


def note_digest(path: Path, status: os.stat_result, algorithm: str, value: str) -> None:
    """Note what a file comes to, for as long as it does not change."""
    if len(_digests) >= MAX_CACHED:
        _digests.clear()
    _digests[_identity(path, status, algorithm)] = value


def _identity(path: Path, status: os.stat_result, algorithm: str) -> tuple[object, ...]:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (str(path), status.st_dev, status.st_ino, status.st_size, *times, algorithm)


class ExistingFiles:
    """The files of a directory that may be the one that is downloaded.

    Args:
        directory: Where they are.
        name: What the file is called.
        in_thread: Does what blocks.

    """

    def __init__(self, directory: Path, name: str, in_thread: InThread) -> None:
        self._directory = directory
        self._name = name
        self._in_thread = in_thread

    def __repr__(self) -> str:
        """Show where they are."""
        return f"<{type(self).__name__} {str(self._directory / self._name)!r}>"

    async def any(self) -> bool:
        """Whether there may be one, under its own name or under that of a file that is stored compressed."""
        paths = [self._directory / name for name in (self._name, f"{self._name}.gz")]
        return bool(await self._in_thread(lambda: any(is_taken(path) for path in paths)))

    async def find(self, name: str, delivery: Delivery) -> Path | None:
        """Give the one that is what a response describes."""
        for candidate in numbered(name):
            path = self._directory / candidate
            if not await self._in_thread(is_taken, path):
                return None
            if await self.is_same(path, delivery):
                return path
        raise AssertionError("unreachable")

    async def is_same(self, path: Path, delivery: Delivery) -> bool:
        """Whether a file is what a response describes: by its checksum, or else by its size and its time."""
        status = await self._in_thread(status_of, path)
        if status is None or status.st_size != delivery.total:
            return False
        if delivery.checksum is not None:
            return await self._digest_of(path, status, delivery.checksum) == delivery.checksum.value
        if delivery.modified is None:
            return False
        shown = await self._in_thread(probe_time, self._directory, delivery.modified)
        return shown is not None and status.st_mtime == shown

    async def _digest_of(self, path: Path, status: os.stat_result, checksum: Checksum) -> str:
        known = _digests.get(_identity(path, status, checksum.algorithm))
        if known is not None:
            return known
        digest, done = new_digest(checksum.algorithm), 0
        while done < status.st_size and (end := await self._in_thread(hash_stretch, path, digest, done)) > done:
            done = end
        note_digest(path, status, checksum.algorithm, digest.hexdigest())
        return digest.hexdigest()

    async def is_equal(self, path: Path, part: PartFile) -> bool:
        """Whether a file has the bytes of one that was fetched."""
        status, done = await self._in_thread(status_of, path), 0
        if status is None or status.st_size != part.have.size:
            return False
        while done < part.have.size:
            end = await self._in_thread(part.equals, path, done)
            if end is None or end == done:
                return False
            done = end
        return True
