"""A result that can be read is reported in time, whatever the stream says or does not say."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from itertools import pairwise

import anyio
import httpx
import pytest
from support.scripted import (
    COMPLETED,
    END,
    SSE_HEAD,
    TASK,
    Exchange,
    Handler,
    Remote,
    answer,
    chunk,
    event,
    hold,
    status_event,
)
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import (
    APIError,
    AsyncClient,
    AuthenticationError,
    CompletedEvent,
    DecodeError,
    Limits,
    NotFoundError,
    Polling,
    ProgressEvent,
    TaskStatus,
    UnknownEvent,
)
from cyberun_async._protocol.hints import says_end
from cyberun_async._wait.list_plan import LIST_THRESHOLD
from cyberun_async._wait.state import MAX_READ_AHEAD

OTHER = "019abc12-9012-7890-abcd-000000000000"


def after(seconds: float, handler: Handler) -> Handler:
    """Answer after a time."""

    async def handle(exchange: Exchange) -> None:
        await anyio.sleep(seconds)
        await handler(exchange)

    return handle


def stream(every: float, make: Callable[[int], bytes], *first: bytes) -> Handler:
    """Send an event after the other, for ever."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for each in first:
            await exchange.send(each)
        for number in range(100_000):
            await exchange.send(make(number))
            await anyio.sleep(every)

    return handler


def progress(number: int) -> bytes:
    return event("progress", step_current=number)


async def took(work: Callable[[], object]) -> float:
    """Give the seconds that something takes."""
    began = anyio.current_time()
    await work()  # type: ignore[misc]
    return anyio.current_time() - began


# A slow API beside a busy stream


@table("every", [0.05, 0.4, 0.9])
@table("latency", [0.1, 0.8, 3.0, 10.0])
@virtual
async def test_no_poll_is_starved(latency: float, every: float) -> None:
    """However busy the stream and however slow the API, a poll that was cut off once is let land."""
    remote = Remote("completed")
    async with served() as (server, client):
        remote.on(server)
        server.on("task", after(latency, remote.look))
        server.on("result", after(latency, remote.result))
        server.on("events", after(latency, stream(every, progress)))

        seconds = await took(lambda: client.wait_for_result(TASK))

    # The stream opens, a poll is cut off after a second, another lands, and so it is with the result.
    assert seconds <= 3 * latency + 2 * 1.0 + 1.0


@virtual
async def test_an_event_is_held_back_once() -> None:
    """`events()` holds the next event back for a poll that was cut off before, and then hands events out as they come."""
    remote, times = Remote("running"), []
    async with served(polling=Polling(interval=3, interval_while_streaming=3)) as (server, client):
        remote.on(server)
        server.on("task", after(2.0, remote.look))
        server.on("events", stream(0.5, progress))
        async with client.events(TASK) as events:
            async for each in events:
                times.append(anyio.current_time())
                if isinstance(each, ProgressEvent) and each.step_current == 30:
                    break

    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) <= 2.1
    # One for each poll, of which there is one an interval.
    assert sum(gap > 1.0 for gap in gaps) <= 1 + sum(gaps) / 3


@table("own", [False, True], ids=["patient", "by a client of ones own"])
@virtual
async def test_the_end_waits_for_no_poll(*, own: bool) -> None:
    """A terminal event is handed out at once, though an event before it is held back for a poll that hangs."""

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for number in range(5):
            await anyio.sleep(0.4)
            await exchange.send(progress(number))
        await exchange.send(COMPLETED + END)

    async with served() as (server, client), httpx.AsyncClient(verify=False) as http:
        other = AsyncClient("sk-test", base_url=server.base_url, http_client=http)
        server.on("task", after(20.0, Remote("running").look))
        server.on("result", Remote("completed").result)
        server.on("events", events)

        async with other:
            seconds = await took(lambda: (other if own else client).wait_for_result(TASK))

    # A stream that cannot be left without being broken is not read ahead.
    assert seconds == pytest.approx(21.0 if own else 2.0, abs=1.0 if own else 0.3)


