"""What a journal remembers, and what a batch makes of it."""

from __future__ import annotations

import sqlite3
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest
from batch.conftest import Connect, eventually, submitted
from support.tables import table

from cyberun_async import (
    AsyncClient,
    ConfigurationError,
    InputFile,
    InvalidParameters,
    Journal,
    Outcome,
    Task,
    TaskFailed,
    TransportError,
)
from cyberun_async._batch import unconfirmed
from cyberun_async._batch.fingerprint import fingerprint
from cyberun_async._batch.matching import candidates_for, match_unconfirmed
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import complete

NEVER = {"end": "stay"}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Give a journal that is not there yet."""
    return Journal(tmp_path / "journal")


def rows(journal: Journal) -> dict[str, str]:
    """Read the state of each item, as another program would."""
    with sqlite3.connect(journal.path) as db:
        found = dict(db.execute("SELECT key, state FROM items").fetchall())
    db.close()
    return found


def change(journal: Journal, **columns: object) -> None:
    """Make all rows say something else."""
    db = sqlite3.connect(journal.path)
    with db:
        db.execute(f"UPDATE items SET {', '.join(f'{name} = ?' for name in columns)}", tuple(columns.values()))
    db.close()


async def outcome_of(client: AsyncClient, item: Any, journal: Journal, **options: Any) -> Outcome:
    """Take one item through."""
    (outcome,) = await client.map("work", [item], journal=journal, **options).gather()
    return outcome


async def test_what_is_finished_is_given_back(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """A second run with the same items asks the server for nothing, and has the same outcomes, but for links."""
    items = [("good", {"n": 1}), ("bad", {"end": "fail"})]
    async with connect() as client:
        first = await client.map("work", items, journal=journal).gather()
        before = len(server.requests)
        second = await client.map("work", items, journal=journal).gather()
    assert len(server.requests) == before
    assert [(each.key, each.task_id, str(each.error)) for each in first] == [
        (each.key, each.task_id, str(each.error)) for each in second
    ]
    assert second[0].unwrap() == first[0].unwrap()
    assert isinstance(second[1].error, TaskFailed)
    assert rows(journal) == {"good": "finished", "bad": "finished"}


async def test_what_failed_is_submitted_again_when_asked(
    connect: Connect, server: LocalCyberun, journal: Journal
) -> None:
    """With `resubmit=["failed"]` a failed item costs another task, and a good one does not."""
    async with connect() as client:
        items = [("good", {}), ("bad", {"end": "fail"})]
        first = await client.map("work", items, journal=journal).gather()
        second = await client.map("work", items, journal=journal, resubmit=["failed"]).gather()
    assert first[0].task_id == second[0].task_id
    assert first[1].task_id != second[1].task_id
    assert len(submitted(server)) == 3


async def test_what_was_submitted_is_waited_for(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """A batch that was left goes on with the tasks that it had."""
    items = [(f"item {n}", {"seconds": 60}) for n in range(12)]
    async with connect() as client:
        async with client.map("work", items, journal=journal) as batch:
            await eventually(lambda: len(batch._runner.tasks) == 12)
        await server.clock.advance(60)
        outcomes = await client.map("work", items, journal=journal).gather()
    assert all(each.succeeded for each in outcomes)
    assert {each.task_id for each in outcomes} == set(submitted(server))


async def test_a_refused_item_is_tried_again(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """What the server has certainly not taken is submitted by the next run without being asked for."""
    server.faults.status(403, on="workflows.run")
    async with connect() as client:
        assert (await outcome_of(client, {}, journal)).task_id is None
        assert rows(journal) == {"0": "new"}
        assert (await outcome_of(client, {}, journal)).succeeded


async def test_an_unheard_submission_is_reported(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """Where nothing settles it, an item is reported as uncertain, in each run, until it is submitted again on demand."""
    server.faults.status(500, on="workflows.run")
    async with connect() as client:
        assert (await outcome_of(client, {}, journal)).is_uncertain
        again = await outcome_of(client, {}, journal)
        assert again.is_uncertain
        assert isinstance(again.error, TransportError)
        assert again.error.may_have_been_sent
        assert not submitted(server)
        assert (await outcome_of(client, {}, journal, resubmit=["uncertain"])).succeeded
    assert len(submitted(server)) == 1


async def test_the_list_of_tasks_may_settle_it(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """The only task of that workflow and that time is the item's; the next run knows it, and the one after that, too."""
    server.faults.lose_reply(on="workflows.run")
    async with connect() as client:
        first = await outcome_of(client, {"seconds": 9}, journal)
        assert first.is_uncertain
        await server.clock.advance(9)
        second = await outcome_of(client, {"seconds": 9}, journal)
        third = await outcome_of(client, {"seconds": 9}, journal)
    assert (second.is_uncertain, second.is_matched, second.succeeded) == (False, True, True)
    assert (third.is_matched, third.task_id) == (True, second.task_id)
    assert submitted(server) == [second.task_id]


