"""The file of a journal: opened, upgraded and written to in a thread, since SQLite blocks.

SQLite's lock is taken by the first access, and that of `journal_lock.py` before; both are kept until the file is closed,
even by a crash. Jobs that are due together
share one transaction, so that the price of an fsync is paid once; where anything in it fails, each job gets a
transaction of its own, and fails for itself.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cyberun_async._batch.journal_lock import JournalLock
from cyberun_async._batch.journal_rows import Row
from cyberun_async._errors import ConfigurationError, JournalInUse

MARK = 0x43594231
"""Written into the file, so that no other program's database is taken for a journal."""

VERSION = 2
"""Of the schema, as the file says it (`user_version`); the first one wrote 0."""

COLUMNS = (
    "workflow",
    "key",
    "digest",
    "state",
    "run",
    "task_id",
    "began",
    "matched",
    "outcome",
    "attempts",
    "response",
    "unsettled",
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    workflow TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    run INTEGER NOT NULL,
    task_id TEXT,
    began REAL,
    matched INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    PRIMARY KEY (workflow, key)
) WITHOUT ROWID
"""

UPGRADES = (
    # 0 to 1: attempts are counted, a response that is not understood is kept, and so is the number of the last run.
    (
        "ALTER TABLE items ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE items ADD COLUMN response TEXT",
        "UPDATE items SET attempts = 1 WHERE state != 'new'",
        "CREATE TABLE runs (last INTEGER NOT NULL)",
        "INSERT INTO runs SELECT coalesce(max(run), 0) FROM items",
    ),
    # 1 to 2: so are the times of submissions without a response that were made good by another submission.
    ("ALTER TABLE items ADD COLUMN unsettled TEXT",),
)
"""What makes a file of one version one of the next."""

READ_ONLY = "attempt to write a readonly database"
"""As SQLite says it."""

MALFORMED = "database disk image is malformed"
"""Likewise."""

PAGE = 500
"""Rows that are read at once when a journal is iterated over."""

SELECT = f"SELECT {', '.join(COLUMNS)} FROM items"  # noqa: S608
PUT = (
    f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' for _ in COLUMNS)}) "  # noqa: S608
    f"ON CONFLICT (workflow, key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[2:])}"
)


class Job:
    """One piece of work for the database, and what came of it.

    Args:
        work: What to do; it is done again where the transaction that it shared has failed.

    """

    __slots__ = ("failure", "is_done", "is_dropped", "value", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], object]) -> None:
        self.work = work
        self.is_done = self.is_dropped = False
        self.value: object = None
        self.failure: Exception | None = None

    def __repr__(self) -> str:
        """Show whether it is done."""
        return f"<{type(self).__name__}, {'done' if self.is_done else 'dropped' if self.is_dropped else 'queued'}>"


class _LockedConnection(sqlite3.Connection):
    """A connection with a lock, which it releases when it is closed."""

    lock: JournalLock

    def close(self) -> None:
        super().close()
        self.lock.release()


def connect(path: Path) -> sqlite3.Connection:
    """Open the file and lock it.

    Raises:
        ConfigurationError: It is something else, cannot be written to, or is of a later version.
        JournalInUse: It is locked.

    """
    try:
        lock = JournalLock(path)
    except BlockingIOError:
        raise JournalInUse(str(path)) from None
    try:
        return _connect(path, lock)
    except BaseException:
        lock.release()
        raise


def _connect(path: Path, lock: JournalLock) -> sqlite3.Connection:
    try:
        # To root every file is writable; who took that right from a file meant root, too.
        if path.exists() and not path.stat().st_mode & 0o222:
            raise sqlite3.OperationalError(READ_ONLY)
        db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, factory=_LockedConnection)
    except (sqlite3.Error, OSError, ValueError) as error:
        raise _unusable(path, error) from None
    db.lock = lock
    try:
        _prepare(db, path)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise _unusable(path, error) from None
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    # All or nothing, and always a write: a disk that is full shows now, and not after the first submission.
    with _transaction(db, "EXCLUSIVE"):
        (mark,), (version,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mark != MARK and tables:
            raise _unusable(path, "it is the database of another program")
        if version > VERSION:
            raise _unusable(path, "it was written by a later version of cyberun-async, so upgrade this one")
        # A damaged page may hide a row, and an item without a row is submitted.
        if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError(MALFORMED)
        db.execute(SCHEMA)
        for upgrade in UPGRADES[version:]:
            for statement in upgrade:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {MARK}")
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")


def _unusable(path: Path, error: object) -> ConfigurationError:
    """Say what is wrong, and what to do about it."""
    said = str(error)
    if "locked" in said:
        return JournalInUse(str(path))
    advice = next((advice for words, advice in _ADVICE.items() if words in said), "")
    return ConfigurationError(f"the journal {path} cannot be opened: {said}{advice}")


_ADVICE = {
    "readonly": "; make the file and its folder writable, or work on a copy",
    "full": "; make room first, since nothing is submitted that cannot be written down",
    "unable to open": "; check that its folder is there and may be written to",
    "malformed": "; it is damaged: move it away, and check its items before they are submitted again",
}


@contextmanager
def _transaction(db: sqlite3.Connection, kind: str) -> Iterator[None]:
    """Commit what was done, or nothing of it; SQLite itself may have rolled back already."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