@virtual
async def test_what_is_read_ahead_is_bounded() -> None:
    """A flood of events behind one that is held back stays where it is."""
    remote, seen = Remote("running"), []
    async with served(polling=Polling(interval=3, interval_while_streaming=3)) as (server, client):
        remote.on(server)
        server.on("task", after(2 * MAX_READ_AHEAD * 0.05, remote.first("completed", remote.look)))
        server.on("events", stream(0.05, progress))

        await client.wait_for_result(TASK, on_event=seen.append)

    assert seen[-1].name == "completed"
    steps = [each.step_current for each in seen if isinstance(each, ProgressEvent)]
    assert steps == list(range(len(steps)))
    assert len(steps) == MAX_READ_AHEAD


@virtual
async def test_polls_of_all_are_not_starved() -> None:
    """Where many waits with busy streams share slow lists, each hears of its end, by a poll of its own at the latest."""
    ids = [f"task-{number}" for number in range(LIST_THRESHOLD + 2)]

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for number in range(100_000):
            fields = f'{{"task_id": "{exchange.id}", "step_current": {number}}}'
            await exchange.send(chunk(f"event: progress\ndata: {fields}\n\n".encode()))
            await anyio.sleep(0.4)

    async def tasks(exchange: Exchange) -> None:
        await anyio.sleep(0.8)
        await exchange.answer(200, {"task_list": [], "page_meta": {"total_count": 0}})

    remote, done = Remote("completed"), []
    async with served(polling=Polling(interval=1, interval_while_streaming=1)) as (server, client):
        server.on("events", events)
        server.on("tasks", tasks)
        # At first all of them run; then the only way to learn of the end is one that takes longer than an event.
        server.on("task", after(0.01, Remote("running").look))
        server.on("result", after(0.8, remote.result))

        async def wait(task_id: str) -> None:
            done.append((await client.wait_for_result(task_id)).id)

        async def end() -> None:
            await anyio.sleep(3)
            server.on("task", after(0.8, remote.look))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(end)
                for task_id in ids:
                    group.start_soon(wait, task_id)

    assert sorted(done) == sorted(ids)


@virtual
async def test_what_a_failing_poll_calls_for_lands() -> None:
    """Events do not cut the fetch of the result for ever that takes the place of polls which have failed for too long."""
    async with served(polling=Polling(interval=0.3, unavailable_timeout=1.5)) as (server, client):
        server.on("task", after(0.5, answer(502)))
        server.on("result", after(0.5, answer(502)))
        server.on("events", stream(0.4, progress))
        with anyio.fail_after(40), pytest.raises(APIError) as caught:
            await client.wait_for_result(TASK)

    assert caught.value.status == 502
    assert len(server.requests) < 30


@virtual
async def test_the_evidence_for_a_result_lands() -> None:
    """Nor do they cut the poll that has to say how a task ended, where its result does not."""
    async with served() as (server, client):
        server.on("task", Remote("running").look, after(1.0, Remote("completed").look))
        server.on("result", after(1.0, answer(200, {"id": TASK, "completed_at": "2026-02-01T14:35:00Z"})))
        server.on("events", stream(0.4, lambda number: event("progress", step_current=number, status="completed")))

        with anyio.fail_after(40):
            seconds = await took(lambda: client.wait_for_result(TASK))

    assert seconds <= 6.0


# A terminal status where none is expected


@table(
    "told",
    [
        pytest.param(status_event("completed"), id="a status event"),
        pytest.param(event("progress", progress=1.0, status="completed"), id="progress"),
        pytest.param(event("done", task_status="completed"), id="an event that nobody knows"),
        pytest.param(event("error", message="late", status="completed"), id="an error"),
    ],
)
@table("since", [0.1, 10.0])
@virtual
async def test_a_terminal_status_anywhere_has_the_result_fetched_at_once(told: bytes, since: float) -> None:
    """On a stream that stays open, whatever event says that the task has ended has the result read."""

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD + status_event("running"))
        await anyio.sleep(since)
        remote.status = "completed"
        await exchange.send(told)
        await exchange.gone()

    remote, seen = Remote("running"), []
    async with served() as (server, client):
        remote.on(server)
        server.on("events", events)
        seconds = await took(lambda: client.wait_for_result(TASK, on_event=seen.append))

    assert seconds == pytest.approx(since, abs=0.2)
    assert [each.name for each in seen if each.is_terminal] == ["completed"]


