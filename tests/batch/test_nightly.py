"""What a run at night needs: an end to failures and to costs, counts, second attempts, and a look into the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from batch.conftest import Connect, eventually, submitted
from support.tables import table

from cyberun_async import (
    AsyncClient,
    BatchCounts,
    ConfigurationError,
    Journal,
    JournalEntry,
    Outcome,
    TaskCancelled,
    TaskFailed,
)
from cyberun_async._batch import journal_file
from cyberun_async._batch.item_run import ItemRun
from cyberun_async.local import Job, LocalCyberun, LocalParameter
from cyberun_async.local.scripts import cancel, complete, fail

BAD = {"end": "fail"}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


# An end to failures


@pytest.mark.parametrize("limit", [1, 20])
async def test_a_broken_workflow_bills_a_handful(connect: Connect, server: LocalCyberun, limit: int) -> None:
    """Where every task fails, about as many are submitted as may fail, however many could be in flight."""
    async with connect() as client:
        batch = client.map("work", [BAD] * 1000, max_in_flight=500, stop_after_failures=limit)
        outcomes = await batch.gather()
    billed = len(submitted(server))
    assert limit <= billed < limit + max(limit, 8)
    assert batch.stopped_by == "stop_after_failures"
    assert batch.counts.submitted == billed == batch.counts.failed
    assert batch.counts.stopped == len(outcomes) - billed


async def test_a_few_failures_among_many(connect: Connect, server: LocalCyberun) -> None:
    """After the first success there is room for all, and fewer failures than that stop nothing."""
    items = [{"n": n, "end": "fail" if n in {10, 15} else ""} for n in range(30)]
    async with connect() as client:
        batch = client.map("work", items, max_in_flight=20, stop_after_failures=3)
        async with batch:
            assert (await batch.__anext__()).succeeded
            assert batch._admission.window.size == 20
            await batch.gather()
    assert batch.counts == BatchCounts(succeeded=28, failed=2, submitted=30)
    assert batch.stopped_by is None


async def test_stopped_while_it_is_prepared(connect: Connect, server: LocalCyberun) -> None:
    """An item whose parameters are still being checked when the batch is stopped is not submitted any more."""
    async with connect() as client:
        batch = client.map("work", [{}, {}], max_in_flight=2, stop_after_failures=1)
        submitter = batch._runner._context.submitter
        prepare = submitter._prepare

        async def stopped(parameters: Any) -> Any:
            call = await prepare(parameters)
            batch._admission.may_submit = False
            return call

        submitter._prepare = stopped
        outcomes = await batch.gather()
    assert ["was stopped before this item was submitted" in str(outcome.error) for outcome in outcomes] == [True] * 2
    assert batch.counts == BatchCounts(stopped=2)
    assert not submitted(server)


async def test_what_is_in_flight_is_seen_through(connect: Connect, server: LocalCyberun) -> None:
    """Nothing is cancelled when failures stop the batch."""
    async with connect() as client:
        async with client.map(
            "work", [{"seconds": 9}, BAD, *[{}] * 10], max_in_flight=2, stop_after_failures=1
        ) as batch:
            assert isinstance((await batch.__anext__()).error, TaskFailed)
            await server.clock.advance(9)
            outcomes = await batch.gather()
    assert any(outcome.succeeded for outcome in outcomes)
    assert not any(isinstance(outcome.error, TaskCancelled) for outcome in outcomes)


async def test_old_failures_do_not_stop_a_rerun(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """What failed in an earlier run, and what is uncertain since then, is reported, and counts for nothing."""
    items = [(f"bad {n}", BAD) for n in range(3)]
    server.faults.status(500, on="workflows.run", after=3)
    async with connect() as client:
        await client.map("work", [*items, ("unknown", {})], journal=journal, max_in_flight=1).gather()
        batch = client.map("work", [*items, ("unknown", {}), ("good", {})], journal=journal, stop_after_failures=1)
        await batch.gather()
    assert batch.counts == BatchCounts(succeeded=1, failed=3, uncertain=1, from_journal=3, submitted=1)
    assert batch.stopped_by is None


# An end to costs


@pytest.mark.parametrize("limit", [1, 6])
async def test_max_tasks(connect: Connect, server: LocalCyberun, journal: Journal, limit: int) -> None:
    """Exactly as many tasks are submitted as may be, no item is begun in vain, and the next run has its own share."""
    items = [(str(n), {"n": n}) for n in range(16)]
    async with connect() as client:
        for run in (1, 2):
            batch = client.map("work", items, journal=journal, max_tasks=limit)
            outcomes = await batch.gather()
            assert all(outcome.succeeded for outcome in outcomes)
            assert len(submitted(server)) == run * limit
            assert batch.stopped_by == "max_tasks"
            assert attrs.astuple(batch.counts)[-2:] == ((run - 1) * limit, limit)
        assert [entry.key async for entry in journal] == sorted(str(n) for n in range(2 * limit))


async def test_max_tasks_of_endless_items(connect: Connect, server: LocalCyberun) -> None:
    """An endless supply of items ends there, and what was refused costs nothing."""

    async def endless() -> AsyncIterator[dict[str, int]]:
        while True:
            yield {"n": 1}

    server.faults.status(403, on="workflows.run", times=4)
    async with connect() as client:
        with anyio.fail_after(20):
            outcomes = await client.map("work", endless(), max_tasks=7, max_in_flight=3).gather()
    assert len(submitted(server)) == 7
    assert len(outcomes) == 11


async def test_a_lost_response_counts(connect: Connect, server: LocalCyberun) -> None:
    """A task that may exist may be billed, so it counts."""
    server.faults.lose_reply(on="workflows.run")
    async with connect() as client:
        batch = client.map("work", [{}] * 9, max_tasks=4, max_in_flight=2)
        await batch.gather()
    assert len(submitted(server)) == 4
    assert batch.counts == BatchCounts(succeeded=3, uncertain=1, submitted=4)


# Second attempts


@pytest.fixture
def flaky(server: LocalCyberun) -> str:
    """Have a workflow whose tasks fail as often as the first parameter says, and are cancelled by the second."""
    seen: dict[float, int] = {}

    def life(job: Job) -> list[Any]:
        n = job.number("n")
        seen[n] = seen.get(n, 0) + 1
        if job.number("cancelled"):
            return [cancel()]
        return [fail("lost its agent") if seen[n] <= job.number("failures") else complete({"attempt": seen[n]})]

    names = ("n", "failures", "cancelled")
    server.workflow("flaky", parameters=[LocalParameter(name, "number") for name in names], script=life)(lambda _: b"")
    return "flaky"


@pytest.mark.parametrize("with_journal", [True, False], ids=["with a journal", "without"])
async def test_attempts(
    connect: Connect, server: LocalCyberun, journal: Journal, flaky: str, with_journal: bool
) -> None:
    """A task that fails is submitted again, as often as is asked for and no more; one that was cancelled is not."""
    items: list[Any] = [(str(n), {"n": n, "failures": n}) for n in range(4)]
    items.append(("cancelled", {"n": 9, "cancelled": 1}))
    options: Any = {"journal": journal} if with_journal else {}
    async with connect() as client:
        outcomes = await client.map(flaky, items, attempts=3, **options).gather()
    assert [outcome.succeeded for outcome in outcomes] == [True, True, True, False, False]
    assert outcomes[2].unwrap().output == {"attempt": 3}
    assert len(submitted(server)) == 1 + 2 + 3 + 3 + 1
    assert {outcome.task_id for outcome in outcomes} < set(submitted(server))


async def test_attempts_are_counted_in_the_journal(
    connect: Connect, server: LocalCyberun, journal: Journal, flaky: str
) -> None:
    """A rerun does not begin anew: it submits what is left of the attempts, and then gives back the failure."""
    items = [("one", {"n": 1, "failures": 99})]
    async with connect() as client:
        for allowed, billed in ((2, 2), (2, 2), (3, 3), (1, 3)):
            (outcome,) = await client.map(flaky, items, attempts=allowed, journal=journal).gather()
            assert isinstance(outcome.error, TaskFailed)
            assert len(submitted(server)) == billed
        entries = [entry async for entry in journal]
    assert [(entry.state, entry.attempts, entry.task_id) for entry in entries] == [("finished", 3, outcome.task_id)]


async def test_attempts_end_where_tasks_may_not_be_submitted(
    connect: Connect, server: LocalCyberun, flaky: str
) -> None:
    """Neither a limit of tasks nor one of failures is passed for a second attempt; the failure is the outcome."""
    async with connect() as client:
        batch = client.map(flaky, [{"n": 1, "failures": 9}] * 5, attempts=3, max_tasks=2, max_in_flight=1)
        outcomes = await batch.gather()
    assert len(submitted(server)) == 2
    assert [type(outcome.error) for outcome in outcomes] == [TaskFailed]


async def test_stopped_while_a_second_attempt_waits(
    connect: Connect, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item whose second attempt is not submitted any more keeps its failure and its task."""
    async with connect() as client:
        batch = client.map("work", [BAD, {"seconds": 9}], attempts=2, max_in_flight=2)
        submit = ItemRun._submit

        async def stopped(item: ItemRun) -> bool:
            batch._admission.may_submit = item._record.row.attempts != 1
            return await submit(item)

        monkeypatch.setattr(ItemRun, "_submit", stopped)
        async with batch:
            outcome = await batch.__anext__()
    assert isinstance(outcome.error, TaskFailed)
    assert outcome.task_id == outcome.error.task_id
    assert batch.counts.failed == 1


