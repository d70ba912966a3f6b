"""`EventStream`: an async generator and a context manager that tells a task's whole story, whatever its stream does."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from support.scripted import (
    COMPLETED,
    END,
    SSE_HEAD,
    TASK,
    Exchange,
    Handler,
    Remote,
    answer,
    at_work,
    chunk,
    connected,
    event,
    hold,
    scripted,
    send,
    status_event,
)
from support.tables import table
from support.virtual import simulated, virtual

from cyberun_async import (
    CancelledEvent,
    CompletedEvent,
    ErrorEvent,
    EventStream,
    FailedEvent,
    NotFoundError,
    Polling,
    ProgressEvent,
    StatusEvent,
    TaskEvent,
    UnknownEvent,
)
from cyberun_async._protocol import endpoints
from cyberun_async._wait import schedule

STORY = [status_event("running"), event("progress", progress=0.5, step_current=1, step_total=2), COMPLETED, END]
TOLD = ["status", "progress", "completed"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what a test would only sit out."""
    monkeypatch.setattr(schedule, "FIRST_RECONNECT", 0.01)


def raw(name: str, data: str) -> bytes:
    """Write an event with any data, as a chunk."""
    return chunk(f"event: {name}\ndata: {data}\n\n".encode())


async def names(events: EventStream) -> list[str]:
    """Take what is left of a stream, and give the names."""
    return [each.name async for each in events]


# What is told


async def test_each_kind_of_event_has_its_class() -> None:
    """The events come as frozen values of their own classes, and `match` tells them apart."""
    remote = Remote("pending")
    story = [
        raw("status", '{"task_id":"T","status":"paused"}'),
        raw("progress", '{"task_id":"T","progress":0.35,"current_node":"3","step_current":7,"step_total":20}'),
        raw("error", '{"message":"failed to fetch task status"}'),
        raw("weather", "rain"),
        raw("failed", '{"task_id":"T","status":"failed","error":"out of memory"}'),
    ]
    async with scripted() as server, connected(server, polling=Polling()) as client:
        remote.on(server)
        server.on("events", send(SSE_HEAD, *story, END))
        seen = []
        async with client.events("T") as events:
            async for each in events:
                match each:
                    case StatusEvent(status=status, source=source):
                        seen.append((str(status), source))
                    case ProgressEvent(progress=progress, step_total=total):
                        seen.append((progress, total))
                    case ErrorEvent(task_id=task_id, message=message):
                        seen.append((task_id, message))
                    case UnknownEvent(name=name, data=data):
                        seen.append((name, data))
                    case FailedEvent(error=error):
                        seen.append(("failed", error))
                    case CompletedEvent() | CancelledEvent():
                        seen.append(("otherwise", each))

    assert seen == [
        ("pending", "poll"),
        ("paused", "stream"),
        (0.35, 20),
        ("T", "failed to fetch task status"),
        ("weather", "rain"),
        ("failed", "out of memory"),
    ]


async def test_polling_tells_the_same_classes() -> None:
    """Where there is no stream, the statuses and the end come from polls, the end with its output."""
    remote = Remote("queued")
    async with scripted() as server, connected(server) as client:
        remote.on(server)
        server.on("task", remote.look, remote.first("running", remote.look), remote.first("completed", remote.look))
        server.on("events", answer(403))
        async with client.events(TASK) as events:
            seen: list[TaskEvent] = [each async for each in events]

    assert seen == [StatusEvent(task_id=TASK, status=status) for status in (_status("queued"), _status("running"))] + [
        CompletedEvent(task_id=TASK, output={"storage_key": "a.png"})
    ]
    assert {each.source for each in seen} == {"poll"}


def _status(word: str) -> Any:
    from cyberun_async import TaskStatus

    return TaskStatus(word)


