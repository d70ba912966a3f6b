"""Many items through one workflow: each has its outcome, and what runs ends with the `async with`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from batch.conftest import FAST, Connect, eventually, submitted
from support.sampling import count
from support.scripted import Exchange, Scripted, answer
from support.virtual import served, virtual

from cyberun_async import (
    AsyncClient,
    BadRequestError,
    ConfigurationError,
    CyberunError,
    InvalidParameters,
    Limits,
    Outcome,
    Retries,
    ServerError,
    TaskCancelled,
    TaskFailed,
    TaskStatus,
    WaitTimeout,
)
from cyberun_async.local import LocalCyberun

NEVER = {"end": "stay"}


def tasks_on(server: Scripted, **statuses: str) -> dict[str, str]:
    """Have a server answer for tasks that stay in these statuses until they are cancelled."""

    async def report(exchange: Exchange) -> None:
        await exchange.answer(200, {"id": exchange.id, "task_status": statuses[exchange.id]})

    async def cancel(exchange: Exchange) -> None:
        statuses[exchange.id] = "cancelled"
        await exchange.answer(200, {"is_success": True})

    server.on("definition", answer(200, {"id": "w-1", "parameters": []}))
    server.on("task", report)
    server.on("result", report)
    server.on("cancel", cancel)
    return statuses


async def test_gather_gives_all_in_the_order_of_the_items(connect: Connect) -> None:
    """Each item has one outcome, with its key, its parameters, its task, and its result or its own failure."""
    items = [{"n": n, "end": "fail" if n % 5 == 4 else ""} for n in range(20)]
    async with connect() as client:
        outcomes = await client.map("work", items).gather()

    assert [(each.index, each.key, each.parameters) for each in outcomes] == [(n, str(n), items[n]) for n in range(20)]
    assert len({each.task_id for each in outcomes}) == 20
    for n, outcome in enumerate(outcomes):
        assert outcome.succeeded == (n % 5 != 4)
        if outcome.succeeded:
            assert outcome.unwrap().output == {"n": n}
        else:
            assert isinstance(outcome.error, TaskFailed)
            with pytest.raises(TaskFailed, match="out of memory"):
                outcome.unwrap()


@pytest.mark.parametrize("streams", [0, 2, 10])
async def test_outcomes_come_as_they_are_known(connect: Connect, server: LocalCyberun, streams: int) -> None:
    """A slow item keeps no other one waiting, with streams for none, for some and for all."""
    items = [("slow", {"seconds": 60}), *((f"fast {n}", {}) for n in range(5))]
    async with connect(streams=streams) as client, client.map("work", items) as batch:
        first = [(await batch.__anext__()).key for _ in range(5)]
        await server.clock.advance(60)
        last = [outcome.key async for outcome in batch]
    assert sorted(first) == [f"fast {n}" for n in range(5)]
    assert last == ["slow"]


@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])
async def test_items_are_read_no_faster_than_there_is_room(connect: Connect, is_async: bool) -> None:
    """An endless supply of items is read one by one, each only once there is room for it."""
    rooms: list[int] = []
    closed: list[bool] = []

    def endless() -> Iterator[dict[str, int]]:
        for n in range(10_000):
            rooms.append(batch.in_flight)
            yield {"n": n}

    async def endless_async() -> AsyncIterator[dict[str, int]]:
        try:
            for item in endless():
                yield item
        finally:
            closed.append(True)

    async with connect() as client:
        batch = client.map("work", endless_async() if is_async else endless(), max_in_flight=3)
        async with batch:
            for _ in range(10):
                await batch.__anext__()
    assert max(rooms) == 2
    assert len(rooms) <= 10 + 2 * 3
    assert closed == [True] * is_async


async def test_outcomes_that_nobody_takes_hold_the_batch_up(connect: Connect, server: LocalCyberun) -> None:
    """A consumer that falls behind meets no more than a window's worth of outcomes."""
    async with connect() as client, client.map("work", ({"n": n} for n in range(16)), max_in_flight=4) as batch:
        await batch.__anext__()
        while len(batch._ready) < 4 or batch.in_flight:
            await anyio.wait_all_tasks_blocked()
        before = len(submitted(server))
        assert before <= 1 + 4 + 4
        assert len([outcome async for outcome in batch]) == 15


