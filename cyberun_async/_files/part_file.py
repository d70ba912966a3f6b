"""The temporary file of a download, from which a later one resumes. All of this blocks: it runs in threads.

Two hidden files stand in the directory while a file is fetched: `.NAME.ID.part` has its first bytes, `.NAME.ID.etag` says
of which version they are (`resume.write_version`). What makes it safe to trust them after a crash:

- the version is removed before the data are truncated, and written before the first byte of the new version, so that
  whenever the process dies, data never stand beside the version of others;
- only one process writes: the data file is locked (`flock`) as long as it is open, and a name that was taken away, or
  that has a second name, between opening and locking is not used;
- after a power cut the tail may be NULs that were never flushed. The version says on which start of which machine it was
  written; what was written before the last start is resumed only where a checksum will be compared.

Where the file system has no locks, names are random, and nothing is left behind to resume from. `close` keeps what can
be resumed, and removes the rest; `place` gives the complete file its name.
"""

import errno
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from cyberun_async._errors import StorageError
from cyberun_async._files.checksums import Digest
from cyberun_async._files.file_system import (
    HASH_CHUNK_SIZE,
    boot_id,
    flush,
    hash_some,
    lock,
    rename_to_new,
    set_time,
)
from cyberun_async._files.resume import NOTHING, Have, read_version, write_version

FLUSH_THRESHOLD = 8 * 1024 * 1024
"""Bytes from which the version beside a temporary file is flushed to the disk, which costs as much as a small file."""

_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_REASONS = {
    errno.EACCES: "there is no permission to write there; choose another directory",
    errno.EPERM: "there is no permission to write there; choose another directory",
    errno.EROFS: "the file system is read-only; choose another directory",
    errno.ENOSPC: "the disk is full; make room, and download again",
    errno.EDQUOT: "the disk quota is used up; make room, and download again",
    errno.EFBIG: "the file system takes no file of this size; choose another directory",
    errno.ENAMETOOLONG: "the file system finds every name too long; choose another directory",
    errno.ENOENT: "the directory was removed meanwhile; download again",
    errno.ENOTDIR: "that is not a directory; choose another one",
    errno.EEXIST: "that is not a directory; choose another one",
    errno.EISDIR: "a directory of this name is in the way; move it, or choose another directory",
    errno.EBUSY: "another download of it into this directory is under way",
}


