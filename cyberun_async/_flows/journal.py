"""What a batch remembers across runs: one row for each item, on disk before and after each submission."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.batches import Entry

MARK = 0x43594231
"""Written into the file, so that no other program's database is taken for a journal."""

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


class Job:
    """One piece of work for the database, and what came of it."""

    __slots__ = ("failure", "is_done", "value", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Not done yet."""
        self.work = work
        self.is_done = False
        self.value: object = None
        self.failure: sqlite3.Error | None = None


class Journal:
    """A file that a batch writes down each item in, so that a batch that was killed goes on where it was.

    Each item has a row: its key, a digest of its parameters, how far it is, its task's id, and what became of it. The row
    is on disk before the item is submitted, and again once its task's id is known. What ended in between has an uncertain
    fate, and is reported as such. The file holds no key and no link. It serves one batch at a time.

    ```python
    async with client.map("text-to-image", items, journal=Journal("sunsets.journal")) as batch:
        async for outcome in batch:
            ...
    ```

    Args:
        path: The file, an SQLite database; made if it is not there.

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Touch nothing yet."""
        self.path: Path = Path(path)
        self.run: int = 0
        self._db: sqlite3.Connection | None = None
        self._jobs: list[Job] = []
        self._turn = anyio.Lock()
        # SQLite blocks, and a connection is one thread's at a time.
        self._one_thread = anyio.CapacityLimiter(1)

    def __repr__(self) -> str:
        """Show where it is."""
        return f"{type(self).__name__}({str(self.path)!r})"

    async def open(self) -> None:
        """Take the journal for one batch.

        Raises:
            ConfigurationError: It cannot be opened, is in use, or is something else.

        """
        if self._db is not None:
            raise ConfigurationError(self._in_use)
        try:
            self._db = await anyio.to_thread.run_sync(self._connect, limiter=self._one_thread)
        except sqlite3.Error as error:
            is_locked = "locked" in str(error)
            message = self._in_use if is_locked else f"the journal {self.path} cannot be opened: {error}"
            raise ConfigurationError(message) from None
        self.run = await self.do(lambda db: db.execute("SELECT coalesce(max(run), 0) + 1 FROM items").fetchone()[0])

    async def aclose(self) -> None:
        """Let go of the file; safe to call twice."""
        db, self._db = self._db, None
        if db is not None:
            await anyio.to_thread.run_sync(db.close, limiter=self._one_thread)

    async def do(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Have a piece of work done; all that is asked for at about the same time goes to disk together.

        Raises:
            ConfigurationError: The disk refused.

        """
        job = Job(work)
        self._jobs.append(job)
        async with self._turn:
            if not job.is_done:
                jobs, self._jobs = self._jobs, []
                await anyio.to_thread.run_sync(self._commit, jobs, limiter=self._one_thread)
        if job.failure is not None:
            message = f"the journal {self.path} cannot be written: {job.failure}"
            raise ConfigurationError(message)
        return job.value

    # Rows

    async def take(self, workflow: str, key: str, digest: str) -> Entry | None:
        """Give what is known of an item, and note that this run deals with it."""

        def work(db: sqlite3.Connection) -> Entry | None:
            place = (workflow, key)
            columns = "digest, state, run, task_id, began, matched, outcome"
            row = db.execute(f"SELECT {columns} FROM items WHERE workflow = ? AND key = ?", place).fetchone()  # noqa: S608
            if row is None:
                values = (*place, digest, "new", self.run)
                db.execute("INSERT INTO items (workflow, key, digest, state, run) VALUES (?, ?, ?, ?, ?)", values)
                return None
            if row[0] == digest:
                db.execute("UPDATE items SET run = ? WHERE workflow = ? AND key = ?", (self.run, *place))
            digest_, state, run, task_id, began, matched, outcome = row
            return Entry(
                digest=digest_,
                state=state,
                run=run,
                task_id=task_id,
                began=began,
                matched=bool(matched),
                outcome=outcome,
            )

        entry: Entry | None = await self.do(work)
        return entry

    async def write(self, workflow: str, key: str, **columns: str | float | None) -> None:
        """Write down how far an item is."""
        names = ", ".join(f"{name} = ?" for name in columns)
        values = (*columns.values(), workflow, key)
        await self.do(lambda db: db.execute(f"UPDATE items SET {names} WHERE workflow = ? AND key = ?", values))  # noqa: S608

    async def unheard(self, workflow: str) -> dict[str, float]:
        """Give when each item was sent whose submission was not answered, by key."""
        query = "SELECT key, began FROM items WHERE workflow = ? AND state IN ('submitting', 'uncertain')"
        return dict(await self.do(lambda db: db.execute(query, (workflow,)).fetchall()))

    async def task_ids(self) -> set[str]:
        """Give the tasks of all items."""
        query = "SELECT task_id FROM items WHERE task_id IS NOT NULL"
        return {task_id for (task_id,) in await self.do(lambda db: db.execute(query).fetchall())}

    # In the thread

    @property
    def _in_use(self) -> str:
        return f"the journal {self.path} is in use by another batch: wait for that to end, or give this one its own"

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            # The lock is taken by the first access, and kept until the file is closed, even by a crash.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("BEGIN EXCLUSIVE")
            mark = db.execute("PRAGMA application_id").fetchone()[0]
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if mark != MARK and tables:
                message = "it is the database of another program"
                raise sqlite3.DatabaseError(message)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA application_id = {MARK}")
            db.execute(SCHEMA)
        except BaseException:
            db.close()
            raise
        return db

    def _commit(self, jobs: list[Job]) -> None:
        """Do all in one transaction: the price of the disk is paid once."""
        db = self._db
        failure: sqlite3.Error | None = None
        try:
            if db is None:
                message = "it is closed"
                raise sqlite3.ProgrammingError(message)
            with db:
                db.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    job.value = job.work(db)
        except sqlite3.Error as error:
            failure = error
        for job in jobs:
            job.failure, job.is_done = failure, True