async def test_the_error_of_the_items_comes_last(connect: Connect) -> None:
    """What reading the items raises is raised as it is, after the outcomes of those that were read."""

    def broken() -> Iterator[dict[str, int]]:
        yield {"n": 0}
        message = "the disk is gone"
        raise OSError(message)

    outcomes: list[Outcome] = []
    async with connect() as client, client.map("work", broken()) as batch:
        with pytest.raises(OSError, match="the disk is gone"):
            outcomes.extend([outcome async for outcome in batch])
        with pytest.raises(StopAsyncIteration):
            await batch.__anext__()


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        pytest.param("prompt", "not str", id="a word"),
        pytest.param(("key", 1), r"not \(str, int\)", id="a key without parameters"),
        pytest.param((None, {}), r"not \(NoneType, dict\)", id="no key"),
        pytest.param((True, {}), r"not \(bool, dict\)", id="a truth value for a key"),
        pytest.param(({}, {}, {}), r"not \(dict, dict, dict\)", id="three things"),
    ],
)
async def test_what_is_no_item(connect: Connect, server: LocalCyberun, item: Any, problem: str) -> None:
    """Something that is no item ends the reading, with a sentence that says which it was."""
    async with connect() as client:
        with pytest.raises(InvalidParameters, match=f"item 0 must be a mapping of parameters.*{problem}"):
            await client.map("work", [item]).gather()
    assert not submitted(server)


async def test_it_runs_inside_of_async_with_only(connect: Connect) -> None:
    """Iterating outside of `async with` says what to write instead, and a batch runs once."""
    async with connect() as client:
        batch = client.map("work", [{}])
        with pytest.raises(ConfigurationError, match="is not running: use 'async with"):
            await batch.__anext__()
        with pytest.raises(ConfigurationError, match="is not running"):
            async for _ in batch:
                pass
        assert len(await batch.gather()) == 1
        with pytest.raises(ConfigurationError, match="has ended"):
            await batch.gather()
        with pytest.raises(ConfigurationError, match="runs once"):
            await batch.__aenter__()


@pytest.mark.parametrize(
    "options",
    [
        {"max_in_flight": 0},
        {"max_in_flight": True},
        {"timeout": 0},
        {"on_error": "stop"},
        {"on_exit": "kill"},
        {"on_timeout": "kill"},
        {"resubmit": ["lost"]},
        {"resubmit": "failed"},
        {"journal": "a path"},
    ],
    ids=lambda options: "-".join(f"{name} {value}" for name, value in options.items()),
)
async def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    """An option that cannot work is refused at once."""
    client = AsyncClient("sk-0123456789abcdef")
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        client.map("work", [], **options)


# How it ends


@pytest.mark.parametrize(("on_exit", "status"), [("leave", "running"), ("cancel", "cancelled")])
async def test_leaving_early(connect: Connect, on_exit: Any, status: str) -> None:
    """Who leaves `async with` leaves the tasks in flight running, or has them cancelled, and keeps their own error."""
    seen: list[str] = []

    async def leave_early(client: AsyncClient) -> None:
        async with client.map("work", [NEVER] * 20 + [{}], max_in_flight=21, on_exit=on_exit) as batch:
            await batch.__anext__()
            await eventually(lambda: len(batch._runner.tasks) == 20)
            message = "enough"
            raise RuntimeError(message)

    async with connect() as client:
        with pytest.raises(RuntimeError, match="enough"):
            await leave_early(client)
        seen.extend([task.status async for task in client.tasks.list()])
    assert sorted(seen) == sorted(["completed", *[status] * 20])


async def test_cancelling_the_caller(connect: Connect, server: LocalCyberun) -> None:
    """A batch that is cancelled from outside ends at once, and its scope is told."""
    async with connect() as client:
        with anyio.CancelScope() as scope:
            async with client.map("work", [NEVER] * 5, on_exit="cancel") as batch:
                await eventually(lambda: len(batch._runner.tasks) == 5)
                scope.cancel()
                await batch.gather()
        assert scope.cancelled_caught
        assert [task.status async for task in client.tasks.list()] == ["cancelled"] * 5


