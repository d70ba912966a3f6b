"""What batches and single submissions remember across runs and crashes, so that they resume: one row for each item.

`decisions.py` decides by a row whether its item is submitted, `journal_rows.py` has what the rows hold, and
`journal_store.py` and `journal_database.py` how they are claimed, and reach the disk.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from cyberun_async._batch.decisions import settled
from cyberun_async._batch.file_digests import CompareFiles
from cyberun_async._batch.journal_entry import JournalEntry, entry_of
from cyberun_async._batch.journal_store import JournalStore, Rows
from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.paths import segment
from cyberun_async._validators import check_kind

if TYPE_CHECKING:
    from typing_extensions import Self


class Journal:
    """A file that records what was submitted, so that no item is submitted twice, after a crash either.

    It has a row for each item: its key, a digest of its parameters, its state, its task's id, and its outcome. The row is
    on the disk before the item is submitted, and again once its task's id is known. An item whose submission was
    interrupted in between is uncertain, and is reported as such. The file holds no API key, and no presigned URL.

    ```python
    async with client.map("text-to-image", items, journal=Journal("sunsets.journal")) as batch:
        async for outcome in batch:
            ...
    ```

    The file is open while a batch or `submit_once()` uses it, or for as long as its own `async with` lasts. One process
    has it open at a time; there, one `Journal` serves one event loop, one batch, and any number of `submit_once()`.

    `async for entry in journal` yields a `JournalEntry` for each item, ordered by workflow and key.

    Args:
        path: The file, an SQLite database; it is created if it is missing.
        compare_files: How an item is recognized by its file parameters, beside their resolved paths: by their
            `"content"` (a digest of the bytes, the default), or by `"size_and_time"`, for which no bytes are read, and a
            file that was touched is another one.

    Attributes:
        path: The file, as it was given.

    Raises:
        ConfigurationError: `compare_files` is neither.
        InvalidParameters: `path` is no path.

    """

    def __init__(self, path: "str | os.PathLike[str]", *, compare_files: CompareFiles = "content") -> None:
        check_kind(path, (str, os.PathLike), "the path of a journal", "a path")
        self.path: Path = Path(path)
        self._store = JournalStore(self.path, compare_files)

    def __repr__(self) -> str:
        """Show where it is."""
        return f"{type(self).__name__}({str(self.path)!r})"

    async def __aenter__(self) -> "Self":
        """Open the file.

        Raises:
            ConfigurationError: It cannot be opened, or is something else.
            JournalInUse: Another process, or another `Journal` of this one, has it.

        """
        await self._store.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file, unless a batch or a submission still uses it."""
        await self._store.leave()

    def __aiter__(self) -> AsyncIterator[JournalEntry]:
        """Give each item."""
        return _Entries(self._store)

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
        async with self, self._store.claim(workflow, key):
            row = await self._store.find(workflow, key)
            if row is None or not entry_of(row).is_uncertain:
                raise ConfigurationError(f"the journal {self.path} has no uncertain item {key!r} of {workflow!r}")
            await self._store.put(settled(row, task_id))


class _Entries(AsyncIterator[JournalEntry]):
    """The items of a journal, as a user sees them."""

    def __init__(self, store: JournalStore) -> None:
        self._rows = Rows(store)

    async def __anext__(self) -> JournalEntry:
        """Give the next item; raises what reading the journal raises."""
        return entry_of(await self._rows.__anext__())


def store_of(journal: Journal) -> JournalStore:
    """Give the rows of a journal to those who submit by it; a user sees none of their methods."""
    return journal._store  # noqa: SLF001 - a user sees none of it, and this is the one door