@pytest.mark.parametrize("why", ["too many", "refused"])
async def test_where_the_list_is_no_help(
    connect: Connect, server: LocalCyberun, journal: Journal, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the list cannot be had, or is too long to be read, an item stays uncertain."""
    server.faults.lose_reply(on="workflows.run")
    async with connect() as client:
        await outcome_of(client, {}, journal)
        if why == "too many":
            monkeypatch.setattr(unconfirmed, "MAX_LISTED", 0)
        else:
            server.faults.status(403, on="tasks.list", times=None)
        assert (await outcome_of(client, {}, journal)).is_uncertain
    assert len(submitted(server)) == 1


@pytest.mark.parametrize("state", ["new", "submitting"])
async def test_a_crash_around_the_submission(
    connect: Connect, server: LocalCyberun, journal: Journal, state: str
) -> None:
    """Before the first note nothing was sent; after it something may have been."""
    server.faults.status(403, on="workflows.run")
    async with connect() as client:
        await outcome_of(client, {}, journal)
        change(journal, state=state, began=0.0)
        outcome = await outcome_of(client, {}, journal)
    assert outcome.is_uncertain == (state == "submitting")
    assert len(submitted(server)) == (state == "new")


async def test_other_parameters_under_the_same_key(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """A key stands for its parameters: with others it is refused, in a later run and in the same one."""
    async with connect() as client:
        await outcome_of(client, ("one", {"n": 1}), journal)
        outcome = await outcome_of(client, ("one", {"n": 2}), journal)
        twice = await client.map("work", [("two", {}), ("two", {})], journal=journal, max_in_flight=1).gather()
    assert isinstance(outcome.error, InvalidParameters)
    assert "other parameters under the key 'one'" in str(outcome.error)
    assert [str(each.error) for each in twice if each.error] == [
        "the key 'two' is used by two items of this batch: give each its own"
    ]
    assert len(submitted(server)) == 2


async def test_parameters_without_a_digest(connect: Connect, journal: Journal) -> None:
    """What cannot be known again cannot be in a journal."""
    async with connect() as client:
        outcome = await outcome_of(client, {"n": object()}, journal)
    assert isinstance(outcome.error, InvalidParameters)
    assert "to be recognised again" in str(outcome.error)


# The file


async def test_one_batch_at_a_time(connect: Connect, journal: Journal) -> None:
    """A journal in use is refused, clearly: by the same object and another one."""
    async with connect() as client, client.map("work", [NEVER], journal=journal):
        for other in (journal, Journal(journal.path)):
            with pytest.raises(ConfigurationError, match="in use by another batch"):
                await client.map("work", [], journal=other).gather()
    async with journal, journal:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_process_at_a_time(connect: Connect, journal: Journal) -> None:
    """So it is by another process."""
    code = "import anyio, sys; from cyberun_async import Journal; anyio.run(Journal(sys.argv[1]).__aenter__)"
    async with connect() as client, client.map("work", [NEVER], journal=journal):
        done = await anyio.run_process([sys.executable, "-c", code, str(journal.path)], check=False)
    assert b"in use by another batch" in done.stderr


@pytest.mark.parametrize("what", ["a folder", "a text", "the database of another program"])
async def test_what_is_no_journal(tmp_path: Path, what: str) -> None:
    """A path that is something else is left as it is."""
    path = tmp_path / "file"
    if what == "a folder":
        path.mkdir()
    elif what == "a text":
        path.write_text("once upon a time" * 100)
    else:
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE tale (line TEXT)")
        db.close()
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ConfigurationError, match=r"the journal .* cannot be opened"):
        await Journal(path).__aenter__()
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_disk_that_refuses(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """Nothing is submitted that cannot be written down first; what cannot be written down later is still waited for."""
    async with connect() as client:
        async with client.map("work", [("held", {"seconds": 9})], journal=journal) as batch:
            await eventually(lambda: batch._runner.tasks)
            await journal._store._database.do(lambda db: db.execute("PRAGMA query_only = ON"))
            await server.clock.advance(9)
            assert (await batch.__anext__()).succeeded
        assert rows(journal) == {"held": "submitted"}
        async with client.map("work", [("next", {})], journal=journal) as batch:
            await journal._store._database.release()
            outcome = await batch.__anext__()
    assert isinstance(outcome.error, ConfigurationError)
    assert "cannot be written" in str(outcome.error)
    assert len(submitted(server)) == 1


def test_repr(journal: Journal) -> None:
    """A journal shows where it is."""
    assert repr(journal) == f"Journal({str(journal.path)!r})"


async def test_it_holds_no_link(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """Neither the key nor a signed link is written down."""
    server.workflow("picture", script=[complete()])(lambda _: b"png")
    async with connect() as client:
        (outcome,) = await client.map("picture", [{}], journal=journal).gather()
        async with client.map("picture", [{}], journal=journal) as batch:
            assert (await batch.__anext__()).unwrap().files == ()
    written = b"".join(path.read_bytes() for path in journal.path.parent.iterdir())
    assert outcome.unwrap().files[0].url.split("?")[1].encode() not in written
    assert server.api_key.encode() not in written


# Decisions


def test_fingerprint(tmp_path: Path) -> None:
    """The same parameters have the same digest, whatever their order; files count by path, bytes by content."""
    assert fingerprint({"a": 1, "b": [True, None]}) == fingerprint({"b": [True, None], "a": 1})
    assert fingerprint({"a": MappingProxyType({"b": 1})}) == fingerprint({"a": {"b": 1}})
    different = [
        {"a": 1},
        {"a": "1"},
        {"a": b"1"},
        {"a": b"2"},
        {"a": Path("1")},
        {"a": InputFile(Path("1"))},
        {"a": InputFile(b"1", name="1.png")},
    ]
    assert len({fingerprint(each) for each in different}) == len(different)


NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def task(name: str, seconds: float, workflow: str = "ours") -> Task:
    created = datetime.fromtimestamp(NOW.timestamp() + seconds, timezone.utc)
    return Task(id=name, workflow_id=workflow, created_at=created)


@table(
    ("began", "tasks", "matched"),
    [
        pytest.param({"a": 0}, [task("1", 1)], {"a": "1"}, id="one and one"),
        pytest.param({"a": 0}, [], {}, id="none"),
        pytest.param({"a": 0}, [task("1", 1), task("2", 2)], {}, id="two may be it"),
        pytest.param({"a": 0, "b": 1}, [task("1", 1)], {}, id="it may be either's"),
        pytest.param({"a": 0, "b": 900}, [task("1", 1), task("2", 901)], {"a": "1", "b": "2"}, id="far enough apart"),
        pytest.param({"a": 0}, [task("1", 1, "theirs")], {}, id="another workflow"),
        pytest.param({"a": 0}, [task("known", 1)], {}, id="another item's task"),
        pytest.param({"a": 0}, [task("1", -6)], {}, id="before"),
        pytest.param({"a": 0}, [task("1", -4)], {"a": "1"}, id="before, by a clock that is a little off"),
        pytest.param({"a": 0}, [task("1", 66)], {}, id="after"),
        pytest.param({"a": 0}, [Task(id="1", workflow_id="ours")], {}, id="no time"),
    ],
)
def test_match_unheard(began: dict[str, float], tasks: list[Task], matched: dict[str, str]) -> None:
    """A submission that was not answered has found its task only where no other can be meant."""
    times = {key: NOW.timestamp() + seconds for key, seconds in began.items()}
    candidates = candidates_for(times, tasks, workflow_id="ours", known={"known"}, longest=60)
    assert candidates.keys() == times.keys()
    assert match_unconfirmed(candidates) == matched