@virtual
async def test_a_terminal_status_that_is_wrong() -> None:
    """The result has the last word: the wait goes on, and polls no more often than its interval for it."""
    words = ["completed", "running"]
    remote, seen = Remote("running"), []
    async with served() as (server, client):
        remote.on(server)
        server.on("events", stream(0.1, lambda number: status_event(words[number % 2])))
        with anyio.move_on_after(60):
            await client.wait_for_result(TASK, on_event=seen.append)

    assert not any(each.is_terminal for each in seen)
    assert len(server.requests) <= 2 * 60


@table(
    ("data", "is_end"),
    [
        pytest.param('{"task_status": "failed"}', True, id="another name"),
        pytest.param('{"status": "running"}', False, id="one that is not terminal"),
        pytest.param('{"status": 3}', False, id="no text"),
        pytest.param('["status"]', False, id="no object"),
        pytest.param('"status": ', False, id="no JSON"),
        pytest.param('{"message": "completed"}', False, id="no status"),
    ],
)
def test_hints(data: str, *, is_end: bool) -> None:
    """A terminal status is found in the data of an event, whatever else that is."""
    event = UnknownEvent(task_id=TASK, name="done", data=data)

    assert says_end(event, data) == is_end


# Answers about another task


@table("stays", [1, 1000], ids=["once", "for ever"])
@virtual
async def test_the_result_of_another_task(stays: int) -> None:
    """It is no answer: it is asked for again, and after the patience it is a `DecodeError`."""

    async def other(exchange: Exchange) -> None:
        await exchange.answer(200, {"id": OTHER, "task_status": "completed", "task_output": {"n": "theirs"}})

    remote, outcomes = Remote("completed"), []
    async with served(polling=Polling(unavailable_timeout=10)) as (server, client):
        remote.on(server)
        server.on("events", hold(SSE_HEAD))
        server.on("result", *[other] * stays, remote.result)
        try:
            outcomes.append((await client.wait_for_result(TASK)).id)
        except DecodeError as error:
            outcomes.append("about another task" in error.problem)

    assert outcomes == [TASK if stays == 1 else True]


@virtual
async def test_a_single_call_about_another_task() -> None:
    """`tasks.get()` and `tasks.result()` raise at once."""
    async with served() as (server, client):
        server.on("task", answer(200, {"id": OTHER, "task_status": "running"}))
        server.on("result", answer(200, {"id": OTHER, "task_status": "completed"}))
        for call in (client.tasks.get, client.tasks.result):
            with pytest.raises(DecodeError, match=OTHER) as caught:
                await call(TASK)
            assert caught.value.task_id == TASK


@virtual
async def test_an_id_in_capitals() -> None:
    """It is the same id."""

    async def events(exchange: Exchange) -> None:
        fields = f'{{"task_id": "{TASK.upper()}", "output": {{}}}}'
        await exchange.send(SSE_HEAD + chunk(f"event: completed\ndata: {fields}\n\n".encode()) + END)

    async with served() as (server, client):
        server.on("task", answer(200, {"id": TASK.upper(), "task_status": "running"}))
        server.on("result", answer(200, {"id": TASK.upper(), "task_status": "completed"}))
        server.on("events", events)

        assert (await client.wait_for_result(TASK)).status == TaskStatus.COMPLETED