async def test_an_error_may_cancel_the_rest(connect: Connect, server: LocalCyberun) -> None:
    """With `cancel_rest` nothing more is submitted after a failure, and all that was begun has an outcome."""
    items = [NEVER] * 4 + [{"end": "fail"}] + [NEVER] * 100
    async with connect(limits=Limits(max_streams=0, max_connections=4)) as client:
        outcomes = await client.map("work", items, max_in_flight=10, on_error="cancel_rest").gather()
        left = {task.status async for task in client.tasks.list()}
    kinds = {type(outcome.error) for outcome in outcomes}
    assert {TaskFailed, TaskCancelled} <= kinds <= {TaskFailed, TaskCancelled, CyberunError}
    assert len(outcomes) <= 10
    assert left == {"failed", "cancelled"}
    assert {each.task_id for each in outcomes} - {None} == set(submitted(server))


@virtual
async def test_an_item_that_was_not_submitted_yet() -> None:
    """Items whose turn to be submitted had not come when the batch was stopped say so."""

    async def late(exchange: Exchange) -> None:
        await anyio.sleep(1)
        await exchange.answer(202, {"task_id": "second"})

    async with served(polling=FAST, limits=Limits(max_streams=0, max_connections=2)) as (server, client):
        tasks_on(server, first="failed", second="running")
        server.on("run", answer(202, {"task_id": "first"}), late)
        outcomes = await client.map("work", [{}] * 4, on_error="cancel_rest").gather()
    assert [each.task_id for each in outcomes] == ["first", "second", None, None]
    assert "stopped before this item was submitted" in str(outcomes[3].error)


async def test_stop(connect: Connect, server: LocalCyberun) -> None:
    """A batch that is stopped begins no more items, and waits for those that were begun."""
    async with connect() as client:
        batch = client.map("work", [{"seconds": 9}] * 100, max_in_flight=4)
        with pytest.raises(ConfigurationError, match="is not running"):
            batch.stop()
        async with batch:
            await eventually(lambda: len(batch._runner.tasks) == 4)
            batch.stop()
            await server.clock.advance(9)
            outcomes = await batch.gather()
    assert [each.succeeded for each in outcomes] == [True] * 4
    assert len(submitted(server)) == 4


async def test_a_cancel_that_fails_hinders_nothing(connect: Connect, server: LocalCyberun) -> None:
    """With `cancel_rest`, a task whose cancellation is refused is waited for."""
    server.faults.status(400, on="tasks.cancel", times=None)
    items = [{"seconds": 5}, {"end": "fail"}]
    async with connect() as client, client.map("work", items, on_error="cancel_rest") as batch:
        assert isinstance((await batch.__anext__()).error, TaskFailed)
        await server.clock.advance(5)
        assert (await batch.__anext__()).succeeded


# One item's failure is that item's


@virtual
@pytest.mark.parametrize(("on_timeout", "status"), [("leave", "running"), ("cancel", "cancelled")])
async def test_timeout(on_timeout: Any, status: str) -> None:
    """The deadline is each task's, and leaves or cancels that task."""
    async with served(limits=Limits(max_streams=0)) as (server, client):
        statuses = tasks_on(server, slow="running", quick="completed")
        server.on("run", *(answer(202, {"task_id": task_id}) for task_id in statuses))
        outcomes = await client.map("work", [{}, {}], timeout=60, on_timeout=on_timeout, max_in_flight=1).gather()
    assert isinstance(outcomes[0].error, WaitTimeout)
    assert outcomes[0].task_id == "slow"
    assert statuses["slow"] == status
    assert outcomes[1].succeeded


async def test_what_a_callback_raises(connect: Connect) -> None:
    """Events of all tasks come to one callback, and what it raises is the error of that item."""
    seen: set[str] = set()

    async def callback(event: Any) -> None:
        seen.add(event.task_id)
        if event.task_id == next(iter(seen)) and len(seen) == 1:
            message = "cannot draw"
            raise ZeroDivisionError(message)

    async with connect(streams=5) as client:
        outcomes = await client.map("work", [{}] * 3, on_event=callback, max_in_flight=1).gather()
    assert [type(each.error) for each in outcomes] == [ZeroDivisionError, type(None), type(None)]
    assert seen == {each.task_id for each in outcomes}


