"""A wait that listens to its stream alone: no request until a poll is due, and it hears at once what others know."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from support.scripted import (
    COMPLETED,
    END,
    SSE_HEAD,
    TASK,
    Exchange,
    Remote,
    Scripted,
    chunk,
    connected,
    event,
    hold,
    scripted,
    status_event,
)
from support.tables import table
from support.virtual import simulated, virtual

from cyberun_async import AsyncClient, Polling, Retries, TaskEvent, TaskStatus, Timeouts
from cyberun_async._protocol.pages import Page
from cyberun_async._transport.stream import Connection
from cyberun_async._wait.inquiry import PollDecision
from cyberun_async._wait.list_plan import LIST_THRESHOLD, TaskSummary
from cyberun_async._wait.poll_request import PollRequest
from cyberun_async._wait.schedule import PollSchedule
from cyberun_async._wait.shared_poller import SharedPoller
from cyberun_async.webhooks import WebhookEvent

RARELY = Polling(interval=3600, interval_while_streaming=3600)
OFTEN = Polling(interval=0.005, interval_while_streaming=0.005)

ENDED = WebhookEvent(event_type="task.completed", task_id=TASK, status=TaskStatus("completed"))


def listening(client: AsyncClient) -> list[PollRequest]:
    """Give the requests of the waits that listen."""
    registry = client._core.shared_poller.registry
    return [each for each in registry if registry.is_listening(each)]


async def is_listening(client: AsyncClient) -> None:
    """Wait until a wait has nothing to do but to listen."""
    with anyio.fail_after(5):
        while not listening(client):
            await checkpoint()


class Story:
    """An event stream whose every part is sent once the test has what came of the one before."""

    def __init__(self, server: Scripted) -> None:
        self._exchange: Exchange | None = None
        self._is_open = anyio.Event()
        server.on("events", self._open)

    async def _open(self, exchange: Exchange) -> None:
        self._exchange = exchange
        await exchange.send(SSE_HEAD)
        self._is_open.set()
        await exchange.gone()

    async def tell(self, *parts: bytes) -> None:
        await self._is_open.wait()
        assert self._exchange is not None
        # At once, since the client closes the connection when it has the last event.
        await self._exchange.send(b"".join(parts))


# Requests


@virtual
async def test_nothing_is_asked_until_a_poll_is_due() -> None:
    """After the first poll, the events of a stream come without any other request."""
    seen: list[TaskEvent] = []
    remote = Remote()
    async with simulated() as server, connected(server, polling=RARELY) as client:
        remote.on(server)
        story = Story(server)
        async with client.events(TASK) as events, anyio.create_task_group() as group:
            group.start_soon(story.tell, status_event("running"))
            seen.append(await anext(events))
            for step in range(1, 6):
                group.start_soon(story.tell, chunk(b": alive\n\n"), event("progress", progress=step / 10))
                seen.append(await anext(events))
            group.start_soon(story.tell, COMPLETED, END)
            seen += [each async for each in events]

    assert [each.name for each in seen] == ["status", *["progress"] * 5, "completed"]
    assert server.kinds() == ["events", "task"]


@virtual
async def test_a_poll_does_not_break_the_stream() -> None:
    """Polls come and go beside one and the same stream, which is listened to alone after each, and goes on as it was."""
    remote = Remote()
    has_looked_often = anyio.Event()
    looks = 0

    async def look(exchange: Exchange) -> None:
        nonlocal looks
        looks += 1
        if looks == 10:
            has_looked_often.set()
        await remote.look(exchange)

    async def events(exchange: Exchange) -> None:
        # The event is cut in two, with all the polls in between.
        await exchange.send(SSE_HEAD + status_event("running") + COMPLETED[:20])
        await has_looked_often.wait()
        await is_listening(client)
        await exchange.send(COMPLETED[20:] + END)

    async with simulated() as server, connected(server, polling=OFTEN) as client:
        remote.on(server)
        server.on("task", look)
        server.on("events", events)
        server.on("result", Remote("completed").result)

        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert server.kinds().count("events") == 1
    assert looks >= 10


@virtual
@table("polling", [OFTEN, RARELY], ids=["with polls in between", "without"])
async def test_a_silent_stream_is_opened_anew(polling: Polling) -> None:
    """A stream without a byte for `Timeouts.stream` is left for another, however many polls there were meanwhile."""
    remote = Remote()

    async def tell(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD + COMPLETED + END)

    async with simulated() as server, connected(server, polling=polling, timeouts=Timeouts(stream=0.05)) as client:
        remote.on(server)
        server.on("events", hold(SSE_HEAD), remote.first("completed", tell))
        server.on("result", Remote("completed").result)
        server.on("task", Remote().look)

        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert server.kinds().count("events") == 2


@virtual
async def test_by_a_client_of_ones_own() -> None:
    """By an HTTP client of the user's own, where leaving a stream would end it, polls go on beside one stream."""
    remote = Remote()
    has_looked = anyio.Event()

    async def look(exchange: Exchange) -> None:
        await remote.look(exchange)
        if server.kinds().count("task") == 5:
            has_looked.set()

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD + status_event("running"))
        await has_looked.wait()
        await exchange.send(COMPLETED + END)

    async with simulated() as server, httpx.AsyncClient(verify=False) as http:
        remote.on(server)
        server.on("task", look)
        server.on("events", events)
        server.on("result", Remote("completed").result)
        client = AsyncClient(
            "sk-test", base_url=server.base_url, http_client=http, polling=OFTEN, retries=Retries(budget=0)
        )
        async with client:
            result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert server.kinds().count("events") == 1