@pytest.mark.parametrize(
    ("task_id", "given"),
    [
        pytest.param("7", {"id": 7}, id="a number"),
        pytest.param("ABC-7", {"id": "abc-7"}, id="in another case"),
        pytest.param("7", {}, id="none"),
        pytest.param("7", {"id": None}, id="null"),
        pytest.param("7", {"id": ""}, id="empty"),
    ],
)
@pytest.mark.parametrize("stream", ["told", "mute"])
@virtual
async def test_ids_that_are_the_same(task_id: str, given: dict[str, object], stream: str) -> None:
    """Number or text, upper or lower case, or none at all: the answer is about the task that was asked about."""
    named = {"task_id": given["id"]} if "id" in given else {}
    told = chunk(f"event: completed\ndata: {json.dumps({**named, 'status': 'completed', 'output': {}})}\n\n".encode())
    async with served() as (server, client):
        server.on("task", answer(200, {**given, "task_status": "running" if stream == "told" else "completed"}))
        server.on("result", answer(200, {**given, "task_status": "completed", "task_output": {}}))
        server.on("events", hold(SSE_HEAD + told) if stream == "told" else hold(SSE_HEAD))
        seconds = await took(lambda: client.wait_for_result(task_id))

    assert seconds <= 0.1
    assert server.kinds().count("events") == 1


@virtual
async def test_events_of_another_task(caplog: pytest.LogCaptureFixture) -> None:
    """They are dropped, with one warning, and the one that ends the other task does not end the stream."""
    caplog.clear()

    async def events(exchange: Exchange) -> None:
        def of_another(name: str) -> bytes:
            return chunk(f'event: {name}\ndata: {{"task_id": "{OTHER}", "status": "{name}"}}\n\n'.encode())

        await exchange.send(SSE_HEAD + of_another("progress") + of_another("completed"))
        await anyio.sleep(1)
        await exchange.send(event("progress", progress=0.5))
        await anyio.sleep(1)
        remote.status = "completed"
        await exchange.send(COMPLETED + END)

    remote, seen = Remote("running"), []
    async with served() as (server, client):
        remote.on(server)
        server.on("events", events)
        await client.wait_for_result(TASK, on_event=seen.append)

    assert [each.name for each in seen if each.name != "status"] == ["progress", "completed"]
    assert {each.task_id for each in seen} == {TASK}
    assert server.kinds().count("events") == 1
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert warnings == [
        f"task {TASK}: an event about task {OTHER} was dropped",
        f"task {TASK}: 2 events of its stream were about another task",
    ]


@virtual
async def test_a_flood_of_unreadable_events_is_not_one_of_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """There is one warning for a stream and kind, and a count at its end."""
    caplog.clear()
    remote = Remote("running")

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for _ in range(500):
            await exchange.send(chunk(b"event: status\ndata: {oops\n\n"))
            await anyio.sleep(0.01)
        remote.status = "completed"
        await exchange.gone()

    async with served() as (server, client):
        remote.on(server)
        server.on("events", events)
        await client.wait_for_result(TASK)

    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"task {TASK}: an event could not be read")
    assert warnings[1] == f"task {TASK}: 500 events of its stream could not be read"


# A proxy that withholds the headers


@virtual
async def test_a_stream_that_does_not_answer() -> None:
    """A task that ended long ago is known after half a second."""
    async with served() as (server, client):
        Remote("completed").on(server)
        server.on("events", hold())

        assert await took(lambda: client.wait_for_result(TASK)) == pytest.approx(0.5, abs=0.1)


@table("how", ["submit", "workflows.run", "run"])
@virtual
async def test_a_task_that_was_just_submitted_is_not_polled_so_soon(how: str) -> None:
    """It can hardly have ended, so the stream has an interval to answer."""
    async with served() as (server, client):
        Remote("completed").on(server)
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("events", hold())
        began = anyio.current_time()
        if how == "run":
            await client.run("demo", validate=False)
        elif how == "submit":
            await client.wait_for_result(await client.submit("demo", validate=False))
        else:
            await client.wait_for_result(await client.workflows.run("demo"))
        seconds = anyio.current_time() - began

    assert 3.0 <= seconds <= 3.7