@table(
    "oddity",
    [
        pytest.param(raw("progress", "{"), id="not JSON"),
        pytest.param(raw("status", "[1]"), id="not an object"),
        pytest.param(raw("status", '{"status": ["running"]}'), id="a status of another type"),
        pytest.param(raw("progress", ""), id="no data"),
        pytest.param(chunk(b"event: progress\n\n"), id="no data field"),
        pytest.param(chunk(b": ping\n\n"), id="a comment"),
        pytest.param(raw("status", '{"status": "running"}'), id="the status that is known"),
    ],
)
async def test_what_says_nothing_new_is_dropped(oddity: bytes) -> None:
    """It neither ends the stream nor reaches the user."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", send(SSE_HEAD, STORY[0], oddity, *STORY[1:]))
        async with client.events(TASK) as events:
            assert await names(events) == TOLD


async def test_an_id_that_is_null_counts_as_missing() -> None:
    """The event gets the id of the task whose stream it came on."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", send(SSE_HEAD, raw("completed", '{"task_id": null}'), END))
        async with client.events(TASK) as events:
            # The first poll may come too late to be an event of its own.
            *_, end = [each async for each in events]
    assert (type(end), end.task_id) == (CompletedEvent, TASK)


@pytest.mark.parametrize("oddity", [raw("status", "{"), raw("error", '{"message":"no"}')], ids=["malformed", "error"])
async def test_an_oddity_calls_for_a_poll(oddity: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed event or an `error` event has the task polled, long before the next poll is due."""
    monkeypatch.setattr(schedule, "MIN_POLL_DISTANCE", 0.0)
    remote = Remote()

    async def events_of(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD + STORY[0])
        remote.status = "completed"
        await exchange.send(oddity)
        await exchange.gone()

    async with scripted() as server, connected(server, polling=Polling(interval=1000)) as client:
        server.on("task", Remote().look, remote.look)
        server.on("result", remote.result)
        server.on("events", events_of)
        async with client.events(TASK) as events:
            assert (await names(events))[-1] == "completed"


async def test_a_stream_of_oddities_is_no_stream_of_polls() -> None:
    """However many malformed events come at once, the polls keep their distance."""
    async with scripted() as server, connected(server, polling=Polling(interval=1000)) as client:
        Remote().on(server)
        bad = [raw("status", "{")] * 200
        server.on("events", send(SSE_HEAD, STORY[0], *bad, *STORY[1:]))
        async with client.events(TASK) as events:
            assert await names(events) == TOLD

    assert server.kinds().count("task") <= 2


# Reconnecting


async def reconnecting(client: Any, server: Any, *streams: Handler) -> list[tuple[str, object]]:
    """Follow a task whose streams are given, one after the other."""
    server.on("events", *streams)
    async with client.events(TASK) as events:
        return [(each.name, getattr(each, "progress", getattr(each, "status", None))) async for each in events]


async def test_what_was_told_before_a_break_is_not_told_again() -> None:
    """A server that tells the whole story to each new stream, and repeats itself, is heard once."""
    half = event("progress", progress=0.5)
    past = [status_event(word) for word in ("pending", "queued", "running")]
    async with scripted() as server, connected(server, polling=Polling()) as client:
        Remote().on(server)
        seen = await reconnecting(
            client,
            server,
            send(SSE_HEAD, half, half, END),
            send(SSE_HEAD, *past, half, event("progress", progress=0.75), END),
            send(SSE_HEAD, *past, half, event("progress", progress=0.75), COMPLETED, END),
        )

    assert seen == [("status", "running"), ("progress", 0.5), ("progress", 0.75), ("completed", "completed")]


async def test_a_running_stream_may_go_back() -> None:
    """A task that the server starts anew goes back on its stream, and so it is told."""
    async with scripted() as server, connected(server, polling=Polling()) as client:
        Remote().on(server)
        seen = await reconnecting(
            client,
            server,
            send(
                SSE_HEAD,
                event("progress", progress=0.5),
                status_event("queued"),
                event("progress", progress=0.1),
                COMPLETED,
            ),
        )

    assert [what for _, what in seen] == ["running", 0.5, "queued", 0.1, "completed"]


@pytest.mark.parametrize(
    ("ids", "sent"),
    [
        pytest.param(b"", None, id="no id"),
        pytest.param(b"id: 7\n", "7", id="an id"),
        pytest.param(b"id: a b\n", "a b", id="with a space inside"),
        pytest.param(b"id: a\tb\n", None, id="that no header can hold"),
    ],
)
async def test_the_last_id_goes_into_the_next_request(ids: bytes, sent: str | None) -> None:
    """Where a deployment sends `id:`, it gets `Last-Event-ID` on the next connect."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        numbered = chunk(ids + b'event: progress\ndata: {"progress":0.1}\n\n')
        await reconnecting(client, server, send(SSE_HEAD, numbered, END), send(SSE_HEAD, COMPLETED, END))

    first, second = (each.headers.get("last-event-id") for each in server.requests if each.kind == "events")
    assert (first, second) == (None, sent)


@virtual
async def test_retry_holds_the_next_stream_back() -> None:
    """Where a deployment sends `retry:`, no stream is opened sooner, and polls go on meanwhile."""
    remote = Remote()
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", remote.look, remote.look, remote.look, remote.first("completed", remote.look))
        seen = await reconnecting(client, server, send(SSE_HEAD, chunk(b"retry: 99999999999999999999\n\n"), END))

    assert seen[-1] == ("completed", "completed")
    assert server.kinds().count("events") == 1


@virtual
async def test_the_stream_is_opened_again_in_its_time() -> None:
    """With no poll due for long, the wait goes on by the next stream once `retry:` allows it."""
    async with simulated() as server, connected(server, polling=Polling(interval=1000)) as client:
        Remote().on(server)
        again = chunk(b"retry: 300\n\n")
        seen = await reconnecting(client, server, send(SSE_HEAD, again, END), send(SSE_HEAD, COMPLETED, END))

    assert seen[-1] == ("completed", "completed")
    assert server.kinds().count("events") == 2


@virtual
async def test_retry_after_of_a_refused_stream_is_honoured() -> None:
    """A server that refuses the stream for an hour is not asked again for an hour."""
    remote = Remote()
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", *[remote.look] * 5, remote.first("completed", remote.look))
        seen = await reconnecting(client, server, answer(503, None, "Retry-After: 3600"))

    assert seen[-1] == ("completed", "completed")
    assert server.kinds().count("events") == 1


# An async generator


async def test_the_connection_is_closed_before_the_last_event_is_handed_out() -> None:
    """Leaving on it, without `async with`, leaks nothing, and then the stream is over."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", hold(SSE_HEAD, *STORY[:3]))
        events = client.events(TASK)
        async for each in events:
            if each.is_terminal:
                await server.closed("events")
                assert at_work(client) == (0, 0)
                break
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_it_is_an_async_generator() -> None:
    """It is one for `isinstance`, `aclosing` and the protocol's own methods."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", send(SSE_HEAD, *STORY))
        async with aclosing(client.events(TASK)) as events:
            assert isinstance(events, AsyncGenerator)
            assert aiter(events) is events
            assert (await events.asend(None)).name == "status"
            assert await names(events) == TOLD[1:]
        await events.aclose()
        with pytest.raises(StopAsyncIteration):
            await events.asend(None)


@pytest.mark.parametrize("thrown", [ValueError, ValueError("no")], ids=["class", "instance"])
async def test_athrow_closes_and_raises(thrown: Any) -> None:
    """What is thrown in comes out, the connection is closed, and the stream is over."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", hold(SSE_HEAD))
        events = client.events(TASK)
        await anext(events)
        with pytest.raises(ValueError):
            await events.athrow(thrown)
        await server.closed("events")
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_nothing_is_sent_before_the_first_event_is_asked_for() -> None:
    """Making, entering and leaving a stream costs no request."""
    async with scripted() as server, connected(server) as client:
        async with client.events(TASK):
            pass
        await client.events(TASK).aclose()

    assert server.requests == []


async def test_an_error_ends_the_stream() -> None:
    """It is raised once, the connection is closed, and then the stream is over."""
    async with scripted() as server, connected(server) as client:
        server.on("events", hold(SSE_HEAD))
        server.on("task", answer(404))
        events = client.events(TASK)
        with pytest.raises(NotFoundError):
            await anext(events)
        await server.closed("events")
        assert await names(events) == []


@pytest.mark.parametrize("how", ["break", "raise", "cancel"])
async def test_leaving_the_context_closes_at_once(how: str) -> None:
    """Whether by `break`, by an exception or by a cancellation."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", hold(SSE_HEAD, *STORY[:2]))
        with anyio.CancelScope() as scope:
            try:
                async with client.events(TASK) as events:
                    async for each in events:
                        if each.name == "progress":
                            if how == "break":
                                break
                            if how == "raise":
                                raise ZeroDivisionError
                            scope.cancel()
                            await checkpoint()
            except ZeroDivisionError:
                assert how == "raise"
        assert at_work(client) == (0, 0)
        await server.closed("events")

    assert scope.cancelled_caught == (how == "cancel")


