"""No wait that never ends: each question has a clock of its own, whatever else is answered meanwhile."""

from __future__ import annotations

import anyio
import pytest
from support.scripted import (
    COMPLETED,
    SSE_HEAD,
    TASK,
    Exchange,
    Handler,
    Remote,
    answer,
    event,
    hold,
    send,
)
from support.tables import table
from support.virtual import Clock, served, virtual

from cyberun_async import (
    APIError,
    DecodeError,
    Limits,
    Polling,
    RateLimitError,
    Retries,
    ServerError,
    TaskStatus,
    TransportError,
)
from cyberun_async._transport.recent_submissions import MAX_REMEMBERED, RecentSubmissions
from cyberun_async._wait.list_plan import LIST_THRESHOLD

MANY = LIST_THRESHOLD + 2
"""So many that a list is asked for."""

POLLING = Polling(interval=0.3, interval_while_streaming=1.0, unavailable_timeout=1.5)


BAD_RESULTS = [
    pytest.param(answer(500), ServerError, id="500"),
    pytest.param(answer(200, b"<html>"), DecodeError, id="no JSON"),
    pytest.param(answer(200, b"[" + b" " * 3000 + b"]"), DecodeError, id="too large"),
    pytest.param(send(), TransportError, id="no answer"),
]

STREAMS = [
    pytest.param(0, hold(), id="no streams"),
    pytest.param(9, answer(503), id="refused"),
    pytest.param(9, hold(SSE_HEAD), id="mute"),
    pytest.param(9, hold(SSE_HEAD, COMPLETED), id="told"),
]


@table(("streams", "stream"), STREAMS)
@table(("result", "kind"), BAD_RESULTS)
@virtual
async def test_a_result_that_can_never_be_read(
    streams: int, stream: Handler, result: Handler, kind: type[Exception]
) -> None:
    """The task has ended and says so, but its result fails for ever: after the patience comes the result's failure."""
    limits = Limits(max_streams=streams, max_response_bytes=2000)
    async with served(polling=POLLING, limits=limits) as (server, client):
        Remote("completed").on(server)
        server.on("result", result)
        server.on("events", stream)
        began = anyio.current_time()
        with pytest.raises(kind) as caught:
            await client.wait_for_result(TASK)
        took = anyio.current_time() - began

    assert getattr(caught.value, "path", "").endswith("/result")
    assert 1.5 <= took <= 1.5 + 3 * 0.3 * 1.2
    assert server.kinds().count("result") <= 12