@table("ends", [0.4, 0.6, 0.9, 1.1, 1.5])
@virtual
async def test_nothing_that_ends_in_between_is_missed(ends: float) -> None:
    """Whenever the task ends around a stream that opens late and says nothing of the past, a poll after that tells."""
    remote = Remote("running")

    async def events(exchange: Exchange) -> None:
        await anyio.sleep(1.0)
        await exchange.send(SSE_HEAD)
        if ends > 1.0:
            await anyio.sleep(ends - 1.0)
            await exchange.send(COMPLETED)
        await exchange.gone()

    async def end() -> None:
        await anyio.sleep(ends)
        remote.status = "completed"

    async with served() as (server, client), anyio.create_task_group() as group:
        remote.on(server)
        server.on("task", after(0.3, remote.look))
        server.on("events", events)
        group.start_soon(end)
        seconds = await took(lambda: client.wait_for_result(TASK))

    assert seconds <= max(ends, 1.0) + 0.4


# What lags behind a submission, or behind the end


@table("streams", [0, 1])
@table("how", ["submit", "run", "map", "events"])
@virtual
async def test_a_task_that_not_all_of_the_service_knows_yet(how: str, streams: int) -> None:
    """404 of a task that was submitted here in the last seconds is asked again."""
    unknown_until = anyio.current_time() + 2.0
    remote = Remote("completed")

    def known(handler: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            await (handler if anyio.current_time() >= unknown_until else answer(404))(exchange)

        return handle

    async with served(polling=Polling(interval=0.5), limits=Limits(max_streams=streams)) as (server, client):
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("task", known(remote.look))
        server.on("result", known(remote.result))
        server.on("events", known(hold(SSE_HEAD)))
        if how == "run":
            status = (await client.run("demo", validate=False)).status
        elif how == "map":
            (outcome,) = await client.map("demo", [{}], validate=False).gather()
            assert outcome.result is not None
            status = outcome.result.status
        elif how == "submit":
            status = (await client.wait_for_result(await client.submit("demo", validate=False))).status
        else:
            events = [each async for each in client.events(await client.submit("demo", validate=False))]
            assert isinstance(events[-1], CompletedEvent)
            status = events[-1].status

    assert status == TaskStatus.COMPLETED
    assert server.kinds().count("task") <= 12


@virtual
async def test_a_task_that_is_not_found_for_longer() -> None:
    """A few seconds after the submission, 404 counts."""
    async with served() as (server, client):
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("task", answer(404))
        server.on("events", answer(404))
        began = anyio.current_time()
        with pytest.raises(NotFoundError):
            await client.run("demo", validate=False)
        seconds = anyio.current_time() - began

    assert 5.0 <= seconds <= 5.0 + 3.6


@virtual
async def test_a_task_that_never_was() -> None:
    """It is a `NotFoundError` at once, whatever else was submitted."""
    async with served() as (server, client):
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("task", answer(404))
        server.on("events", answer(404))
        await client.submit("demo", validate=False)
        with pytest.raises(NotFoundError):
            await client.wait_for_result(OTHER)

    assert server.kinds() == ["run", "events", "task"]


@table("status", [400, 404, 409])
@table("told", [hold(SSE_HEAD), hold(SSE_HEAD + COMPLETED), hold(SSE_HEAD + status_event("completed"))])
@table("lag", [1.5, 1000.0], ids=["for a moment", "for ever"])
@virtual
async def test_a_result_that_is_not_there_yet(status: int, told: Handler, lag: float) -> None:
    """Just after the end a refusal of the result is asked again with back-off, and counts only after a few seconds."""
    until = anyio.current_time() + lag
    remote, outcomes = Remote("completed"), []

    async def result(exchange: Exchange) -> None:
        await (remote.result if anyio.current_time() >= until else answer(status))(exchange)

    async with served() as (server, client):
        remote.on(server)
        server.on("result", result)
        server.on("events", told)
        began = anyio.current_time()
        try:
            outcomes.append((await client.wait_for_result(TASK)).status)
        except APIError as error:
            outcomes.append(error.status)
        seconds = anyio.current_time() - began

    assert outcomes == ["completed" if lag < 5 else status]
    assert seconds <= 1.5 + 1.6 if lag < 5 else 5.0 <= seconds <= 8.2
    assert server.kinds().count("result") <= 8


@virtual
async def test_a_result_without_a_status() -> None:
    """Where the result says nothing that is known, what said that the task has ended counts."""
    async with served() as (server, client):
        Remote("completed").on(server)
        server.on("events", hold(SSE_HEAD))
        server.on("result", answer(200, {"id": TASK, "task_output": None}))

        assert (await client.wait_for_result(TASK)).status == TaskStatus.COMPLETED


# A proxy's page in the place of an answer


def page(status: int, *headers: str, body: bytes = b"<!DOCTYPE html><p>Just a moment...") -> Handler:
    return answer(status, body, *headers)


HTML = "Content-Type: text/html; charset=utf-8"

PAGES = [
    pytest.param(page(403, HTML), id="403"),
    pytest.param(page(401, HTML), id="401"),
    pytest.param(page(404, HTML), id="404"),
    pytest.param(page(503, HTML), id="503"),
    pytest.param(page(403), id="without a content type"),
    pytest.param(page(403, "cf-mitigated: challenge", body=b""), id="a challenge"),
    pytest.param(page(302, "Location: https://login.example/"), id="a redirect"),
    pytest.param(page(200, HTML), id="200"),
]


@table("refusal", PAGES)
@table("where", ["task", "result", "events"])
@virtual
async def test_a_page_in_the_middle_of_a_wait(refusal: Handler, where: str) -> None:
    """It is not the API's refusal, and passes like a 502."""
    remote = Remote("running")
    usual: dict[str, Handler] = {"task": remote.look, "result": remote.result, "events": hold(SSE_HEAD)}

    async with served() as (server, client):
        remote.on(server)
        server.on("events", usual["events"])
        server.on("task", remote.look, remote.first("completed", remote.look))
        server.on(where, *([remote.look] if where == "task" else []), refusal, refusal, usual[where])
        if where == "task":
            server._scripts["task"] = [remote.look, refusal, refusal, remote.first("completed", remote.look)]

        assert (await client.wait_for_result(TASK)).status == TaskStatus.COMPLETED


@table("refusal", PAGES[:3])
@virtual
async def test_a_page_for_ever(refusal: Handler) -> None:
    """After the patience it is raised."""
    async with served(polling=Polling(unavailable_timeout=20)) as (server, client):
        server.on("events", hold(SSE_HEAD))
        server.on("task", Remote("running").look, refusal)
        began = anyio.current_time()
        with pytest.raises(APIError) as caught:
            await client.wait_for_result(TASK)

        assert caught.value.is_page
        assert anyio.current_time() - began >= 20


@table(
    "refusal",
    [
        pytest.param(answer(401, b""), id="empty"),
        pytest.param(answer(401, b"unauthorized", "Content-Type: text/plain"), id="plain text"),
        pytest.param(answer(401, {"error_message": "revoked"}), id="the API's own form"),
        pytest.param(answer(403, {"error_message": "no"}, "Content-Type: application/json"), id="403"),
    ],
)
@virtual
async def test_a_refusal_in_the_middle_of_a_wait(refusal: Handler) -> None:
    """What is no page ends the wait at once."""
    async with served() as (server, client):
        server.on("events", hold(SSE_HEAD))
        server.on("task", Remote("running").look, refusal)
        with pytest.raises(APIError):
            await client.wait_for_result(TASK)

    assert server.kinds() == ["events", "task", "task"]


@virtual
async def test_a_page_instead_of_the_first_answer() -> None:
    """Where the API has never answered this client, a page is an error at once: `base_url` may be wrong."""
    async with served() as (server, client):
        server.on("events", page(401, HTML))
        server.on("task", page(401, HTML))
        with pytest.raises(AuthenticationError, match="proxies and firewalls") as caught:
            await client.wait_for_result(TASK)

    assert server.kinds() == ["events", "task"]
    assert "key" not in str(caught.value)
