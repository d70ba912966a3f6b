"""Jobs of a journal reach the disk, each for itself, whoever is cancelled, and whatever the disk does."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from support.cancelling import CancelledAt
from support.tables import table

from cyberun_async import ConfigurationError, JournalInUse
from cyberun_async._batch.journal_database import JournalDatabase
from cyberun_async._batch.journal_file import Job, carry_out, put
from cyberun_async._batch.journal_rows import Row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def row(key: str, **fields: Any) -> Row:
    return Row(workflow="w", key=key, digest="d", **fields)


def writing(key: str, **fields: Any) -> Callable[[sqlite3.Connection], None]:
    return lambda db: put(db, row(key, **fields))


def keys_on_disk(path: Path) -> list[str]:
    """Read the keys as another program would, once the file is free."""
    db = sqlite3.connect(path)
    try:
        return [key for (key,) in db.execute("SELECT key FROM items ORDER BY key")]
    finally:
        db.close()


async def test_each_job_fails_for_itself(path: Path) -> None:
    """Of jobs that are due together the bad ones fail with their own errors, and the others are on the disk."""
    database = JournalDatabase(path)
    ends: dict[str, str] = {}

    def crash(_: sqlite3.Connection) -> None:
        message = "a bug"
        raise ZeroDivisionError(message)

    async def do(name: str, work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            await database.do(work)
        except ConfigurationError as error:
            ends[name] = str(error).partition("cannot be written: ")[2][:30]
        else:
            ends[name] = "done"

    await database.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(do, "first", writing("a"))
        group.start_soon(do, "surrogate", writing("\ud83d"))
        group.start_soon(do, "crash", crash)
        group.start_soon(do, "constraint", lambda db: db.execute("INSERT INTO items (key) VALUES ('x')"))
        group.start_soon(do, "last", writing("b"))
    await database.release()
    assert ends.pop("surrogate").startswith("'utf-8' codec can't encode")
    assert ends.pop("constraint").startswith("NOT NULL constraint failed")
    assert ends == {"first": "done", "crash": "a bug", "last": "done"}
    assert keys_on_disk(path) == ["a", "b"]


async def test_a_disk_that_refuses_some(path: Path) -> None:
    """Where the disk takes the small write and not the large one of a group, the small one is there."""
    database = JournalDatabase(path)
    await database.acquire()
    limit = await database.do(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await database.do(lambda db: db.execute(f"PRAGMA max_page_count = {limit + 1}").fetchone())
    failures: list[str] = []

    async def do(work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            await database.do(work)
        except ConfigurationError as error:
            failures.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(do, writing("first"))
        group.start_soon(do, writing("small"))
        group.start_soon(do, writing("large", outcome="x" * 100_000))
        group.start_soon(do, writing("tiny"))
    await database.release()
    assert failures == [f"the journal {path} cannot be written: database or disk is full"]
    assert keys_on_disk(path) == ["first", "small", "tiny"]


def broken(failing: set[str]) -> Any:
    """Give a connection that refuses some statements, as a disk does."""

    class Broken(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql.split(maxsplit=1)[0] in failing:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *args)

    return Broken


@table("failing", ["BEGIN", "COMMIT", "ROLLBACK", "COMMIT ROLLBACK"])
def test_every_job_is_marked(failing: str) -> None:
    """Whichever step the disk refuses, each job knows its end, and none that failed seems to have a value."""
    db = sqlite3.connect(":memory:", isolation_level=None, factory=broken(set(failing.split())))
    jobs = [Job(lambda _: 1), Job(lambda _: 1 / 0), Job(lambda _: 3)]
    carry_out(db, jobs)
    db.close()
    assert all(job.is_done for job in jobs)
    assert isinstance(jobs[1].failure, Exception)
    for job in (jobs[0], jobs[2]):
        assert (job.value is None) == (job.failure is not None)


def test_closed() -> None:
    """Without a file each job fails."""
    job = Job(lambda _: 1)
    carry_out(None, [job])
    assert str(job.failure) == "it is closed"


async def test_one_event_loop_at_a_time(path: Path) -> None:
    """While one event loop has it, another is refused; afterwards it may have it."""
    database, caught = JournalDatabase(path), list[Exception]()

    async def elsewhere() -> None:
        try:
            await database.acquire()
        except JournalInUse as error:
            caught.append(error)
        else:
            await database.release()

    async def run_elsewhere() -> None:
        thread = threading.Thread(target=anyio.run, args=(elsewhere,))
        thread.start()
        await anyio.to_thread.run_sync(thread.join)

    await database.acquire()
    await run_elsewhere()
    await database.do(writing("a"))
    await database.release()
    await run_elsewhere()
    assert len(caught) == 1
    assert keys_on_disk(path) == ["a"]


# Cancelled callers


TURNS = 14
"""More than either loop waits for while a job is done, or a file is opened."""

FOLLOWERS = {f"follower {n}" for n in range(3)}


def ways_to_cancel(loop: str) -> list[str]:
    """Name them: a scope of anyio, which both loops have, and asyncio's own, which strikes once, and through shields."""
    return ["scope", "task"] if loop == "asyncio" else ["scope"]


