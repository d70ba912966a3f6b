"""What batches and single submissions remember across runs and crashes, so that they resume: one row for each item.

`decisions.py` decides by a row whether its item is submitted, `journal_rows.py` has what the rows hold, and
`journal_database.py` how they reach the disk.
"""

import logging
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from cyberun_async._batch.decisions import other_parameters, settled
from cyberun_async._batch.file_digests import CompareFiles, FileDigests
from cyberun_async._batch.journal_database import JournalDatabase
from cyberun_async._batch.journal_entry import JournalEntry, entry_of
from cyberun_async._batch.journal_file import find, ids_of_tasks, next_run, page_of_rows, put, unconfirmed
from cyberun_async._batch.journal_rows import Row
from cyberun_async._batch.outcome import Parameters
from cyberun_async._concurrency import run_shielded
from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.paths import segment
from cyberun_async._validators import check_kind

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("cyberun_async.batch")


class Journal:
    """A file that remembers what was submitted, so that nothing is submitted twice, after a crash either.

    Each item has a row: its key, a digest of its parameters, how far it is, its task's id, and what became of it. The row
    is on disk before the item is submitted, and again once its task's id is known. An item whose submission was interrupted
    in between is uncertain, and is reported as such. The file holds no key, and no presigned URL of a file.

    ```python
    async with client.map("text-to-image", items, journal=Journal("sunsets.journal")) as batch:
        async for outcome in batch:
            ...
    ```

    The file is open while a batch or `submit_once()` uses it, and for as long as an `async with` of its own lasts. One
    process has it open at a time; there, one `Journal` serves one event loop, one batch, and any number of `submit_once()`.

    `async for entry in journal` gives a `JournalEntry` for each item, by workflow and key.

    Args:
        path: The file, an SQLite database; made if it is not there.
        compare_files: By what a file parameter is known again, beside its resolved path: its `"content"` (a digest of its
            bytes), or its `"size_and_time"`, for which no bytes are read, and a file that was touched is another one.

    Raises:
        ConfigurationError: `compare_files` is neither.

    """

    def __init__(self, path: "str | os.PathLike[str]", *, compare_files: CompareFiles = "content") -> None:
        check_kind(path, (str, os.PathLike), "the path of a journal", "a path")
        self.path: Path = Path(path)
        self._files = FileDigests(compare_files)
        self._claims: dict[tuple[str, str], tuple[anyio.Lock, int]] = {}
        # While the file is open nobody else writes to it, so these are the latest; afterwards that is not known.
        self._unsaved: dict[tuple[str, str], Row] = {}
        self._database = JournalDatabase(self.path, on_open=self._unsaved.clear)

    def __repr__(self) -> str:
        """Show where it is."""
        return f"{type(self).__name__}({str(self.path)!r})"

    async def __aenter__(self) -> "Self":
        """Open the file.

        Raises:
            ConfigurationError: It cannot be opened, or is something else.
            JournalInUse: Another process, or another `Journal` of this one, has it.

        """
        await self._database.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file, unless a batch or a submission still uses it."""
        await self._leave()

    def __aiter__(self) -> AsyncIterator[JournalEntry]:
        """Give each item."""
        return _Entries(self)

    async def settle(self, workflow: str, key: str, task_id: str | None) -> None:
        """Say which task an uncertain item is, or that it has none.

        Args:
            workflow: As it was named when the item was submitted.
            key: The item's key.
            task_id: Its task, which the next run waits for. `None` says that there is none, and lets the next run submit
                the item, which costs a second task where there is one after all.

        Raises:
            ConfigurationError: The journal has no such item that is uncertain, or cannot be written.
            JournalInUse: Another process, or another `Journal` of this one, has it.
            InvalidParameters: `task_id` cannot be a task's, as an empty text cannot.

        """
        if task_id is not None:
            segment(task_id, "task_id")
        async with self, self._claim(workflow, key):
            row = await self._find(workflow, key)
            if row is None or not entry_of(row).is_uncertain:
                raise ConfigurationError(f"the journal {self.path} has no uncertain item {key!r} of {workflow!r}")
            await self._put(settled(row, task_id))

    @asynccontextmanager
    async def _open_for_submission(self, lock_timeout: float) -> AsyncGenerator[None, None]:
        """Have the file open for a moment, which another process waits for as well."""
        await self._database.acquire(lock_timeout=lock_timeout)
        try:
            yield
        finally:
            await self._leave()

    async def _leave(self, *, for_batch: bool = False) -> None:
        """Write down what a full disk has refused, if it takes it by now, and close the file unless it is still used."""
        try:
            await run_shielded(self._save_again, within=math.inf)
        finally:
            await self._database.release(for_batch=for_batch)

    # Rows

    @asynccontextmanager
    async def _claim(self, workflow: str, key: str) -> AsyncGenerator[None, None]:
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

    async def _find(self, workflow: str, key: str) -> Row | None:
        return self._unsaved.get((workflow, key)) or await self._database.do(lambda db: find(db, workflow, key))

    async def _check_parameters(self, row: Row | None, digest: str, parameters: Parameters) -> None:
        """Check that an item has the parameters, and the files, that the journal has under its key.

        Raises:
            InvalidParameters: They are others.

        """
        if row is not None and row.digest != digest and not await self._files.is_same(row.digest, parameters):
            raise other_parameters(row.key)

    async def _put(self, row: Row) -> None:
        """Write down how far an item is.

        Raises:
            ConfigurationError: The disk refused.

        """
        place = (row.workflow, row.key)
        unsaved = self._unsaved.get(place)
        await self._database.do(lambda db: put(db, row))
        if self._unsaved.get(place) is unsaved:
            self._unsaved.pop(place, None)

    async def _note(self, row: Row) -> None:
        """Write down what has happened to an item; if that fails the item goes on, and it is tried again at the end."""
        self._unsaved[row.workflow, row.key] = row
        try:
            await self._put(row)
        except ConfigurationError as failure:
            log.warning("item %s: %s", row.key, failure)

    async def _save_again(self) -> None:
        for place in list(self._unsaved):
            # An item may have gone on while the one before it was written.
            if (row := self._unsaved.get(place)) is not None:
                await self._note(row)

    async def _next_run(self) -> int:
        return await self._database.do(next_run)

    async def _page(self, after: tuple[str, str]) -> list[Row]:
        return await self._database.do(lambda db: page_of_rows(db, after))

    async def _unconfirmed(self, workflow: str) -> tuple[dict[str, float], list[float]]:
        """Give when each item was sent whose submission got no usable response, by key, and when others once were."""
        return await self._database.do(lambda db: unconfirmed(db, workflow))

    async def _task_ids(self) -> set[str]:
        """Give the tasks of all items."""
        return await self._database.do(ids_of_tasks)


class _Entries(AsyncIterator[JournalEntry]):
    """The items of a journal, page by page; between two pages the file is not held, since nobody knows how long that is."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._after = ("", "")
        self._rows: list[Row] = []

    async def __anext__(self) -> JournalEntry:
        """Give the next item.

        Raises:
            ConfigurationError: There is no journal, or it cannot be read.
            JournalInUse: Another process, or another `Journal` of this one, has it.

        """
        if not self._rows:
            if not await anyio.Path(self._journal._database.place).exists():
                raise ConfigurationError(f"the journal {self._journal.path} is not there")
            async with self._journal:
                self._rows = (await self._journal._page(self._after))[::-1]
        if not self._rows:
            raise StopAsyncIteration
        row = self._rows.pop()
        self._after = (row.workflow, row.key)
        return entry_of(row)
