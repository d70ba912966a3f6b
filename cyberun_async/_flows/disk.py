"""Files on their way to a directory. All of this blocks: it runs in threads."""

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cyberun_async._errors import StorageError
from cyberun_async._protocol.ranges import NOTHING, Have

if sys.platform == "win32":  # pragma: no cover - the gate runs on Linux

    def _is_ours(_: int) -> bool:
        return True
else:
    import fcntl

    def _is_ours(descriptor: int) -> bool:
        """Lock a file for as long as it is open, unless somebody else has."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


HASHED_AT_ONCE = 32 * 1024 * 1024
"""Bytes hashed in one go, after which whoever waits for it may be cancelled."""

_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_REASONS = {
    errno.EACCES: "there is no permission to write there; choose another directory",
    errno.EPERM: "there is no permission to write there; choose another directory",
    errno.EROFS: "the file system is read-only; choose another directory",
    errno.ENOSPC: "the disk is full; make room, and download again",
    errno.EDQUOT: "the disk quota is used up; make room, and download again",
    errno.EFBIG: "the file system takes no file of this size; choose another directory",
    errno.ENOENT: "there is no such directory; make it first",
    errno.ENOTDIR: "that is not a directory; choose another one",
    errno.EISDIR: "a directory of this name is in the way; move it, or choose another directory",
    errno.EBUSY: "another download of it into this directory is under way",
}


class PartFile:
    """The data of a file under a temporary name, and beside it of which version they are.

    Both names depend on what is downloaded, so that a new process finds what an earlier one left. They begin with a dot,
    as no safe name does.

    Args:
        directory: Where the file is to be.
        name: What it is to be called there.
        identity: What tells it from all other files that may be called so.

    """

    def __init__(self, directory: Path, name: str, identity: str) -> None:
        """Touch nothing yet."""
        mark = hashlib.sha256(identity.encode()).hexdigest()[:10]
        self._data = directory / f".{name}.{mark}.part"
        self._version = directory / f".{name}.{mark}.etag"
        self._descriptor = -1
        self.have = NOTHING

    def open(self) -> None:
        """Take hold of what is there, or begin with nothing.

        Raises:
            OSError: It cannot be opened, or somebody else is at it.

        """
        self._descriptor = self._open_ours()
        size = os.fstat(self._descriptor).st_size
        with suppress(OSError):
            self.have = Have(size, self._version.read_text("utf-8"))
        if not self.have.etag:
            self.restart(None)

    def _open_ours(self) -> int:
        while True:
            descriptor = os.open(self._data, _OPEN, 0o666)
            if not _is_ours(descriptor):
                os.close(descriptor)
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            # Before the lock was ours, somebody may have finished the file and taken its temporary name away; or have
            # been killed while it had both names. It must not be touched any more.
            status = os.fstat(descriptor)
            if status.st_nlink == 1:
                return descriptor
            if status.st_nlink > 1:
                self._data.unlink(missing_ok=True)
            os.close(descriptor)

    def restart(self, etag: str | None) -> None:
        """Begin with nothing, for this version of the file."""
        # In this order, so that the data are never taken for those of another version, whenever the process dies.
        self._version.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, 0)
        if etag is not None:
            self._version.write_text(etag, "utf-8")
        self.have = Have(0, etag)

    def write(self, data: bytes) -> None:
        """Add to the end."""
        os.lseek(self._descriptor, self.have.size, os.SEEK_SET)
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            rest = rest[written:]
            self.have = Have(self.have.size + written, self.have.etag)

    def flush(self, modified: float | None) -> None:
        """See to it that the data are on the disk."""
        os.fsync(self._descriptor)
        if modified is not None:
            os.utime(self._data, (modified, modified))

    def place(self, target: Path) -> bool:
        """Give the file its final name in one step, unless something has that name.

        Returns:
            Whether it has the name now.

        """
        if sys.platform == "win32":  # pragma: no cover - the gate runs on Linux
            self._close()
        try:
            _rename_to_new(self._data, target)
        except FileExistsError:
            return False
        self._version.unlink(missing_ok=True)
        return True

    def discard(self) -> None:
        """Remove what is there."""
        if sys.platform == "win32":  # pragma: no cover - the gate runs on Linux
            self._close()
        self._version.unlink(missing_ok=True)
        self._data.unlink(missing_ok=True)
        self._close()

    def close(self) -> None:
        """Let go of the file, and leave behind what somebody can go on with."""
        if self._descriptor >= 0 and not self.have.size:
            self.discard()
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read_into(self, digest: "hashlib._Hash", start: int) -> int:
        """Hash a stretch of what is there, and say where it ends."""
        os.lseek(self._descriptor, start, os.SEEK_SET)
        return start + _hash_some(self._descriptor, digest)


def is_taken(path: Path) -> bool:
    """Whether something has this name.

    Raises:
        IsADirectoryError: A directory has.

    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return os.path.lexists(path)


def _rename_to_new(source: Path, target: Path) -> None:
    """Rename a file to a name that nothing has.

    Raises:
        FileExistsError: Something has that name.

    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links. Windows refuses to replace by itself; elsewhere a moment remains between
        # the look and the step.
        if target.exists():
            raise FileExistsError from None
        source.rename(target)
    else:
        source.unlink()


def _hash_some(descriptor: int, digest: "hashlib._Hash") -> int:
    done = 0
    while done < HASHED_AT_ONCE and (block := os.read(descriptor, 1024 * 1024)):
        digest.update(block)
        done += len(block)
    return done


def hash_stretch(path: Path, digest: "hashlib._Hash", start: int) -> int:
    """Hash a stretch of a file, and say where it ends; it ends where it starts at the end of the file."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return start + _hash_some(file.fileno(), digest)


@contextmanager
def failures_of_disk(name: str, done: int, task_id: str | None) -> Iterator[None]:
    """Raise what the operating system raises as a `StorageError` about the file."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
        raise StorageError(
            reason, file=name, bytes_done=done, retryable=error.errno == errno.EBUSY, task_id=task_id
        ) from error