@virtual
async def test_a_stream_of_events_does_not_keep_it_alive() -> None:
    """What keeps a stream alive, and progress, say nothing of a result that cannot be read."""

    async def progress(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for step in range(10_000):
            await exchange.send(event("progress", step_current=step))
            await anyio.sleep(0.4)

    async with served(polling=POLLING) as (server, client):
        Remote("completed").on(server)
        server.on("result", answer(500))
        server.on("events", progress)
        with anyio.fail_after(10), pytest.raises(ServerError) as caught:
            await client.wait_for_result(TASK)

    assert caught.value.path.endswith("/result")


@table("result", [answer(500), answer(200, b"<html>")], ids=["broken", "a web page"])
@virtual
async def test_events_end_too(result: Handler) -> None:
    """`events()` raises as `wait_for_result()` does."""
    async with served(polling=POLLING) as (server, client):
        Remote("completed").on(server)
        server.on("result", result)
        server.on("events", hold(SSE_HEAD))
        with anyio.fail_after(10), pytest.raises((ServerError, DecodeError)):
            async for _ in client.events(TASK):
                pass


def listed(*ids: str) -> Handler:
    """Answer with a list of running tasks."""
    tasks = [{"id": each, "task_status": "running"} for each in ids]
    return answer(200, {"task_list": tasks, "page_meta": {"total_count": len(ids)}})


@virtual
async def test_a_task_that_is_missing_from_the_lists() -> None:
    """A result that can never be read ends its own wait, though the lists that lack the task are read all along."""
    outcomes: list[object] = []
    ids = [f"task-{number}" for number in range(MANY)]

    async def result(exchange: Exchange) -> None:
        await (answer(500) if exchange.id == "task-7" else Remote("completed").result)(exchange)

    async with served(polling=POLLING, limits=Limits(max_streams=0)) as (server, client):
        Remote("completed").on(server)
        server.on("tasks", *[listed(*ids)] * 3, listed())
        server.on("result", result)

        async def wait(task_id: str) -> None:
            try:
                outcomes.append((await client.wait_for_result(task_id)).status)
            except ServerError as error:
                outcomes.append(error.path)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for task_id in ids:
                    group.start_soon(wait, task_id)

    assert outcomes.count(TaskStatus.COMPLETED) == MANY - 1
    assert outcomes.count("/r/tasks/task-7/result") == 1


@virtual
async def test_a_result_without_a_status_for_a_task_in_no_list() -> None:
    """It says nothing, so the wait goes on; and so it is where the result names another state."""
    words = iter(["", "queued"])

    async def result(exchange: Exchange) -> None:
        word = next(words, "completed") if exchange.id == "task-0" else "completed"
        await exchange.answer(200, {"id": exchange.id, **({"task_status": word} if word else {"task_output": None})})

    done: list[str] = []

    async def wait(task_id: str) -> None:
        done.append((await client.wait_for_result(task_id)).status)

    async with served(limits=Limits(max_streams=0)) as (server, client):
        server.on("tasks", listed())
        server.on("task", Remote("running").look)
        server.on("result", result)
        with anyio.move_on_after(60):
            async with anyio.create_task_group() as group:
                for number in range(MANY):
                    group.start_soon(wait, f"task-{number}")

    assert done == ["completed"] * (MANY - 1)


@table("status", [403, 404])
@virtual
async def test_a_result_that_is_refused_for_a_task_in_no_list(status: int) -> None:
    """A refusal that cannot be early ends its wait; after another one the task itself is asked."""
    failures: list[int] = []
    ids = [f"task-{number}" for number in range(MANY)]

    async def wait(task_id: str) -> None:
        try:
            await client.wait_for_result(task_id)
        except APIError as error:
            failures.append(error.status)

    async with served(limits=Limits(max_streams=0)) as (server, client):
        server.on("tasks", listed())
        server.on("task", Remote("running").look, *[Remote("running").look] * MANY, answer(410))
        server.on("result", answer(status))
        async with anyio.create_task_group() as group:
            for task_id in ids:
                group.start_soon(wait, task_id)

    assert set(failures) == {403 if status == 403 else 410}
    assert len(failures) == len(ids)
    assert "tasks" in server.kinds()


@virtual
async def test_a_result_that_is_refused_while_the_task_runs() -> None:
    """Refusals of what was asked too early, since no list has the task, use up no patience."""
    outcomes: list[TaskStatus] = []
    ends = anyio.current_time() + 10
    failed: set[str] = set()

    async def task(exchange: Exchange) -> None:
        status = "running" if anyio.current_time() < ends else "completed"
        await exchange.answer(200, {"id": exchange.id, "task_status": status})

    async def result(exchange: Exchange) -> None:
        if anyio.current_time() < ends:
            await exchange.answer(409, {"error_message": "it runs"})
        elif exchange.id not in failed:
            failed.add(exchange.id)
            await exchange.answer(502)
        else:
            await exchange.answer(200, {"id": exchange.id, "task_status": "completed", "task_output": {}})

    async with served(polling=Polling(unavailable_timeout=4), limits=Limits(max_streams=0)) as (server, client):
        server.on("task", task)
        server.on("result", result)
        server.on("tasks", listed())

        async def wait(task_id: str) -> None:
            outcomes.append((await client.wait_for_result(task_id)).status)

        async with anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(wait, f"task-{number}")

    assert outcomes == [TaskStatus.COMPLETED] * MANY
    assert "tasks" in server.kinds()


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.gone()


@table(
    ("lists", "bound"),
    [
        pytest.param(hang, 10 + 3.6, id="hang"),
        pytest.param(send(), 10 + 2 * 3.6, id="break off"),
        pytest.param(answer(500), 10 + 3.6, id="broken"),
        pytest.param(answer(503, None, "Retry-After: 30"), 10 + 3.6, id="busy"),
        pytest.param(answer(403), 3.6, id="not allowed"),
        pytest.param(answer(200, {"task_list": []}), 3.6, id="empty"),
    ],
)
@virtual
async def test_lists_that_cannot_be_read(lists: Handler, bound: float) -> None:
    """They hold up no wait for longer than a moment: each polls alone then."""
    took: list[float] = []

    async def wait(task_id: str) -> None:
        await client.wait_for_result(task_id)
        took.append(anyio.current_time() - began)

    async with served(limits=Limits(max_streams=0), retries=Retries()) as (server, client):
        remote = Remote("running")
        remote.on(server)
        server.on("tasks", lists)
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(wait, f"task-{number}")
            await anyio.sleep(1)
            remote.status = "completed"

    assert max(took) <= 1 + bound
    assert len(took) == MANY
    assert "tasks" in server.kinds()


@virtual
async def test_a_batch_has_all_its_outcomes() -> None:
    """The item whose result can never be read fails for itself."""
    numbers = iter(range(3))

    async def submit(exchange: Exchange) -> None:
        await exchange.answer(202, {"task_id": f"task-{next(numbers)}"})

    async def result(exchange: Exchange) -> None:
        await (answer(500) if exchange.id == "task-1" else Remote("completed").result)(exchange)

    async with served(polling=POLLING) as (server, client):
        Remote("completed").on(server)
        server.on("events", hold(SSE_HEAD))
        server.on("run", submit)
        server.on("result", result)
        with anyio.fail_after(20):
            outcomes = await client.map("demo", [{"n": n} for n in range(3)], validate=False).gather()

    assert [each.succeeded for each in sorted(outcomes, key=lambda each: each.task_id or "")] == [True, False, True]


@table("readable", [True, False], ids=["its result is readable", "nor can its result be read"])
@virtual
async def test_polls_that_fail_beside_a_stream_that_never_ends(*, readable: bool) -> None:
    """Events keep a wait alive whose polls fail, but not for ever: the result, which has a status too, is asked then."""

    async def progress(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for step in range(10_000):
            await exchange.send(event("progress", step_current=step))
            await anyio.sleep(0.4)

    statuses = []
    async with served(polling=POLLING) as (server, client):
        server.on("task", answer(500))
        server.on("result", Remote("completed").result if readable else answer(502))
        server.on("events", progress)
        with anyio.fail_after(20):
            try:
                statuses.append((await client.wait_for_result(TASK)).status)
            except ServerError as error:
                statuses.append(error.status)

    assert statuses == [TaskStatus.COMPLETED if readable else 500]


@virtual
async def test_polls_that_fail_beside_a_stream_that_gets_through() -> None:
    """As long as events come and the result says that the task goes on, a wait outlives the patience."""

    async def progress(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for step in range(40):
            await exchange.send(event("progress", step_current=step))
            await anyio.sleep(0.4)
        remote.status = "completed"
        await exchange.send(COMPLETED)
        await exchange.gone()

    remote = Remote("running")
    async with served(polling=POLLING) as (server, client):
        remote.on(server)
        server.on("task", answer(500))
        server.on("events", progress)
        began = anyio.current_time()
        result = await client.wait_for_result(TASK)
        took = anyio.current_time() - began

    assert result.status == TaskStatus.COMPLETED
    assert took == pytest.approx(16, abs=1)


# A process that stood still


@table("before", [0, 4], ids=["all was well before", "polls failed before"])
@table("where", ["in a request", "between two"])
@virtual
async def test_a_process_that_stood_still(clock: Clock, where: str, before: int) -> None:
    """The first poll after it wakes may fail: only another failure counts."""

    async def stopped(exchange: Exchange) -> None:
        clock.jump(600.0)
        await exchange.answer(502)

    remote = Remote("running")
    async with served(polling=POLLING, limits=Limits(max_streams=0)) as (server, client):
        remote.on(server)
        last = stopped if where == "in a request" else answer(502)
        server.on("task", remote.look, *[answer(502)] * before, last, remote.first("completed", remote.look))

        async def stop() -> None:
            while len(server.requests) < 1 + before:  # noqa: ASYNC110 - it is no event
                await anyio.sleep(0.01)
            # The last poll before the pause has been answered, and the next is not due.
            await anyio.sleep(0.05)
            clock.jump(600.0)

        async with anyio.create_task_group() as group:
            if where == "between two":
                group.start_soon(stop)
            result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert server.kinds() == ["task"] * (1 + before + 2) + ["result"]


@virtual
async def test_a_stream_that_breaks_when_the_process_wakes(clock: Clock) -> None:
    """The poll that this calls for is the first one after the pause: its failure alone ends nothing."""
    woke = anyio.Event()

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        await woke.wait()

    remote = Remote("running")
    async with served(polling=POLLING) as (server, client):
        remote.on(server)
        server.on("events", events, answer(502))
        server.on("task", remote.look, answer(502), answer(502), remote.first("completed", remote.look))

        async def stop() -> None:
            while server.kinds().count("task") < 2:  # noqa: ASYNC110 - it is no event
                await anyio.sleep(0.01)
            await anyio.sleep(0.05)
            clock.jump(600.0)
            woke.set()

        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED


# What the server asks for


@table(
    ("asked", "waited"),
    [
        pytest.param("5", 5.0, id="some seconds"),
        pytest.param("3600", 30.0, id="an hour: as long as the patience"),
    ],
)
@table("question", ["task", "result"])
@table("streams", [0, 1])
@virtual
async def test_a_retry_after(question: str, asked: str, waited: float, streams: int) -> None:
    """The `Retry-After` of a 503 delays the next request, whatever the stream does, and never beyond the patience."""
    times: list[float] = []

    async def busy(exchange: Exchange) -> None:
        times.append(anyio.current_time())
        await exchange.answer(503, None, f"Retry-After: {asked}")

    async def free(exchange: Exchange) -> None:
        times.append(anyio.current_time())
        await (remote.look if question == "task" else remote.result)(exchange)

    async def oddities(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for _ in range(1000):
            await exchange.send(event("error", message="no"))
            await exchange.send(event("status", status="running"))
            await anyio.sleep(0.2)

    remote = Remote("completed")
    async with served(polling=Polling(unavailable_timeout=30), limits=Limits(max_streams=streams)) as (server, client):
        remote.on(server)
        server.on("events", oddities)
        server.on(question, busy, free)
        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert times[1] - times[0] == pytest.approx(waited, abs=0.3)


@virtual
async def test_a_webhook_does_not_override_a_retry_after() -> None:
    """A delivery wakes the wait, which keeps to what the server asked for."""
    from cyberun_async.webhooks import WebhookEvent

    times: list[float] = []

    async def busy(exchange: Exchange) -> None:
        times.append(anyio.current_time())
        await exchange.answer(503, None, "Retry-After: 20")

    async def free(exchange: Exchange) -> None:
        times.append(anyio.current_time())
        await remote.look(exchange)

    remote = Remote("completed")
    async with served(limits=Limits(max_streams=0)) as (server, client):
        remote.on(server)
        server.on("task", busy, free)

        async def deliver() -> None:
            await anyio.sleep(1)
            client.wake(WebhookEvent(event_type="task.completed", task_id=TASK, status=TaskStatus.COMPLETED))

        async with anyio.create_task_group() as group:
            group.start_soon(deliver)
            await client.wait_for_result(TASK)

    assert times[1] - times[0] == pytest.approx(20, abs=0.1)


@virtual
async def test_only_a_429_beyond_the_limit_is_raised_at_once() -> None:
    """A 503 that asks for as long is waited for."""
    async with served(limits=Limits(max_streams=0)) as (server, client):
        server.on("task", answer(429, None, "Retry-After: 3600"))
        began = anyio.current_time()
        with pytest.raises(RateLimitError):
            await client.wait_for_result(TASK)
        assert anyio.current_time() - began < 1


def test_submissions_are_remembered_for_a_moment() -> None:
    """Those that are too old, and more than a client needs to know, are forgotten."""
    recent = RecentSubmissions()
    recent.add("old", 0.0)
    recent.add("new", 4.0)
    assert [recent.time_of(each) for each in ("old", "new", "another")] == [0.0, 4.0, None]
    recent.add("newest", 6.0)
    assert [recent.time_of(each) for each in ("old", "new", "newest")] == [None, 4.0, 6.0]
    for number in range(MAX_REMEMBERED):
        recent.add(str(number), 6.0)
    assert [recent.time_of(each) for each in ("newest", "0", str(MAX_REMEMBERED - 1))] == [None, 6.0, 6.0]
