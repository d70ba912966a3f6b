"""The record of one item in flight: in memory, and in the journal if there is one."""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from cyberun_async._batch.decisions import may_exist, submitting
from cyberun_async._batch.journal_rows import Row
from cyberun_async._batch.journal_store import JournalStore
from cyberun_async._concurrency import Flight, run_shielded

MAX_RESPONSE = 4_000
"""Characters that are kept of a response that could not be understood."""


class ItemRecord:
    """The row of one item; every write puts down all of it.

    Attributes:
        row: What is known.

    """

    __slots__ = ("_journal", "row")

    def __init__(self, row: Row, journal: JournalStore | None) -> None:
        self.row: Row = row
        self._journal = journal

    def __repr__(self) -> str:
        """Show the key, and how far the item is."""
        return f"<{type(self).__name__} of {self.row.key!r}, {self.row.state}>"

    def start_from(self, row: Row) -> None:
        """Take over what the journal has of the item."""
        self.row = row

    async def note(self, **changes: Any) -> None:
        """Update the record; what cannot be written is written again at the end."""
        self.row = attrs.evolve(self.row, **changes)
        if self._journal is not None:
            await self._journal.note(self.row)

    async def submit(self, send: Callable[[], Awaitable[str]], flight: Flight) -> str:
        """Submit the item between two writes, so that a later run can tell what may have happened, and give its task's id.

        Args:
            send: Submits it.
            flight: Knows whether the submission may have left.

        Raises:
            ConfigurationError: The first write failed, so nothing was sent.
            Exception: Submitting failed; the row says whether a task may exist. If none can, it is what it was before: an
                item that was uncertain still is.

        """
        before = self.row
        sending = submitting(before, time.time())
        try:
            if self._journal is not None:
                await self._journal.put(sending)
            self.row = sending
            task_id = await send()
        except Exception as failure:
            if self.row is before:
                raise
            if may_exist(failure):
                await self.note(state="uncertain", response=_response_of(failure))
            else:
                self.row = before
                await self.note()
            raise
        except BaseException:
            if not flight.is_begun:
                # The caller has left in time: nothing has changed, and the item is not uncertain.
                self.row = before
                await run_shielded(self.note, within=math.inf)
            raise
        await self.note(state="submitted", task_id=task_id)
        return task_id


def _response_of(failure: Exception) -> str:
    """Give what may help to find the task, in a form that any disk takes."""
    text = str(getattr(failure, "body", "") or failure)
    return text[:MAX_RESPONSE].encode(errors="backslashreplace").decode()