async def cancelled_at(turn: int, work: Any, others: list[Any], by: str) -> None:
    """Run tasks side by side, the first of which is cancelled where it waits for the nth time."""
    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        tasks: list[asyncio.Task[None]] = []

        async def scoped() -> None:
            with scope:
                await CancelledAt(work(), turn, scope.cancel).run()

        if by == "task":
            tasks.append(asyncio.ensure_future(CancelledAt(work(), turn, lambda: tasks[0].cancel()).run()))  # noqa: PLW0108 - not there yet
        else:
            group.start_soon(scoped)
        await checkpoint()
        for other in others:
            group.start_soon(other)
        if tasks:
            await asyncio.wait(tasks)
            assert tasks[0].cancelled() or tasks[0].exception() is None


async def test_a_cancelled_leader_loses_no_job(path: Path, anyio_backend_name: str) -> None:
    """Wherever the one who writes for all is cancelled, the others' jobs are done, and what is said to be done is there."""
    for by, turn in itertools.product(ways_to_cancel(anyio_backend_name), range(TURNS)):
        database = JournalDatabase(path.with_name(f"{by} {turn}"))
        await database.acquire()
        done: set[str] = set()

        async def do(key: str, database: JournalDatabase = database, done: set[str] = done) -> None:
            await database.do(writing(key))
            done.add(key)

        with anyio.fail_after(20):
            await cancelled_at(turn, partial(do, "leader"), [partial(do, key) for key in FOLLOWERS], by)
        await database.release()
        assert done >= FOLLOWERS, (by, turn)
        assert set(keys_on_disk(database.path)) >= done, (by, turn)


async def test_what_a_cancelled_caller_queued_is_not_done(path: Path) -> None:
    """A job whose caller has left before its turn leaves no trace."""
    database = JournalDatabase(path)
    await database.acquire()
    async with database._turn, anyio.create_task_group() as group:
        group.start_soon(database.do, writing("late"))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    await database.do(writing("next"))
    await database.release()
    assert keys_on_disk(path) == ["next"]


async def test_cancelled_while_it_opens(path: Path, anyio_backend_name: str) -> None:
    """Wherever opening is cancelled, the file is free afterwards, or open and then closed."""
    for by, turn in itertools.product(ways_to_cancel(anyio_backend_name), range(TURNS)):
        database = JournalDatabase(path)
        opened: list[bool] = []

        async def work(database: JournalDatabase = database, opened: list[bool] = opened) -> None:
            await database.acquire()
            opened.append(True)

        await cancelled_at(turn, work, [], by)
        if opened:
            await database.release()
        other = JournalDatabase(path)
        await other.acquire()
        await other.release()


async def test_open_until_the_last_user_has_left(path: Path) -> None:
    """What several use stays open until the last of them has left, and is another's then."""
    database, other = JournalDatabase(path), JournalDatabase(path)
    await database.acquire()
    await database.acquire()

    await database.release()
    await database.do(writing("a"))
    await database.release()

    await other.acquire()
    await other.release()
    assert keys_on_disk(path) == ["a"]
