"""Nothing is submitted twice because something was not written down, or could not be."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from batch.conftest import Connect, submitted

from cyberun_async import (
    AsyncClient,
    BatchCounts,
    ConfigurationError,
    DecodeError,
    InvalidParameters,
    Journal,
    Outcome,
    PermissionDeniedError,
)
from cyberun_async._batch import journal_store as journal_module
from cyberun_async.local import LocalCyberun

HALF = "\ud83d"
"""Half of a surrogate pair, as a cut emoji gives."""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def rows(journal: Journal) -> dict[str, tuple[str, str | None]]:
    """Read each item's state and task, as another program would."""
    db = sqlite3.connect(journal.path)
    try:
        return {key: (state, task_id) for key, state, task_id in db.execute("SELECT key, state, task_id FROM items")}
    finally:
        db.close()


def fail_when(monkeypatch: pytest.MonkeyPatch, refused: Any) -> None:
    """Have the disk refuse the rows of which that is true."""
    put = journal_module.put

    def refusing(db: sqlite3.Connection, row: Any) -> None:
        if refused(row):
            raise sqlite3.OperationalError("database or disk is full")
        put(db, row)

    monkeypatch.setattr(journal_module, "put", refusing)


ITEMS: list[Any] = [(f"item {n}", {"n": n}) for n in range(12)]


