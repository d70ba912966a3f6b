"""A journal that stays open for long, as a web application or a notebook keeps it."""

from __future__ import annotations

from pathlib import Path

from batches.conftest import Connect, submitted

from cyberun_async import InvalidParameters, Journal
from cyberun_async.local import LocalCyberun


async def test_one_batch_after_the_other(connect: Connect, server: LocalCyberun, tmp_path: Path) -> None:
    """Each batch may have the keys of an earlier one, whose outcomes it gives back; within a batch each key is used once."""
    items = [("a", {"n": 1}), ("b", {"n": 2})]
    async with connect() as client, Journal(tmp_path / "journal") as journal:
        first = await client.map("work", items, journal=journal).gather()
        second = await client.map("work", [*items, ("a", {"n": 1})], journal=journal).gather()
    assert [outcome.task_id for outcome in first] == [outcome.task_id for outcome in second[:2]] == submitted(server)
    assert [outcome.error for outcome in second[:2]] == [None, None]
    assert isinstance(second[2].error, InvalidParameters)
