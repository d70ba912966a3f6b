"""A delivery of a webhook wakes each wait of its task once, whatever it does at that moment, and whichever view it is of."""

from __future__ import annotations

import gc
from collections import Counter

import anyio
from support.scripted import SSE_HEAD, TASK, Exchange, Remote, answer, connected, hold, status_event
from support.tables import table
from support.virtual import served, simulated, virtual

from cyberun_async import AsyncClient, Limits, Polling, TaskEvent, TaskStatus
from cyberun_async._core import MAX_IDLE_VIEWS
from cyberun_async._wait.wakes import MAX_EARLY_WAKES, Wakes
from cyberun_async.webhooks import WebhookEvent

SELDOM = Polling(interval=100, interval_while_streaming=100)
KEYS = ("sk-test", "sk-view")

EPSILON = 1e-6


def wake(client: AsyncClient, task_id: str = TASK) -> None:
    """Receive a webhook."""
    client.wake(WebhookEvent(event_type="task.completed", task_id=task_id, status=TaskStatus.COMPLETED))


async def polls(*deliveries: float, streams: int) -> dict[str, list[float]]:
    """Give the times of the polls of two waits of one task, whose polls take 0.6 seconds, and whose callbacks take 5."""
    times: dict[str, list[float]] = {key: [] for key in KEYS}
    began = anyio.current_time()

    async def look(exchange: Exchange) -> None:
        times[exchange.headers["authorization"].removeprefix("Bearer ")].append(anyio.current_time() - began)
        await anyio.sleep(0.6)
        await exchange.answer(200, {"id": TASK, "task_status": "running"})

    async def at_leisure(_: TaskEvent) -> None:
        await anyio.sleep(5)

    async with served(polling=SELDOM, limits=Limits(max_streams=streams)) as (server, client):
        server.on("task", look)
        server.on("events", hold(SSE_HEAD + status_event("running")))
        async with anyio.create_task_group() as group:
            for view in (client, client.with_options(api_key="sk-view")):
                group.start_soon(lambda view=view: view.wait_for_result(TASK, on_event=at_leisure))
            for at, number in Counter(deliveries).items():
                await anyio.sleep(began + at - anyio.current_time())
                for _ in range(number):
                    wake(client)
            await anyio.sleep(began + 60 - anyio.current_time())
            group.cancel_scope.cancel()
    return times


@virtual
@table("streams", [0, 100], ids=["without streams", "with streams"])
async def test_once(streams: int) -> None:
    """One poll that begins after the delivery is all that comes of it."""
    quiet = await polls(streams=streams)
    for at in (0.1, 0.3, 0.7, 3.1, 5.1, 5.4, 5.9, 6.3, 10.6, 40.1):
        woken = await polls(at, streams=streams)
        for key in KEYS:
            without, after = [[time for time in times[key] if time > at - EPSILON] for times in (quiet, woken)]
            assert len(after) == max(1, len(without)), f"woken at {at}: {woken[key]} instead of {quiet[key]}"


@virtual
@table("streams", [0, 100], ids=["without streams", "with streams"])
async def test_twice(streams: int) -> None:
    """Each delivery brings a poll of its own, but for those that come before the wait has had time for that."""
    for first, second, number in ((20.0, 40.0, 2), (20.0, 20.5, 2), (20.0, 20.0, 1)):
        woken = await polls(first, second, streams=streams)
        assert {key: sum(time > first - EPSILON for time in times) for key, times in woken.items()} == dict.fromkeys(
            KEYS, number
        )


@virtual
async def test_a_view_that_nobody_holds() -> None:
    """The events of a view are followed, and woken, for as long as somebody reads them, whatever became of the view."""
    remote = Remote()
    seen: list[str] = []
    async with simulated() as server, connected(server, polling=SELDOM, limits=Limits(max_streams=0)) as client:
        remote.on(server)
        events = client.with_options(api_key="sk-view").events(TASK)
        seen.append((await anext(events)).name)
        for number in range(MAX_IDLE_VIEWS + 1):
            client.with_options(api_key=f"sk-other-{number}")
        gc.collect()

        async def read() -> None:
            seen.append((await anext(events)).name)

        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            remote.status = "completed"
            wake(client)
        assert anyio.current_time() - began < 1
    assert seen == ["status", "completed"]


@virtual
async def test_many_other_deliveries() -> None:
    """A wait that does something else at its delivery is woken afterwards, however many others came meanwhile."""
    remote = Remote()
    async with simulated() as server, connected(server, polling=SELDOM, limits=Limits(max_streams=0)) as client:
        remote.on(server)

        async def at_leisure(_: TaskEvent) -> None:
            remote.status = "completed"
            wake(client)
            for number in range(2000):
                wake(client, f"task-{number}")

        began = anyio.current_time()
        await client.wait_for_result(TASK, on_event=at_leisure)
        assert anyio.current_time() - began < 1
    assert Counter(server.kinds()) == {"task": 2, "result": 1}


@virtual
async def test_ahead_of_the_wait() -> None:
    """A delivery that comes before its wait makes the first poll of a task immediate that was submitted a moment ago."""
    remote = Remote("completed")
    async with simulated() as server, connected(server, polling=SELDOM, limits=Limits(max_streams=0)) as client:
        remote.on(server)
        server.on("run", answer(202, {"task_id": TASK}))
        began = anyio.current_time()
        wake(client, await client.submit("demo", validate=False))
        await client.wait_for_result(TASK)
        assert anyio.current_time() - began < 1


# The bookkeeping


class Wait:
    """A wait that counts its wakes."""

    def __init__(self, task_id: str, wakes: Wakes) -> None:
        self.task_id, self.number = task_id, 0
        self.waits = wakes.join(self)

    def wake(self) -> None:
        self.number += 1


def test_who_is_woken() -> None:
    """Each wait of the task, for as long as somebody has it."""
    wakes = Wakes()
    one, two, other = (Wait(task_id, wakes) for task_id in ("t-1", "t-1", "t-2"))
    wakes.wake("t-1")
    assert [each.number for each in (one, two, other)] == [1, 1, 0]
    assert repr(one.waits) == "<WaitsOfTask: 2>"
    del two
    gc.collect()
    assert repr(one.waits) == "<WaitsOfTask: 1>"
    wakes.wake("t-1")
    assert one.number == 2
    assert repr(wakes) == "<Wakes: waits for 2 tasks, 0 early wakes>"
    del one
    gc.collect()
    wakes.wake("t-1")
    assert repr(wakes) == "<Wakes: waits for 1 tasks, 1 early wakes>"


def test_early_wakes() -> None:
    """They wake the first wait that begins, and the oldest is forgotten where there are too many."""
    wakes = Wakes()
    tasks = [f"t-{number}" for number in range(MAX_EARLY_WAKES + 1)]
    for task_id in tasks:
        wakes.wake(task_id)
    assert [Wait(task_id, wakes).number for task_id in (tasks[0], tasks[1], tasks[1], tasks[-1])] == [0, 1, 0, 1]