@pytest.mark.parametrize("lost", [("submitted",), ("submitted", "finished"), ("finished",)], ids="-".join)
async def test_a_disk_that_is_full_for_a_second(
    connect: Connect, server: LocalCyberun, journal: Journal, lost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever writes fail after the submissions, the next run submits none again, and knows all that were written later."""
    async with connect() as client:
        with monkeypatch.context() as patch:
            fail_when(patch, lambda row: row.state in lost)
            first = await client.map("work", ITEMS, journal=journal).gather()
        second = await client.map("work", ITEMS, journal=journal).gather()
    assert all(outcome.succeeded for outcome in first)
    assert len(submitted(server)) == len(ITEMS)
    if len(lost) == 2:
        assert all(outcome.is_uncertain or outcome.is_matched for outcome in second)
    else:
        assert [outcome.task_id for outcome in second] == [outcome.task_id for outcome in first]
        assert all(outcome.succeeded for outcome in second)


async def test_what_could_not_be_written_is_written_at_the_end(
    connect: Connect, server: LocalCyberun, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has room again when the batch ends has everything."""
    async with connect() as client:
        with monkeypatch.context() as patch:
            fail_when(patch, lambda row: row.state in {"submitted", "finished"})
            async with client.map("work", ITEMS, journal=journal) as batch:
                first = await batch.gather()
                patch.undo()
        assert {key: task_id for key, (_, task_id) in rows(journal).items()} == {
            outcome.key: outcome.task_id for outcome in first
        }
        assert all(outcome.is_from_journal for outcome in await client.map("work", ITEMS, journal=journal).gather())


async def test_a_key_that_cannot_be_stored(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """It is the error of its own item, before anything is sent, and the others go on."""
    items = [*ITEMS[:7], (HALF, {"n": 7}), ("fine", {"end": HALF})]
    async with connect() as client:
        for _ in range(3):
            outcomes = await client.map("work", items, journal=journal).gather()
            errors = {outcome.key: type(outcome.error) for outcome in outcomes if not outcome.succeeded}
            assert errors == {HALF: InvalidParameters, "fine": InvalidParameters}
            assert not any(outcome.is_uncertain for outcome in outcomes)
    assert len(submitted(server)) == 7
    assert rows(journal).keys() == {key for key, _ in ITEMS[:7]}


class Answering(httpx.AsyncBaseTransport):
    """A service that gives each task an id as it is told, and has finished it at once."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self.submissions = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/run"):
            await request.aread()
            self.submissions += 1
            return httpx.Response(200, content=b'{"task_id": "%s"}' % self.ids.pop(0).encode())
        if path.endswith("/r/tasks"):
            return httpx.Response(200, json={"task_list": [], "page_meta": {}})
        if "/r/workflows/" in path:
            return httpx.Response(200, json={"id": "w-1", "parameters": []})
        task_id = path.removesuffix("/result").rpartition("/")[2]
        return httpx.Response(200, json={"id": task_id, "task_status": "completed", "task_output": {}})


async def test_a_task_id_that_cannot_be_stored(journal: Journal) -> None:
    """Its item is uncertain, with the response kept; the others go on, and nothing is submitted again."""
    service = Answering(["t-0", r"\ud83d", "t-2"])
    items = [(f"item {n}", {}) for n in range(3)]
    async with httpx.AsyncClient(transport=service) as http_client:
        async with AsyncClient("sk-0123456789abcdef", http_client=http_client) as client:
            runs = [await client.map("work", items, journal=journal, max_in_flight=1).gather() for _ in range(3)]
    assert service.submissions == 3
    for outcomes in runs:
        assert [outcome.is_uncertain for outcome in outcomes] == [False, True, False]
        assert [outcome.task_id for outcome in outcomes] == ["t-0", None, "t-2"]
    assert isinstance(runs[0][1].error, DecodeError)
    assert "ud83d" in runs[0][1].error.body
    db = sqlite3.connect(journal.path)
    (kept,) = db.execute("SELECT response FROM items WHERE state = 'uncertain'").fetchone()
    db.close()
    assert "ud83d" in kept


@pytest.mark.parametrize("state", ["finished", "submitted", "archived", "submitting"])
async def test_a_row_without_an_id(connect: Connect, server: LocalCyberun, journal: Journal, state: str) -> None:
    """What says neither which task it is nor what became of it is uncertain, in whatever state it is."""

    async def outcome() -> Outcome:
        (one,) = await client.map("work", [("one", {})], journal=journal).gather()
        return one

    async with connect() as client:
        first = await outcome()
        db = sqlite3.connect(journal.path)
        with db:
            db.execute("UPDATE items SET state = ?, task_id = NULL, outcome = NULL, began = 0", (state,))
        db.close()
        for _ in range(2):
            assert (await outcome()).is_uncertain
        with pytest.raises(ConfigurationError, match="no uncertain item 'other'"):
            await journal.settle("work", "other", None)
        # What is missing says nothing, and is no permission to submit.
        with pytest.raises(InvalidParameters, match="task_id must not be empty"):
            await journal.settle("work", "one", "")
        assert first.task_id is not None
        await journal.settle("work", "one", first.task_id)
        assert (await outcome()).unwrap() == first.unwrap()
        with pytest.raises(ConfigurationError, match="no uncertain item 'one'"):
            await journal.settle("work", "one", None)
    assert len(submitted(server)) == 1


async def test_an_uncertain_item_whose_second_submission_is_refused(
    connect: Connect, server: LocalCyberun, journal: Journal
) -> None:
    """It is as uncertain as it was: a refusal says nothing about the first submission."""
    server.faults.status(500, on="workflows.run")
    async with connect() as client:
        await client.map("work", [{}], journal=journal).gather()
        server.faults.status(403, on="workflows.run")
        batch = client.map("work", [{}], journal=journal, resubmit=["uncertain"])
        (refused,) = await batch.gather()
        assert refused.is_uncertain
        assert isinstance(refused.error, PermissionDeniedError)
        assert batch.counts == BatchCounts(uncertain=1)
        (again,) = await client.map("work", [{}], journal=journal).gather()
        assert again.is_uncertain
    assert not submitted(server)


async def test_the_lost_task_of_an_item_that_was_submitted_again(
    connect: Connect, server: LocalCyberun, journal: Journal
) -> None:
    """It is nobody else's: an item that has no task is not given that one."""
    async with connect() as client:
        server.faults.lose_reply(on="workflows.run")
        await client.map("work", [("first", {"n": 1})], journal=journal).gather()
        (again,) = await client.map("work", [("first", {"n": 1})], journal=journal, resubmit=["uncertain"]).gather()
        assert again.succeeded
        server.faults.clear()
        server.faults.status(500, on="workflows.run")
        await client.map("work", [("second", {"n": 2})], journal=journal).gather()
        (second,) = await client.map("work", [("second", {"n": 2})], journal=journal).gather()
    assert (second.is_uncertain, second.is_matched) == (True, False)
    assert [task.id for task in second.candidates] == [each for each in submitted(server) if each != again.task_id]
