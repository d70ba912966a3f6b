"""What is asked of a file system beyond reading and writing, and of which some can do nothing. All of this blocks.

Locks, times, hard links and `fsync` are optional: network and user-space file systems lack one or the other, and say so
by various error numbers.
"""

import errno
import os
import secrets
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from cyberun_async._files.checksums import Digest

if sys.platform == "win32":  # pragma: no cover - the gate runs on Linux

    def lock(_: int) -> bool | None:
        return True
else:
    import fcntl

    def lock(descriptor: int) -> bool | None:
        """Lock a file for as long as it is open, and say whether that worked; `None` where there are no locks."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return False if error.errno in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES} else None
        return True


HASH_CHUNK_SIZE = 32 * 1024 * 1024
"""Bytes hashed in one go, after which the caller may be cancelled."""

_CANNOT_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}

_LONG_AGO, _DAY = 1_000_000_000.0, 86_400.0


def is_taken(path: Path) -> bool:
    """Whether something has this name.

    Raises:
        IsADirectoryError: A directory has.

    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return os.path.lexists(path)


def rename_to_new(source: Path, target: Path) -> None:
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
        # the check and the rename. A symbolic link that leads nowhere has the name, too.
        if os.path.lexists(target):
            raise FileExistsError from None
        source.rename(target)
    else:
        # The file has its name: what is left of the other one is put right by the next download of it.
        with suppress(OSError):
            source.unlink()


def flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def set_time(path: Path, moment: float) -> float | None:
    """Set the time of a file, and give it as the file system shows it; `None` where it does not keep it.

    Some keep only even seconds or days, and some take a time without keeping it, which might be right by chance.
    """
    shown = 0.0
    try:
        for wanted in (_LONG_AGO, moment):
            os.utime(path, (wanted, wanted))
            shown = path.stat().st_mtime
            if abs(shown - wanted) > _DAY:
                return None
    except (OSError, OverflowError, ValueError):
        return None
    return shown


def probe_time(directory: Path, moment: float) -> float | None:
    """Give a time as the file system of a directory shows it; `None` where it keeps no times.

    Where no file can be made to try it out, it is taken to be shown as it is.
    """
    path = directory / f".time.{secrets.token_hex(8)}"
    try:
        path.touch(exist_ok=False)
    except OSError:
        return moment
    try:
        return set_time(path, moment)
    finally:
        path.unlink(missing_ok=True)


@cache
def boot_id() -> str:
    """Name this machine since its last start, where the system says so."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def hash_some(descriptor: int, digest: Digest) -> int:
    done = 0
    while done < HASH_CHUNK_SIZE and (block := os.read(descriptor, 1024 * 1024)):
        digest.update(block)
        done += len(block)
    return done


def status_of(path: Path) -> os.stat_result | None:
    """Give the status of a regular file that can be read; reading anything else would block, or fail."""
    try:
        status = path.stat()
        return status if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK) else None
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
            return None
        raise


def hash_stretch(path: Path, digest: Digest, start: int) -> int:
    """Hash a stretch of a file, and say where it ends; it ends where it starts at the end of the file."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return start + hash_some(file.fileno(), digest)
