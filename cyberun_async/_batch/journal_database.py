"""The open file of a journal: shared by its users in one event loop, and written to in groups (group commit).

**Who has it.** SQLite's own exclusive lock keeps other processes out for as long as the file is open. Inside of one
process, `acquire` and `release` count the users, and the last one closes the file. All of them belong to one event loop,
and at most one is a batch: a second one could submit the items of the first. `lock_timeout` waits for another process.

**Group commit.** A write is on the disk (`fsync`) before the submission that depends on it is sent, and an fsync takes
milliseconds. So a caller appends its job to a queue and asks for the lock (`_turn`); the caller that gets the lock carries
out everything that is queued by then, in one transaction, in a thread, and the others find their jobs done. A thousand items
in flight thus share a few transactions. A job that fails is carried out by itself (`carry_out`), and fails for itself.

**Cancellation.** Three rules keep it from losing or inventing anything. A job leaves the queue in the thread that does
it, so no caller can be cancelled between the two. What a thread does is waited for to its end, since otherwise it would
not be known how it ended. A job whose caller was cancelled before is dropped: what was given up is not written behind its back.
"""

import math
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from cyberun_async._batch.journal_file import Job, carry_out, connect
from cyberun_async._concurrency import run_shielded
from cyberun_async._errors import ConfigurationError, JournalInUse

T = TypeVar("T")

LOCK_POLL = 0.05
"""Seconds between two attempts to open a file that another process has."""


class JournalDatabase:
    """A journal's file, opened for its first user and closed after its last one.

    Args:
        path: The file.
        on_open: Called when it was opened, before anybody can use it.

    Attributes:
        path: The file, as it was named.
        place: Where that is, once it was opened.

    """

    def __init__(self, path: Path, on_open: Callable[[], object] = lambda: None) -> None:
        self.path: Path = path
        self.place: Path = path
        self._on_open = on_open
        self._db: sqlite3.Connection | None = None
        self._users = 0
        self._loop: object = None
        self._has_batch = False
        self._jobs: deque[Job] = deque()
        self._opening: anyio.Lock
        self._turn: anyio.Lock
        self._one_thread: anyio.CapacityLimiter

    def __repr__(self) -> str:
        """Show where it is, who uses it, and what is queued."""
        state = "closed" if self._db is None else "open"
        return f"<{type(self).__name__} {self.place}, {state}, {self._users} users, {len(self._jobs)} jobs queued>"

    async def acquire(self, *, for_batch: bool = False, lock_timeout: float = 0.0) -> None:
        """Open the file unless it is open.

        Args:
            for_batch: Whether this is the one batch that it serves.
            lock_timeout: Seconds to wait for another process.

        Raises:
            ConfigurationError: It cannot be opened, or is something else.
            JournalInUse: Another process, or another event loop, has it.

        """
        loop = anyio.lowlevel.current_token().native_token
        is_elsewhere = self._loop is not None and loop is not self._loop
        if is_elsewhere or (for_batch and self._has_batch):
            raise JournalInUse(str(self.path))
        if self._loop is None:
            self._settle_in(loop)
        self._has_batch = self._has_batch or for_batch
        self._users += 1
        try:
            async with self._opening:
                if self._db is None:
                    await self._open(anyio.current_time() + lock_timeout)
        except BaseException:
            await self.release(for_batch=for_batch)
            raise

    def _settle_in(self, loop: object) -> None:
        """Make what belongs to one event loop; after the last user another one may have the journal."""
        self._loop = loop
        self._opening, self._turn = anyio.Lock(), anyio.Lock()
        # A connection is one thread's at a time.
        self._one_thread = anyio.CapacityLimiter(1)

    async def _open(self, give_up: float) -> None:
        while True:
            try:
                await self._in_thread(self._connect)
                self._on_open()
                return
            except JournalInUse:
                if anyio.current_time() >= give_up:
                    raise
            await anyio.sleep(LOCK_POLL)

    async def release(self, *, for_batch: bool = False) -> None:
        """Close the file after its last user."""
        if for_batch:
            self._has_batch = False
        self._users -= 1
        await run_shielded(self._close_if_unused, within=math.inf)

    async def _close_if_unused(self) -> None:
        async with self._opening:
            if not self._users:
                await self._in_thread(self._close)
                self._loop = None

    def _connect(self) -> None:
        # The same file from now on, wherever the program goes: in another folder all items would be new.
        with suppress(OSError):  # The folder is gone, so that opening fails, too.
            self.place = self.place.absolute()
        self._db = connect(self.place)

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have a piece of work done, and give its value once it is on the disk.

        Raises:
            ConfigurationError: It failed; nothing of it is on the disk.

        """
        job = Job(work)
        self._jobs.append(job)
        try:
            while not job.is_done:
                async with self._turn:
                    if not job.is_done:
                        await self._in_thread(self._commit)
        finally:
            # What a cancelled caller has queued is not to be done behind its back.
            job.is_dropped = True
        if job.failure is not None:
            raise ConfigurationError(f"the journal {self.path} cannot be written: {job.failure}") from None
        return cast("T", job.value)

    def _commit(self) -> None:
        jobs: list[Job] = []
        while self._jobs:
            job = self._jobs.popleft()
            if not job.is_dropped:
                jobs.append(job)
        carry_out(self._db, jobs)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        """Do what blocks, to its end even if the caller is cancelled: otherwise it would not be known how it ended."""
        failures: list[Exception] = []

        async def to_the_end() -> None:
            try:
                await anyio.to_thread.run_sync(work, limiter=self._one_thread)
            except Exception as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        await run_shielded(to_the_end, within=math.inf)
        if failures:
            raise failures[0]
