"""The rows of a journal for those who submit by it: read, written, claimed by one caller at a time.

A key is claimed while it is decided whether its item is submitted, and until that is done. What cannot be written while
an item is in flight is kept in memory (`_unsaved`), counts as the latest, and is written again when the file is closed.
"""

import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from cyberun_async._batch.decisions import other_parameters
from cyberun_async._batch.file_digests import CompareFiles, FileDigests
from cyberun_async._batch.journal_database import JournalDatabase
from cyberun_async._batch.journal_file import find, ids_of_tasks, next_run, page_of_rows, put, unconfirmed
from cyberun_async._batch.journal_rows import Row
from cyberun_async._batch.outcome import Parameters
from cyberun_async._concurrency import run_shielded
from cyberun_async._errors import ConfigurationError

log = logging.getLogger("cyberun_async.batch")


class JournalStore:
    """The rows of one journal.

    Args:
        path: Its file.
        compare_files: By what a file parameter is recognized.

    Attributes:
        path: The file, as it was named.
        files: Gives the digests of parameters.

    """

    def __init__(self, path: Path, compare_files: CompareFiles) -> None:
        self.path: Path = path
        self.files: FileDigests = FileDigests(compare_files)
        self._claims: dict[tuple[str, str], tuple[anyio.Lock, int]] = {}
        # While the file is open no other process writes to it, so these are the latest; afterwards that is not known.
        self._unsaved: dict[tuple[str, str], Row] = {}
        self._database = JournalDatabase(path, on_open=self._unsaved.clear)

    def __repr__(self) -> str:
        """Show where it is, and what is not on the disk."""
        return f"<{type(self).__name__} of {self._database!r}, {len(self._unsaved)} rows unsaved>"

    async def open(self, *, for_batch: bool = False) -> None:
        """Open the file unless it is open.

        Args:
            for_batch: Whether this is the one batch that it serves.

        Raises:
            ConfigurationError: It cannot be opened, or is something else.
            JournalInUse: Another process, or another `Journal` of this one, has it.

        """
        await self._database.acquire(for_batch=for_batch)

    @asynccontextmanager
    async def open_for_submission(self, lock_timeout: float) -> AsyncGenerator[None, None]:
        """Have the file open for a moment, which another process waits for as well."""
        await self._database.acquire(lock_timeout=lock_timeout)
        try:
            yield
        finally:
            await self.leave()

    async def leave(self, *, for_batch: bool = False) -> None:
        """Write what a full disk did not take before, and close the file after its last user."""
        try:
            await run_shielded(self.save_again, within=math.inf)
        finally:
            await self._database.release(for_batch=for_batch)

    async def check_exists(self) -> None:
        """Check that there is a file.

        Raises:
            ConfigurationError: There is none.

        """
        if not await anyio.Path(self._database.place).exists():
            raise ConfigurationError(f"the journal {self.path} is not there")

    # Rows

    @asynccontextmanager
    async def claim(self, workflow: str, key: str) -> AsyncGenerator[None, None]:
        """Let one at a time decide about an item, and submit it."""
        place = (workflow, key)
        lock, users = self._claims.get(place) or (anyio.Lock(), 0)
        self._claims[place] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._claims.pop(place)
            if users > 1:
                self._claims[place] = (lock, users - 1)

    async def find(self, workflow: str, key: str) -> Row | None:
        """Give an item's row, if there is one."""
        return self._unsaved.get((workflow, key)) or await self._database.do(lambda db: find(db, workflow, key))

    async def check_parameters(self, row: Row | None, digest: str, parameters: Parameters) -> None:
        """Check that an item has the parameters, and the files, that the journal has under its key.

        Raises:
            InvalidParameters: They are others.

        """
        if row is not None and row.digest != digest and not await self.files.is_same(row.digest, parameters):
            raise other_parameters(row.key)

    async def put(self, row: Row) -> None:
        """Write down how far an item is.

        Raises:
            ConfigurationError: It cannot be written.

        """
        place = (row.workflow, row.key)
        unsaved = self._unsaved.get(place)
        await self._database.do(lambda db: put(db, row))
        if self._unsaved.get(place) is unsaved:
            self._unsaved.pop(place, None)

    async def note(self, row: Row) -> None:
        """Write how far an item is; if that fails the item continues, and the row is written again at the end."""
        self._unsaved[row.workflow, row.key] = row
        try:
            await self.put(row)
        except ConfigurationError as failure:
            log.warning("item %s: %s", row.key, failure)

    async def save_again(self) -> None:
        """Write what could not be written so far."""
        for place in list(self._unsaved):
            # A row may have changed while the one before it was written.
            if (row := self._unsaved.get(place)) is not None:
                await self.note(row)

    async def next_run(self) -> int:
        """Count one more run, and give its number."""
        return await self._database.do(next_run)

    async def page(self, after: tuple[str, str]) -> list[Row]:
        """Give the next rows by workflow and key."""
        return await self._database.do(lambda db: page_of_rows(db, after))

    async def unconfirmed(self, workflow: str) -> tuple[dict[str, float], list[float]]:
        """Give when each item was sent whose submission got no usable response, by key, and when others once were."""
        return await self._database.do(lambda db: unconfirmed(db, workflow))

    async def task_ids(self) -> set[str]:
        """Give the tasks of all items."""
        return await self._database.do(ids_of_tasks)


class Rows(AsyncIterator[Row]):
    """The rows of a journal, page by page; between two pages the file is closed, since the consumer may take long."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._after = ("", "")
        self._page: list[Row] = []

    async def __anext__(self) -> Row:
        """Give the next row.

        Raises:
            ConfigurationError: There is no journal, or it cannot be read.
            JournalInUse: Another process, or another `Journal` of this one, has it.

        """
        if not self._page:
            await self._store.check_exists()
            await self._store.open()
            try:
                self._page = (await self._store.page(self._after))[::-1]
            finally:
                await self._store.leave()
        if not self._page:
            raise StopAsyncIteration
        row = self._page.pop()
        self._after = (row.workflow, row.key)
        return row
