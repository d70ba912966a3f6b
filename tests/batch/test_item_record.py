"""The record of an item whose submission does not come to its end."""

from __future__ import annotations

from typing import Any

import pytest
from support.tables import table

from cyberun_async import ConfigurationError
from cyberun_async._batch.item_record import ItemRecord
from cyberun_async._batch.journal_rows import Row
from cyberun_async._concurrency import Flight


class Left(BaseException):
    """Stands for the cancellation of either loop."""


@table(("is_begun", "state"), [(False, "new"), (True, "submitting")], ids=["in time", "too late"])
async def test_a_caller_that_leaves(is_begun: bool, state: str) -> None:
    """Before the request may have left nothing has changed; after that nobody knows, and the next run reads as much."""
    record, flight = ItemRecord(Row(workflow="w", key="k", digest="d"), None), Flight()

    async def send() -> str:
        if is_begun:
            flight.begin()
        raise Left

    with pytest.raises(Left):
        await record.submit(send, flight)

    assert record.row.state == state


async def test_a_first_write_that_fails() -> None:
    """Nothing is sent, and the item stays new."""

    class Full:
        async def put(self, row: Row) -> None:
            raise ConfigurationError("the disk is full")

    async def send() -> str:
        pytest.fail("it was sent")

    row = Row(workflow="w", key="k", digest="d")
    journal: Any = Full()
    record = ItemRecord(row, journal)
    with pytest.raises(ConfigurationError, match="the disk is full"):
        await record.submit(send, Flight())
    assert record.row is row