class PartFile:
    """The data of a file under a temporary name, and beside it of which version they are.

    Both names depend on what is downloaded, so that a new process finds what an earlier one left. They begin with a dot,
    as no safe name does. Where the file system has no locks, it is not known whether the earlier process still
    writes: the names are random then, and nothing is left behind.

    Args:
        directory: Where the file is to be.
        name: What it is to be called there.
        identity: What distinguishes it from all other files of that name.

    Attributes:
        have: What is there.
        time: When the file was made, as the file system shows it after it was set; `None` where it keeps no times.

    """

    def __init__(self, directory: Path, name: str, identity: str) -> None:
        self._stem = f".{name}.{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
        self._directory = directory
        self._name_files("")
        self._descriptor = -1
        self._is_shared, self._is_version_flushed = True, False
        self.have = NOTHING
        self.time: float | None = None

    def __repr__(self) -> str:
        """Show where it is, and how much of it is there."""
        state = "open" if self._descriptor >= 0 else "closed"
        return f"<{type(self).__name__} {str(self._data)!r}, {self.have.size} of {self.have.total} bytes, {state}>"

    def _name_files(self, token: str) -> None:
        self._data = self._directory / f"{self._stem}{token}.part"
        self._version = self._directory / f"{self._stem}{token}.etag"

    def open(self) -> None:
        """Open and lock what is there, or start with nothing.

        Raises:
            OSError: It cannot be opened, or another download is at it.

        """
        try:
            self._is_shared = self._open_shared()
            if not self._is_shared:
                self._name_files(f".{secrets.token_hex(4)}")
                self._descriptor = os.open(self._data, _OPEN | os.O_EXCL, 0o666)
            with suppress(OSError):
                size = os.fstat(self._descriptor).st_size
                self.have = read_version(self._version.read_bytes(), size, boot_id())
            if self.have.etag is None:
                self.restart(NOTHING)
        except BaseException:
            self._close()
            raise

    def _open_shared(self) -> bool:
        """Open the file that every process knows; `False` where the file system has no locks to share it by."""
        # Before the lock was ours, another process may have finished the file and taken its temporary name away; or have
        # been killed while it had both names. It must not be touched any more. File systems that count names wrongly
        # may say so for ever.
        for _ in range(8):
            self._descriptor = os.open(self._data, _OPEN, 0o666)
            is_locked = lock(self._descriptor)
            if is_locked is False:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            status = os.fstat(self._descriptor)
            if is_locked and status.st_nlink == 1:
                return True
            if status.st_nlink > 1 or (not is_locked and not status.st_size):
                self._data.unlink(missing_ok=True)
            self._close()
            if not is_locked:
                break
        return False

    def restart(self, have: Have) -> None:
        """Begin with nothing, for the version of the file that is described."""
        # In this order, so that the data are never taken for those of another version, whenever the process dies.
        self._version.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, 0)
        self._is_version_flushed = have.etag is None
        if have.etag is not None:
            self._version.write_bytes(write_version(have, boot_id()))
        self.have = attrs.evolve(have, size=0)

    def write(self, data: bytes) -> None:
        """Add to the end."""
        os.lseek(self._descriptor, self.have.size, os.SEEK_SET)
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            rest = rest[written:]
            self.have = attrs.evolve(self.have, size=self.have.size + written)
        if not self._is_version_flushed and self.have.size >= FLUSH_THRESHOLD:
            self._flush_version()

    def _flush_version(self) -> None:
        self._is_version_flushed = True
        with suppress(FileNotFoundError), self._version.open("rb") as file:
            flush(file.fileno())

    def flush(self, modified: float | None) -> None:
        """See to it that the data are on the disk."""
        flush(self._descriptor)
        self.time = None if modified is None else set_time(self._data, modified)

    def place(self, target: Path) -> bool:
        """Give the file its final name in one step, unless something has that name.

        Returns:
            Whether it has the name now.

        """
        if sys.platform == "win32":  # pragma: no cover - the gate runs on Linux
            self._close()
        try:
            rename_to_new(self._data, target)
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
        """Close the file, and leave behind what can be resumed."""
        can_resume = self.have.size > 0 and self.have.etag is not None and self._is_shared
        if self._descriptor >= 0 and not can_resume:
            self.discard()
        elif self._descriptor >= 0 and not self._is_version_flushed:
            self._flush_version()
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read_into(self, digest: Digest, start: int) -> int:
        """Hash a stretch of what is there, and say where it ends."""
        os.lseek(self._descriptor, start, os.SEEK_SET)
        return start + hash_some(self._descriptor, digest)

    def equals(self, path: Path, start: int) -> int | None:
        """Compare a stretch with that of another file, and say where it ends; `None` where they differ."""
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            os.lseek(self._descriptor, start, os.SEEK_SET)
            for _ in range(0, HASH_CHUNK_SIZE, 1024 * 1024):
                ours = os.read(self._descriptor, 1024 * 1024)
                if file.read(len(ours) or 1) != ours:
                    return None
                start += len(ours)
                if not ours:
                    break
        return start


@contextmanager
def map_disk_errors(name: str, done: int, task_id: str | None) -> Iterator[None]:
    """Raise what the operating system raises as a `StorageError` about the file."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
        raise StorageError(
            reason, file=name, bytes_done=done, retryable=error.errno == errno.EBUSY, task_id=task_id
        ) from error
    except ValueError as error:  # A NUL or half a character in the name of the directory.
        reason = f"there can be no such directory ({error}); choose another one"
        raise StorageError(reason, file=name, bytes_done=done, task_id=task_id) from error