# What others know


@virtual
async def test_a_notification_wakes_who_listens() -> None:
    """A webhook's word makes a listening wait poll at once, although no poll is due for an hour."""
    results = []
    remote = Remote()
    async with simulated() as server, connected(server, polling=RARELY) as client:
        remote.on(server)
        server.on("events", hold(SSE_HEAD + status_event("running")))

        async def wait() -> None:
            results.append(await client.wait_for_result(TASK))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await is_listening(client)
            remote.status = "completed"
            client.wake(ENDED)

    assert results[0].status == TaskStatus.COMPLETED
    assert server.kinds() == ["events", "task", "task", "result"]


@virtual
async def test_a_notification_ahead_of_the_listening() -> None:
    """Word that comes while a wait does something else makes it poll as soon as it would listen."""
    remote = Remote()

    async def look(exchange: Exchange) -> None:
        await remote.look(exchange)
        remote.status = "completed"
        client.wake(ENDED)

    async with simulated() as server, connected(server, polling=RARELY) as client:
        remote.on(server)
        server.on("task", look)
        server.on("events", hold(SSE_HEAD))

        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert server.kinds() == ["events", "task", "task", "result"]


def wake(client: AsyncClient) -> None:
    """Hear of it by a webhook."""
    client.wake(ENDED)


def sweep(client: AsyncClient) -> None:
    """Hear of it by the polls of others, as far as this wait is concerned."""
    for look in listening(client):
        look.decide(PollDecision.FETCH_RESULT)