async def test_parameters_that_do_not_fit(connect: Connect, server: LocalCyberun) -> None:
    """An item whose parameters do not fit costs nothing, and the others go on."""
    async with connect() as client:
        outcomes = await client.map("work", [{"n": "one"}, {"n": 1}]).gather()
        unchecked = await client.map("work", [{"n": "one"}], validate=False).gather()
    assert [type(each.error) for each in outcomes] == [InvalidParameters, type(None)]
    assert outcomes[0].task_id is None
    assert not outcomes[0].is_uncertain
    assert [type(each.error) for each in unchecked] == [BadRequestError]
    assert len(submitted(server)) == 1


@pytest.mark.parametrize("how", ["lose_reply", "status", "malformed"])
async def test_a_submission_that_is_not_answered(connect: Connect, server: LocalCyberun, how: str) -> None:
    """Where a task may exist that nobody knows, the item is uncertain; it is not submitted again."""
    faults = server.faults
    ways = {
        "lose_reply": lambda: faults.lose_reply(on="workflows.run"),
        "status": lambda: faults.status(500, on="workflows.run"),
        "malformed": lambda: faults.malformed(on="workflows.run"),
    }
    ways[how]()
    async with connect() as client:
        outcomes = await client.map("work", [{}, {}], max_in_flight=1).gather()
    assert [(each.is_uncertain, each.task_id is None) for each in outcomes] == [(True, True), (False, False)]
    assert isinstance(outcomes[0].error, ServerError if how == "status" else CyberunError)
    assert len(submitted(server)) == (1 if how == "status" else 2)


# Rate limits


@pytest.mark.parametrize("budget", [0, 2], ids=["without retries", "with retries"])
async def test_a_storm_of_429(connect: Connect, server: LocalCyberun, budget: float) -> None:
    """Refusals for rate narrow the batch and lose nothing: every item is submitted once, and the window widens again."""
    storm = server.faults.status(429, on="workflows.run", times=12)
    async with connect(retries=Retries(budget=budget, initial=0.01, maximum=0.05)) as client:
        batch = client.map("work", [{"n": n} for n in range(40)], max_in_flight=20)
        outcomes = await batch.gather()
    assert storm.struck == 12
    assert all(each.succeeded for each in outcomes)
    assert len(submitted(server)) == 40
    assert batch._admission.window.round > 0
    assert batch._admission.window.size > 1


async def test_a_server_that_wants_to_be_left_alone(connect: Connect, server: LocalCyberun) -> None:
    """A 429 that asks for more than a minute is the item's error; nothing was submitted."""
    server.faults.status(429, headers={"Retry-After": "3600"}, on="workflows.run")
    async with connect() as client:
        (outcome,) = await client.map("work", [{}]).gather()
    assert isinstance(outcome.error, CyberunError)
    assert not outcome.is_uncertain
    assert not submitted(server)


# Everything at once


@pytest.mark.slow
@pytest.mark.soak
async def test_a_bad_day(connect: Connect, server: LocalCyberun) -> None:
    """With failing tasks, failing calls, cut streams and a storm of 429, every outcome is right and nothing is lost."""
    faults = server.faults
    faults.status(503, on="tasks.*", probability=0.05, times=None)
    faults.cut_stream(after=60, probability=0.3, times=None)
    faults.status(429, on="workflows.run", after=100, times=20)
    faults.lose_reply(on="workflows.run", after=50, times=3)
    items = [{"n": n, "end": "fail" if n % 10 == 0 else ""} for n in range(count(sample=150, soak=300))]
    async with connect(streams=10) as client:
        outcomes = await client.map("work", items, max_in_flight=60).gather()
    uncertain = [each for each in outcomes if each.is_uncertain]
    assert len(uncertain) == 3
    for outcome in outcomes:
        if outcome not in uncertain:
            assert (type(outcome.error) is TaskFailed) == (outcome.index % 10 == 0)
            assert outcome.error is not None or outcome.unwrap().status == TaskStatus.COMPLETED
    assert len(submitted(server)) == len(items)
