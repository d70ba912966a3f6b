"""The record of an item whose caller leaves in the middle of its submission."""

from __future__ import annotations

import pytest
from support.tables import table

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