def carry_out(db: sqlite3.Connection | None, jobs: Sequence[Job]) -> None:
    """Do all jobs; each is marked as done, with its value or its failure, whatever happens."""
    failure: Exception | None = None
    values: list[object] = []
    try:
        if db is None:
            message = "it is closed"
            raise sqlite3.ProgrammingError(message)
        with _transaction(db, "IMMEDIATE"):
            values = [job.work(db) for job in jobs]
    except Exception as error:  # noqa: BLE001 - raised to each caller whose job it was
        # Its frames would hold a statement until the collector comes by, and up to Python 3.10 that holds the lock.
        failure = error.with_traceback(None)
        failure.__context__ = None
    if failure is not None and len(jobs) > 1:
        for job in jobs:
            carry_out(db, [job])
        return
    for job, value in zip(jobs, values or [None] * len(jobs), strict=True):
        job.value, job.failure, job.is_done = (value, None, True) if failure is None else (None, failure, True)


# Rows


def read_row(values: Sequence[object]) -> Row:
    """Give a row as the file has it; what is not of the kind that was written there counts as absent."""
    said = dict(zip(COLUMNS, values, strict=True))
    task_id, outcome, began, run, attempts = (said[name] for name in ("task_id", "outcome", "began", "run", "attempts"))
    return Row(
        workflow=str(said["workflow"]),
        key=str(said["key"]),
        digest=str(said["digest"]),
        state=str(said["state"]),
        run=run if isinstance(run, int) else 0,
        task_id=task_id if isinstance(task_id, str) and task_id else None,
        began=float(began) if isinstance(began, (int, float)) else None,
        matched=bool(said["matched"]),
        outcome=None if outcome is None else str(outcome),
        attempts=attempts if isinstance(attempts, int) else 1,
        response=None if said["response"] is None else str(said["response"]),
        unsettled=None if said["unsettled"] is None else str(said["unsettled"]),
    )


def find(db: sqlite3.Connection, workflow: str, key: str) -> Row | None:
    """Read an item's row."""
    values = db.execute(f"{SELECT} WHERE workflow = ? AND key = ?", (workflow, key)).fetchone()
    return None if values is None else read_row(values)


def put(db: sqlite3.Connection, row: Row) -> None:
    """Write an item's complete row, whether or not there is one."""
    db.execute(PUT, tuple(getattr(row, name) for name in COLUMNS))


def next_run(db: sqlite3.Connection) -> int:
    """Count one more run, and give its number."""
    db.execute("UPDATE runs SET last = last + 1")
    run: int = db.execute("SELECT last FROM runs").fetchone()[0]
    return run


def page_of_rows(db: sqlite3.Connection, after: tuple[str, str]) -> list[Row]:
    """Read the next rows by workflow and key."""
    query = f"{SELECT} WHERE (workflow, key) > (?, ?) ORDER BY workflow, key LIMIT {PAGE}"
    return [read_row(values) for values in db.execute(query, after)]


def unconfirmed(db: sqlite3.Connection, workflow: str) -> tuple[dict[str, float], list[float]]:
    """Give when each item was sent of which neither the task nor the outcome is known, by key; and when others once were.

    An item that was submitted again has a task, and the first submission may have left one as well, which is no other
    item's.
    """
    query = (
        "SELECT key, began FROM items WHERE workflow = ? AND typeof(began) = 'real' AND task_id IS NULL AND outcome IS NULL"
        " AND state IN ('submitting', 'uncertain', 'submitted', 'finished')"
    )
    earlier = "SELECT unsettled FROM items WHERE workflow = ? AND unsettled IS NOT NULL"
    times = [float(time) for (text,) in db.execute(earlier, (workflow,)) for time in text.split()]
    return dict(db.execute(query, (workflow,))), times


def ids_of_tasks(db: sqlite3.Connection) -> set[str]:
    """Give the tasks of all items."""
    return {task_id for (task_id,) in db.execute("SELECT task_id FROM items WHERE task_id IS NOT NULL")}
