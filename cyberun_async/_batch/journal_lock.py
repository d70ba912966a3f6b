"""The lock that keeps a journal one process's, beside SQLite's own. All of this blocks.

SQLite locks by `fcntl`, and such a lock ends once its process closes any descriptor of the file: a program that copies or
reads its journal while a batch runs would let a second batch in, which submits the same items. A lock by `flock` belongs
to its descriptor. It is on a file beside the journal, since network file systems make both kinds one, and SQLite would
wait for us. That file is removed with the lock; one that a crash has left is locked by nobody, and does no harm.

Source: https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

SUFFIX = "-lock"
"""Of the file beside the journal."""

_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)

if sys.platform == "win32":  # pragma: no cover - the gate runs on Linux

    def _open_locked(_: Path) -> int:
        """Leave it to SQLite, whose locks nobody loses there."""
        return -1
else:
    import fcntl

    def _open_locked(path: Path) -> int:
        while True:
            descriptor = os.open(path, _OPEN, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Who had it may have removed it before the lock was ours.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), path.stat()):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


class JournalLock:
    """Held while a journal is open; where the file system has no such locks, SQLite's has to do.

    Args:
        journal: Its file.

    Raises:
        BlockingIOError: It is held already, by another process or in this one.

    """

    def __init__(self, journal: Path) -> None:
        self._path = journal
        self._descriptor = -1
        try:
            self._path = Path(f"{os.path.realpath(journal)}{SUFFIX}")
            self._descriptor = _open_locked(self._path)
        except BlockingIOError:
            raise
        except (OSError, ValueError):
            return
        _held.add(self)

    def __repr__(self) -> str:
        """Show where it is, and whether it is held."""
        return f"<{type(self).__name__} {self._path}, {'held' if self._descriptor >= 0 else 'not held'}>"

    def release(self) -> None:
        """Let others have it; safe to call twice."""
        if self._descriptor >= 0:
            with suppress(OSError):
                self._path.unlink()
        self.forget()

    def forget(self) -> None:
        """Close it without letting others have it, as a copy of the process does: the lock is that of the original."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """Let others have it although nobody has closed the journal."""
        self.release()


_held: WeakSet[JournalLock] = WeakSet()


def _forget_all() -> None:
    """Keep a process that was forked meanwhile, and goes on for longer, from holding what a killed one has held."""
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):  # pragma: no branch - the gate runs on Linux
    os.register_at_fork(after_in_child=_forget_all)
