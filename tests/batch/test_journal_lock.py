"""A journal is one process's, whatever the program does to its file meanwhile."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cyberun_async import JournalInUse
from cyberun_async._batch import journal_lock
from cyberun_async._batch.journal_file import connect
from cyberun_async._batch.journal_lock import JournalLock

ANOTHER_PROCESS = """
import os, signal, sys
from pathlib import Path
from cyberun_async import JournalInUse
from cyberun_async._batch.journal_file import connect

path = Path(sys.argv[1])
try:
    connect(path)
except JournalInUse:
    print("in use", flush=True)
input()
db = connect(path)
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
print("left over", flush=True)
input()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def lock_file(path: Path) -> Path:
    return path.with_name("journal-lock")


def test_between_processes(path: Path) -> None:
    """Another process gets a journal neither while it is read by whoever has it open, nor ever too late.

    SQLite's lock is gone once the file was read. What a killed process has forked holds no lock in its place.
    """
    db = connect(path)
    assert path.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER_PROCESS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "in use\n"
        db.close()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "left over\n"
        other.wait()
        connect(path).close()
    assert list(path.parent.iterdir()) == [path]


def test_in_one_process(path: Path) -> None:
    """A second user is refused until the first one has closed it, or has forgotten to."""
    db = connect(path)
    with pytest.raises(JournalInUse):
        connect(path)
    db.close()
    lock = JournalLock(path)
    with pytest.raises(BlockingIOError):
        JournalLock(path)
    assert repr(lock) == f"<JournalLock {lock_file(path)}, held>"
    del lock
    gc.collect()
    lock = JournalLock(path)
    lock.release()
    lock.release()
    assert repr(lock) == f"<JournalLock {lock_file(path)}, not held>"


def test_by_another_name(path: Path) -> None:
    """A journal is the same by a link."""
    link = path.with_name("link")
    link.symlink_to(path)
    db = connect(path)
    with pytest.raises(JournalInUse):
        connect(link)
    db.close()


def test_in_a_copy_of_the_process(path: Path) -> None:
    """A copy of the process does not hold the lock, and does not remove it."""
    copied = JournalLock(path)
    journal_lock._forget_all()
    assert lock_file(path).exists()
    original = JournalLock(path)
    copied.release()
    assert lock_file(path).exists()
    original.release()
    assert not lock_file(path).exists()


@pytest.mark.parametrize("then", [lambda _: None, Path.touch], ids=["removed", "replaced"])
def test_removed_before_it_was_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch, then: Callable[[Path], None]
) -> None:
    """A lock on a file that has lost its name is none, since the next one takes another file."""
    flock, times = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not times:
            lock_file(path).unlink()
            then(lock_file(path))
        times.append(how)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    lock = JournalLock(path)
    assert len(times) == 2
    with pytest.raises(BlockingIOError):
        JournalLock(path)
    lock.release()


def test_a_file_system_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's lock has to do there."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    db = connect(path)
    with pytest.raises(JournalInUse):
        connect(path)
    db.close()
