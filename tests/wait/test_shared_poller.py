"""Waits of one client share their polls: right whatever the server does, and with nothing left once they are over."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest
from batch.conftest import FAST, Connect, connect, eventually, server
from support.scripted import END, SSE_HEAD, Exchange, Remote, event
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import AsyncClient, Limits, NotFoundError, Polling, Retries, TaskEvent, TaskStatus, TransportError
from cyberun_async._wait.inquiry import PollDecision
from cyberun_async._wait.list_plan import LIST_THRESHOLD, TaskSummary
from cyberun_async._wait.poll_request import PollRequest
from cyberun_async._wait.schedule import PollSchedule
from cyberun_async._wait.shared_poller import SharedPoller
from cyberun_async.local import LocalCyberun

__all__ = ["connect", "server"]

MANY = LIST_THRESHOLD + 4
"""So many polls that a list is asked for."""

STREAMS = [
    pytest.param(0, MANY, id="no streams"),
    pytest.param(5, MANY + 5, id="some streams"),
    pytest.param(MANY, MANY, id="all streams"),
]
"""How many waits may have a stream, and how many there are."""


async def tasks_of(client: AsyncClient, count: int, **parameters: object) -> list[str]:
    """Submit tasks that end when the clock has been advanced by their `seconds`."""
    ids: list[str] = []

    async def submit() -> None:
        ids.append(await client.submit("work", parameters))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(submit)
    return ids


def asked(server: LocalCyberun, since: int = 0) -> Counter[str]:
    """Count the requests of each kind."""
    return Counter(each.operation for each in server.requests[since:])


async def until(server: LocalCyberun, operation: str, count: int) -> None:
    """Wait until the server has seen so many requests of a kind."""
    await eventually(lambda: asked(server)[operation] >= count)


@pytest.mark.parametrize(("streams", "count"), STREAMS)
async def test_many_waits(connect: Connect, server: LocalCyberun, streams: int, count: int) -> None:
    """Many waits end with their results."""
    done: list[str] = []
    async with connect(streams=streams) as client:
        ids = await tasks_of(client, count, seconds=9)

        async def wait(task_id: str) -> None:
            done.append((await client.wait_for_result(task_id)).id)

        async with anyio.create_task_group() as group:
            for task_id in ids:
                group.start_soon(wait, task_id)
            await until(server, "tasks.list", 5) if streams < MANY else await until(server, "tasks.events", MANY)
            await server.clock.advance(9)
    assert sorted(done) == sorted(ids)


@table(("streams", "count"), STREAMS)
@virtual
async def test_requests_of_many_waits(streams: int, count: int) -> None:
    """They end by sweeps of the list rather than by a poll each, and read each result once."""
    ends = anyio.current_time() + 90
    ids = [f"task-{number}" for number in range(count)]
    done: list[str] = []

    def remote() -> Remote:
        return Remote("running" if anyio.current_time() < ends else "completed")

    async def follow(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        await anyio.sleep(ends - anyio.current_time())
        await exchange.send(event("completed", task_id=exchange.id, status="completed") + END)

    async def running(exchange: Exchange) -> None:
        left = ids if "status=running" in exchange.target and anyio.current_time() < ends else []
        items = [{"id": each, "task_status": "running"} for each in left]
        await exchange.answer(200, {"task_list": items, "page_meta": {"total_count": len(items)}})

    async with served(limits=Limits(max_streams=streams)) as (server, client):
        server.on("task", lambda exchange: remote().look(exchange))
        server.on("result", lambda exchange: remote().result(exchange))
        server.on("events", follow)
        server.on("tasks", running)

        async def wait(task_id: str) -> None:
            done.append((await client.wait_for_result(task_id)).id)

        async with anyio.create_task_group() as group:
            for task_id in ids:
                group.start_soon(wait, task_id)
    assert sorted(done) == sorted(ids)
    counted = Counter(server.kinds())
    assert counted["result"] <= count * 1.5
    if not streams:
        assert counted["task"] <= count / 2
        assert counted["tasks"] > 9


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({"code": 404}, id="there is no list"),
        pytest.param({"code": 403}, id="not allowed"),
        pytest.param({"code": 500}, id="broken"),
    ],
)
async def test_without_a_list(connect: Connect, server: LocalCyberun, trouble: dict[str, Any]) -> None:
    """A server that gives no list is asked for each task, and soon not for the list any more."""
    server.faults.status(**trouble, on="tasks.list", times=None)
    done: list[str] = []
    async with connect(retries=Retries(budget=0)) as client:
        ids = await tasks_of(client, MANY, seconds=9)

        async def wait(task_id: str) -> None:
            done.append((await client.wait_for_result(task_id)).id)

        async with anyio.create_task_group() as group:
            for task_id in ids:
                group.start_soon(wait, task_id)
            await until(server, "tasks.get", MANY)
            await server.clock.advance(9)
    assert sorted(done) == sorted(ids)
    assert asked(server)["tasks.list"] <= 6


async def test_results_that_fail_once(connect: Connect, server: LocalCyberun) -> None:
    """A task that is in no list any more has its result read again where that failed."""
    done: list[str] = []
    async with connect(retries=Retries(budget=0)) as client:
        ids = await tasks_of(client, MANY, seconds=9)

        async def wait(task_id: str) -> None:
            done.append((await client.wait_for_result(task_id)).id)

        async with anyio.create_task_group() as group:
            for task_id in ids:
                group.start_soon(wait, task_id)
            await until(server, "tasks.list", 2)
            failing = server.faults.status(503, on="tasks.result", times=MANY)
            await server.clock.advance(9)
    assert sorted(done) == sorted(ids)
    assert failing.struck == MANY


async def test_strange_words(connect: Connect, server: LocalCyberun) -> None:
    """A status that this version has never heard of is no end, and is told."""
    server.faults.unknown_status("hibernating", on="tasks.list", times=None)
    told: set[str] = set()

    def callback(event: TaskEvent) -> None:
        told.add(str(getattr(event, "status", "")))

    async with connect() as client:
        ids = await tasks_of(client, MANY, seconds=9)
        async with anyio.create_task_group() as group:
            for task_id in ids:
                group.start_soon(lambda i: client.wait_for_result(i, on_event=callback), task_id)
            await until(server, "tasks.list", 3)
            await eventually(lambda: "hibernating" in told)
            server.faults.clear()
            await server.clock.advance(9)
    assert "hibernating" in told


async def test_the_leader_leaves(connect: Connect, server: LocalCyberun) -> None:
    """Whoever is cancelled while polling for all leaves that to another; the last one out leaves nothing behind."""
    done: list[str] = []
    async with connect() as client:
        ids = await tasks_of(client, MANY, seconds=9)

        async def wait(task_id: str, scope: anyio.CancelScope) -> None:
            with scope:
                done.append((await client.wait_for_result(task_id)).id)

        scopes = [anyio.CancelScope() for _ in ids]
        async with anyio.create_task_group() as group:
            for task_id, scope in zip(ids, scopes, strict=True):
                group.start_soon(wait, task_id, scope)
            await until(server, "tasks.list", 2)
            for scope in scopes[: MANY // 2]:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
            await server.clock.advance(9)
        assert len(done) == MANY // 2
        shared_poller = client._core.shared_poller
        assert (shared_poller.registry.leader, len(list(shared_poller.registry))) == (None, 0)


async def test_two_waits_for_one_task(connect: Connect, server: LocalCyberun) -> None:
    """Waits for the same task are told alike."""
    done: list[str] = []
    async with connect() as client:
        ids = await tasks_of(client, 15, seconds=9)

        async def wait(task_id: str) -> None:
            done.append((await client.wait_for_result(task_id)).id)

        async with anyio.create_task_group() as group:
            for task_id in ids * 3:
                group.start_soon(wait, task_id)
            await until(server, "workflows.run", 15)
            await server.clock.advance(9)
    assert sorted(done) == sorted(ids * 3)


async def test_one_bad_id_among_many(connect: Connect, server: LocalCyberun) -> None:
    """A task that does not exist is the error of its own wait only."""
    failures: list[Exception] = []
    done: list[str] = []
    async with connect() as client:
        ids = await tasks_of(client, MANY)

        async def wait(task_id: str) -> None:
            try:
                done.append((await client.wait_for_result(task_id)).id)
            except NotFoundError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for task_id in [*ids, "3c90c3cc-0d44-4b50-8888-8dd25736052a"]:
                group.start_soon(wait, task_id)
    assert (len(done), len(failures)) == (MANY, 1)


async def test_no_server_at_all() -> None:
    """Where nothing answers, each wait ends once its patience does."""
    failures: list[Exception] = []
    polling = Polling(interval=0.1, unavailable_timeout=0.2)
    async with AsyncClient(
        "sk-0123456789abcdef", base_url="http://127.0.0.1:9", polling=polling, retries=Retries(budget=0)
    ) as client:

        async def wait(number: int) -> None:
            try:
                await client.wait_for_result(f"3c90c3cc-0d44-4b50-8888-8dd2573605{number:02}")
            except TransportError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(wait, number)
    assert len(failures) == MANY


# The budget of streams


class Streams:
    """A transport as far as the budget of streams is concerned."""

    has_free_stream = True
    on_free_stream = staticmethod(lambda: None)

    def want_stream(self) -> None:
        pass


def waiting(known: Any, *, wants_slot: bool = True, due: float = 60.0) -> PollRequest:
    schedule = PollSchedule(FAST)
    schedule.next_poll_at = anyio.current_time() + due
    return PollRequest("task", known, schedule, wants_slot=wants_slot)


@table(
    ("looks", "chosen"),
    [
        pytest.param([], None, id="nobody is there"),
        pytest.param([("queued", False)], None, id="nobody wants one"),
        pytest.param([("queued", True), ("pending", True)], 0, id="the first"),
        pytest.param([("queued", True), ("running", True), ("running", True)], 1, id="a running one first"),
        pytest.param([("running", False), ("queued", True)], 1, id="not one that has a stream"),
    ],
)
async def test_who_gets_a_free_stream(looks: list[tuple[str, bool]], chosen: int | None) -> None:
    """A freed stream goes to one wait: to a running task rather than to one that waits itself."""
    transport: Any = Streams()
    shared_poller = SharedPoller(transport, FAST)
    told: list[tuple[int, object]] = []

    async def wait(number: int, known: str, wants_slot: bool) -> None:
        told.append((number, await shared_poller.decide(waiting(known, wants_slot=wants_slot))))

    async with anyio.create_task_group() as group:
        for number, (known, wants_slot) in enumerate(looks):
            group.start_soon(wait, number, known, wants_slot)
            await anyio.wait_all_tasks_blocked()
        transport.has_free_stream = False
        transport.on_free_stream()
        await anyio.wait_all_tasks_blocked()
        assert not told
        transport.has_free_stream = True
        transport.on_free_stream()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert told == ([] if chosen is None else [(chosen, PollDecision.TRY_STREAM)])


async def test_until() -> None:
    """A wait leaves off when it is time for its stream, whether it leads or follows."""
    transport: Any = Streams()
    shared_poller = SharedPoller(transport, FAST)
    told: list[object] = []

    async def wait(until: float) -> None:
        told.append(await shared_poller.decide(waiting("queued", wants_slot=False), until=until))

    now = anyio.current_time()
    async with anyio.create_task_group() as group:
        for seconds in (0.01, 0.02, 0.03):
            group.start_soon(wait, now + seconds)
    assert told == [PollDecision.TRY_STREAM] * 3
    assert await shared_poller.decide(waiting("queued"), until=now) is PollDecision.TRY_STREAM


async def test_who_has_left_is_told_nothing() -> None:
    """A wait that leaves while the lists are read is not told what they show, nor does it count as a poll."""
    transport: Any = Streams()
    shared_poller = SharedPoller(transport, FAST)
    look = waiting(None)
    due = look.due
    async with anyio.create_task_group() as group:
        group.start_soon(shared_poller.decide, look)
        await anyio.wait_all_tasks_blocked()
        saw = shared_poller._reporter(anyio.current_time())
        group.cancel_scope.cancel()

    saw(TaskSummary("task", TaskStatus.RUNNING))

    assert (look.decision, look.due) == (None, due)


async def test_streams_are_handed_on(connect: Connect, server: LocalCyberun) -> None:
    """With one stream for many waits, it goes to another wait whenever its task has ended."""
    async with connect(streams=1, polling=Polling(interval=0.2)) as client:
        outcomes = await client.map("work", [{"n": n} for n in range(10)], max_in_flight=5).gather()
    assert all(each.succeeded for each in outcomes)
    assert asked(server)["tasks.events"] > 1