async def test_a_second_attempt_that_is_refused(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """The refusal is the outcome, the attempt does not count, and a run that allows for it makes it."""
    server.faults.status(403, on="workflows.run", after=1)
    async with connect() as client:
        (outcome,) = await client.map("work", [BAD], attempts=2, journal=journal).gather()
        assert not isinstance(outcome.error, TaskFailed)
        (entry,) = [entry async for entry in journal]
        assert (entry.state, entry.attempts) == ("finished", 1)
        for allowed, billed in ((1, 1), (2, 2)):
            (outcome,) = await client.map("work", [BAD], attempts=allowed, journal=journal).gather()
            assert isinstance(outcome.error, TaskFailed)
            assert len(submitted(server)) == billed


# Counts


async def test_counts_while_it_runs(connect: Connect, server: LocalCyberun) -> None:
    """The counts are those of the moment, and stay when it is over."""
    async with connect() as client:
        batch = client.map("work", [{"seconds": 5}, {}, BAD], max_in_flight=3)
        assert batch.counts == BatchCounts()
        async with batch:
            await batch.__anext__()
            await batch.__anext__()
            assert batch.counts == BatchCounts(in_flight=1, succeeded=1, failed=1, submitted=3)
            batch.stop()
            await server.clock.advance(5)
    assert batch.stopped_by == "stop"
    assert batch.counts.submitted == 3


# A look into the journal


async def test_iterating_over_a_journal(
    connect: Connect, server: LocalCyberun, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each item is there once, in order, page by page, while a batch runs as well as afterwards; breaking off leaves nothing."""
    monkeypatch.setattr(journal_file, "PAGE", 3)
    items = [(f"{n:02}", {"n": n}) for n in range(7)]
    async with connect() as client:
        async with client.map("work", [*items, ("99", {"seconds": 9})], journal=journal) as batch:
            for _ in items:
                await batch.__anext__()
            await eventually(lambda: batch._runner.tasks)
            states = {entry.key: entry.state async for entry in journal}
            assert states == {**{key: "finished" for key, _ in items}, "99": "submitted"}
        async for first in journal:
            entry = first
            break
    assert isinstance(entry, JournalEntry)
    assert (entry.workflow, entry.key, entry.attempts) == ("work", "00", 1)
    assert entry.result is not None
    assert entry.result.output == {"n": 0}
    assert entry.submitted_at is not None


async def test_a_journal_that_is_not_there(tmp_path: Path) -> None:
    """Looking into a journal makes none."""
    with pytest.raises(ConfigurationError, match="is not there"):
        async for _ in Journal(tmp_path / "journal"):
            pass
    assert not list(tmp_path.iterdir())


# Settling what is uncertain


async def test_candidates(connect: Connect, server: LocalCyberun, journal: Journal) -> None:
    """An uncertain item names the tasks that it may be; the one that it is said to be is waited for, and the rest stay so."""
    server.faults.lose_reply(on="workflows.run", times=2)
    items = [("one", {"n": 1}), ("two", {"n": 2}), ("three", {"n": 3})]

    async def run() -> dict[str, Outcome]:
        return {outcome.key: outcome for outcome in await client.map("work", items, journal=journal).gather()}

    async with connect() as client:
        first = await run()
        lost = [key for key, outcome in first.items() if outcome.is_uncertain]
        (known,) = [outcome.task_id for outcome in first.values() if not outcome.is_uncertain]
        second = await run()
        candidates = {task.id for task in second[lost[0]].candidates}
        assert candidates == {task.id for task in second[lost[1]].candidates} == set(submitted(server)) - {known}
        mine, other = sorted(candidates)
        await journal.settle("work", lost[0], mine)
        third = await run()
        # The other one is left over, which settles it.
        assert third[lost[0]].task_id == mine
        assert (third[lost[1]].task_id, third[lost[1]].is_matched) == (other, True)
    assert all(outcome.succeeded for outcome in third.values())
    assert len(submitted(server)) == 3


@table("option", ["attempts", "max_tasks", "stop_after_failures"])
def test_options_that_cannot_work(option: str) -> None:
    """Each is a whole number above zero."""
    client = AsyncClient("sk-0123456789abcdef")
    for value in (0, -1, 1.5, True, "2"):
        with pytest.raises(ConfigurationError, match=f"{option} must be a whole number above zero"):
            client.map("work", [], **{option: value})  # type: ignore[arg-type]