@virtual
@pytest.mark.parametrize("hear", [wake, sweep])
async def test_word_beside_an_event(hear: Callable[[AsyncClient], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Word that comes together with an event is not lost by it: the event is told, and the next thing is a poll."""
    receive = Connection.receive
    remote = Remote()

    async def receive_and_hear(connection: Connection, **options: Any) -> object:
        events = await receive(connection, **options)
        if any(each.event == "progress" for each in events or ()):
            remote.status = "completed"
            hear(client)
        return events

    monkeypatch.setattr(Connection, "receive", receive_and_hear)
    seen: list[TaskEvent] = []
    async with simulated() as server, connected(server, polling=RARELY) as client:
        remote.on(server)
        server.on("events", hold(SSE_HEAD, status_event("running"), event("progress", progress=0.5)))

        result = await client.wait_for_result(TASK, on_event=seen.append)

    assert result.status == TaskStatus.COMPLETED
    assert [each.name for each in seen] == ["status", "progress", "completed"]


@virtual
@table(
    ("told", "ends"),
    [
        pytest.param(PollDecision.FETCH_RESULT, True, id="it is in no list any more"),
        pytest.param(PollDecision.FETCH_RESULT, False, id="it is in no list, and has not ended"),
        pytest.param(TaskStatus("hibernating"), False, id="another status, which its stream tells a little later"),
    ],
)
async def test_a_sweep_of_others_wakes_who_listens(told: PollDecision | TaskStatus, *, ends: bool) -> None:
    """What the polls of others show reaches a listening wait at once; the stream goes on where that is not the end."""
    seen: list[TaskEvent] = []
    results = []
    remote = Remote()
    async with simulated() as server, connected(server, polling=RARELY) as client:
        remote.on(server)
        story = Story(server)

        async def wait() -> None:
            results.append(await client.wait_for_result(TASK, on_event=seen.append))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await story.tell(status_event("running"))
            await is_listening(client)
            remote.status = "completed" if ends else "running"
            for look in listening(client):
                look.decide(told)
            if not ends:
                await anyio.wait_all_tasks_blocked()
                await story.tell(status_event("hibernating"))
                remote.status = "completed"
                await story.tell(COMPLETED, END)

    assert results[0].status == TaskStatus.COMPLETED
    assert [str(each.status) for each in seen] == (  # type: ignore[union-attr]
        ["running", "completed"] if ends else ["running", "hibernating", "completed"]
    )
    assert server.kinds().count("events") == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    "is_first",
    [
        pytest.param(True, id="before"),
        pytest.param(
            False,
            id="after",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 11), reason="asyncio makes one cancellation of two there, and tells nobody"
            ),
        ),
    ],
)
async def test_cancelled_by_asyncio_in_the_same_turn(*, is_first: bool, anyio_backend: str) -> None:
    """A `task.cancel()` that comes together with word of others is not swallowed, and leaves nothing behind."""
    async with scripted() as server, connected(server, polling=RARELY) as client:
        Remote().on(server)
        server.on("events", hold(SSE_HEAD + status_event("running")))
        task = asyncio.ensure_future(client.wait_for_result(TASK))
        await is_listening(client)
        if is_first:
            task.cancel()
        client.wake(ENDED)
        if not is_first:
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not listening(client)


# Many


class ListPoller:
    """A transport whose lists of tasks show some, all of them running."""

    has_free_stream = False
    on_free_stream = staticmethod(lambda: None)

    def __init__(self, *shown: str) -> None:
        self.shown = shown
        self.requests = 0

    async def send(self, _: object) -> Page[TaskSummary]:
        self.requests += 1
        await checkpoint()
        running = tuple(TaskSummary(each, TaskStatus.RUNNING) for each in self.shown)
        return Page(items=running, total=len(running))


def look_of(number: int, due: float, known: TaskStatus = TaskStatus.RUNNING) -> PollRequest:
    """Plan a poll so many seconds from now."""
    schedule = PollSchedule(Polling(interval=10, interval_while_streaming=10))
    schedule.next_poll_at = anyio.current_time() + due
    return PollRequest(f"task-{number}", known, schedule)


@table(
    ("number", "due", "told"),
    [
        pytest.param(LIST_THRESHOLD + 1, 1.0, PollDecision.FETCH_RESULT, id="many whose polls are nearly due"),
        pytest.param(LIST_THRESHOLD - 1, 1.0, None, id="few"),
        pytest.param(LIST_THRESHOLD + 1, 9.0, None, id="many whose polls are not due"),
    ],
)
async def test_a_sweep_takes_along_who_listens(number: int, due: float, told: PollDecision | None) -> None:
    """A poll that is due is made for all the waits that listen and whose poll is nearly due, where they are many."""
    transport: Any = ListPoller()
    shared_poller = SharedPoller(transport, Polling(interval=10, interval_while_streaming=10))
    looks = [look_of(each, due) for each in range(number)]
    scopes = [shared_poller.listen(look) for look in looks]

    assert await shared_poller.decide(look_of(number, 0.0)) is (told or PollDecision.POLL)
    assert {look.decision for look in looks} == {told}
    assert [scope.cancel_called for scope in scopes] == [told is not None] * number
    assert (transport.requests > 0) is (told is not None)
    for look in looks:
        shared_poller.listened(look)
    assert not shared_poller.registry


async def test_a_sweep_without_news() -> None:
    """A wait that listens goes on with it where a sweep shows no other status than before, and polls later."""
    count = LIST_THRESHOLD + 1
    transport: Any = ListPoller(*(f"task-{number}" for number in range(count)))
    shared_poller = SharedPoller(transport, Polling(interval=10, interval_while_streaming=10))
    looks = [look_of(number, 1.0) for number in range(count)]
    planned = looks[0].due
    scopes = [shared_poller.listen(look) for look in looks]

    assert await shared_poller.decide(look_of(count, 0.0)) is PollDecision.FETCH_RESULT
    assert not any(scope.cancel_called for scope in scopes)
    assert all(look.decision is None and look.due > planned + 5 for look in looks)
    assert not [each for each in shared_poller.registry if not shared_poller.registry.is_listening(each)]