@virtual
async def test_a_cancelled_step_can_be_taken_again() -> None:
    """A time limit around one step leaves the stream where it was: nothing is lost, nothing told twice."""
    async with simulated() as server, connected(server, polling=Polling()) as client:
        Remote().on(server)
        server.on("events", hold(SSE_HEAD, *STORY[:2]), hold(SSE_HEAD, *STORY[:2]), send(SSE_HEAD, *STORY))
        seen = []
        async with client.events(TASK) as events:
            while not seen or seen[-1] != "completed":
                with anyio.move_on_after(0.4) as scope:
                    seen.append((await anext(events)).name)
                if scope.cancelled_caught:
                    await server.closed("events")

    assert seen == TOLD


async def test_nothing_spans_a_yield() -> None:
    """Scopes of the consumer may open and close between steps in any order, and steps may change tasks."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", send(SSE_HEAD, *STORY))
        seen = []

        async def step() -> None:
            with anyio.fail_after(5):
                seen.append((await anext(events)).name)

        async with client.events(TASK) as events:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(step)
            async with anyio.create_task_group() as group:
                group.start_soon(step)
            await step()

    assert seen == TOLD


async def test_two_tasks_on_one_stream_are_refused() -> None:
    """The second is told so, whether it wants an event or to close; the first goes on."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", hold(SSE_HEAD))
        async with client.events(TASK) as events:
            await anext(events)
            async with anyio.create_task_group() as group:
                group.start_soon(anext, events)
                await anyio.wait_all_tasks_blocked()
                for action in (events.__anext__, events.aclose, lambda: events.athrow(ValueError)):
                    with pytest.raises(RuntimeError, match="another task is waiting"):
                        await action()
                group.cancel_scope.cancel()


async def test_a_stream_dropped_open_warns() -> None:
    """Who leaves early without `async with` learns of it by a `ResourceWarning`."""
    async with scripted() as server:
        async with connected(server) as client:
            Remote().on(server)
            server.on("events", hold(SSE_HEAD, *STORY[:2]))
            events = client.events(TASK)
            await anext(events)
            # What still ends after the first event may refer to the stream.
            await anyio.wait_all_tasks_blocked()
            watch = events._follower
            with pytest.warns(ResourceWarning, match="unclosed EventStream"):  # noqa: PT031 - the drop is two steps
                del events
                gc.collect()
            await watch.aclose()


async def test_a_connection_is_given_back_once() -> None:
    """However often it is closed, it frees one place among the streams."""
    async with scripted() as server, connected(server) as client:
        server.on("events", hold(SSE_HEAD))
        connection = await client._core.transport.open_stream(endpoints.stream_task_events(TASK))
        assert at_work(client) == (1, 1)

        await connection.aclose()
        await connection.aclose()

        assert at_work(client) == (0, 0)
