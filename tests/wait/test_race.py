"""The result comes whatever the stream and the polls go through, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import pytest
from support.sampling import some
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
    connected,
    event,
    hold,
    repeat,
    scripted,
    send,
    status_event,
)
from support.virtual import simulated, virtual

from cyberun_async import CompletedEvent, Limits, Polling, StatusEvent, TaskEvent, TaskFailed, TaskStatus
from cyberun_async._wait import follower, schedule


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what a test would only sit out."""
    monkeypatch.setattr(follower, "STREAM_LAG", 0.02)
    monkeypatch.setattr(schedule, "FIRST_RECONNECT", 0.01)
    monkeypatch.setattr(schedule, "MIN_POLL_DISTANCE", 0.02)


def reset(*data: bytes) -> Handler:
    """Send bytes, and reset the connection."""

    async def handler(exchange: Exchange) -> None:
        await send(*data)(exchange)
        exchange.reset()

    return handler


GZIP_HEAD = SSE_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

STREAMS = [
    *(pytest.param(answer(status), id=f"refused with {status}") for status in (401, 403, 404, 429, 500, 503)),
    pytest.param(answer(503, None, "Retry-After: 3600"), id="refused for an hour"),
    pytest.param(answer(200, {"a": 1}), id="another content type"),
    pytest.param(answer(204, b""), id="no content"),
    pytest.param(answer(302, b"", "Location: https://elsewhere"), id="redirected"),
    pytest.param(hold(GZIP_HEAD, chunk(b"\x1f\x8b")), id="compressed"),
    pytest.param(hold(), id="never starts"),
    pytest.param(hold(SSE_HEAD[:40]), id="starts, and stops in its head"),
    pytest.param(send(), id="closed at once"),
    pytest.param(reset(), id="reset at once"),
    pytest.param(send(b"SSH-2.0-OpenSSH_9.6\r\n"), id="not HTTP at all"),
    pytest.param(send(SSE_HEAD, END), id="ends at once"),
    pytest.param(send(SSE_HEAD, status_event("running"), END), id="ends without a terminal event"),
    pytest.param(reset(SSE_HEAD, status_event("running")), id="reset on the way"),
    pytest.param(send(SSE_HEAD, b"what?"), id="breaks the chunked coding"),
    pytest.param(hold(SSE_HEAD), id="silent for ever"),
    pytest.param(hold(SSE_HEAD, status_event("running")), id="silent after the first event"),
    pytest.param(repeat(chunk(b": ping\n\n"), SSE_HEAD), id="comments for ever"),
    pytest.param(repeat(chunk(b"\n"), SSE_HEAD, chunk(b"id: 1\n\n")), id="blank lines for ever"),
    pytest.param(repeat(chunk(b"event: ping\ndata: 1\n\n"), SSE_HEAD), id="unknown events for ever"),
    pytest.param(repeat(status_event("running"), SSE_HEAD), id="the same event for ever"),
    pytest.param(repeat(event("progress", progress=0.5), SSE_HEAD), id="the same progress for ever"),
    pytest.param(repeat(chunk(b"event: status\ndata: {oops\n\n"), SSE_HEAD), id="malformed JSON for ever"),
    pytest.param(repeat(chunk(b"event: status\ndata: []\n\n"), SSE_HEAD), id="JSON of another shape for ever"),
    pytest.param(repeat(event("error", message="no"), SSE_HEAD), id="errors for ever"),
    pytest.param(repeat(chunk(b"data: " + b"x" * 1000), SSE_HEAD), id="an event without end"),
]


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("behaviour", STREAMS)
async def test_the_result_comes_whatever_the_stream_does(behaviour: Handler) -> None:
    """A task that ends while its stream fails in one way or another gives its result by being polled."""
    seen: list[TaskEvent] = []
    remote = Remote()
    polling, limits = Polling(interval=0.005, interval_while_streaming=0.01), Limits(max_event_bytes=5000)
    async with scripted() as server, connected(server, polling=polling, limits=limits) as client:
        remote.on(server)
        server.on("task", remote.look, remote.look, remote.look, remote.first("completed", remote.look))
        server.on("events", behaviour)

        result = await client.wait_for_result(TASK, on_event=seen.append)

    assert result.status == TaskStatus.COMPLETED
    assert seen[-1] == CompletedEvent(task_id=TASK, output={"storage_key": "a.png"})
    assert [each for each in seen if each.is_terminal] == [seen[-1]]
    # The first poll may have been cut off, so that it was the end which came first.
    assert [each.status for each in seen if isinstance(each, StatusEvent)] in (["running"], [])


def coded_session(task_id: str) -> bytes:
    """Write what a server sends on one stream, from the first byte to the last."""
    return b"".join(
        [
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
            chunk(
                f'event: status\ndata: {{"task_id":"{task_id}","status":"running","timestamp":"2026-02-01T14:30:05Z"}}\n\n'.encode()
            ),
            chunk(b": keep-alive\n\n"),
            chunk(
                f'event: progress\r\ndata: {{"task_id":"{task_id}",\r\ndata: "progress":0.35,"message":"é"}}\r\n\r\n'.encode()
            ),
            chunk(f'event: completed\ndata: {{"task_id":"{task_id}","status":"completed","output":{{}}}}\n\n'.encode()),
            chunk(b""),
        ]
    )


def plain_session(task_id: str) -> bytes:
    """Write the same without a coding that shows where the body ends."""
    return (
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        f'event: status\ndata: {{"task_id":"{task_id}","status":"running"}}\n\n'
        f'event: completed\ndata: {{"task_id":"{task_id}","status":"completed","output":{{}}}}\n\n'
    ).encode()


@pytest.mark.usefixtures("_quick")
@pytest.mark.timeout(300)
@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize(
    ("session", "then", "step"),
    [
        pytest.param(coded_session, send, 1, id="closed"),
        pytest.param(plain_session, send, 1, id="closed, no chunks"),
        pytest.param(coded_session, reset, 7, id="reset"),
        pytest.param(coded_session, hold, 7, id="silent"),
    ],
)
async def test_a_stream_may_be_cut_after_every_byte(
    session: Callable[[str], bytes], then: Callable[[bytes], Handler], step: int
) -> None:
    """However much of a stream gets through, the result comes, and the end is told once."""
    places = some(range(0, len(session("0000")) + 1, step), sample=40)
    ended: set[str] = set()

    async def events(exchange: Exchange) -> None:
        ended.add(exchange.id)
        await then(session(exchange.id)[: int(exchange.id)])(exchange)

    async def look(exchange: Exchange) -> None:
        await Remote("completed" if exchange.id in ended else "running").look(exchange)

    async def wait(own: Sequence[int]) -> None:
        for place in own:
            seen: list[TaskEvent] = []
            result = await client.wait_for_result(f"{place:04}", on_event=seen.append)
            assert (result.id, result.status) == (f"{place:04}", "completed")
            assert [each.name for each in seen if each.is_terminal] == ["completed"], place

    async with scripted() as server, connected(server) as client:
        server.on("events", events)
        server.on("task", look)
        server.on("result", Remote("completed").result)
        async with anyio.create_task_group() as group:
            for first in range(10):
                group.start_soon(wait, places[first::10])

    assert len(ended) == len(places)


@virtual
@pytest.mark.parametrize("bad", [1, 2, 3, 5])
async def test_bad_polls_are_nothing(bad: int) -> None:
    """Where the stream is silent, each of the first polls may fail."""
    remote = Remote("completed")
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("events", hold(SSE_HEAD))
        failing = [answer(502), send(), answer(200, b"<html>"), answer(429), answer(408)]
        server.on("task", *failing[:bad], remote.look)
        server.on("result", answer(502), remote.result)

        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED


@virtual
async def test_a_task_that_ended_before_the_first_poll() -> None:
    """The result comes from the first poll, where the stream does not tell the past."""
    remote = Remote("completed")
    async with simulated() as server, connected(server, polling=Polling()) as client:
        remote.on(server)
        server.on("events", hold(SSE_HEAD))

        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert server.kinds() == ["events", "task", "result"]


@virtual
async def test_the_stream_is_open_before_the_first_poll() -> None:
    """What happens right after the first poll is on the stream already: nothing ends in between."""
    asked = anyio.Event()
    remote = Remote()

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        await asked.wait()
        await exchange.send(COMPLETED + END)

    async def look(exchange: Exchange) -> None:
        await remote.look(exchange)
        remote.status = "completed"
        asked.set()

    async with simulated() as server, connected(server, polling=Polling()) as client:
        remote.on(server)
        server.on("events", events)
        server.on("task", look)

        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED
    assert server.kinds() == ["events", "task", "result"]


@virtual
@pytest.mark.parametrize("lag", [1, 4])
@pytest.mark.parametrize("behaviour", [send(SSE_HEAD, COMPLETED, END), hold(SSE_HEAD)], ids=["told", "mute"])
async def test_the_result_may_lag_behind(behaviour: Handler, lag: int) -> None:
    """A result that does not yet say what the task or its stream says is read again."""
    remote = Remote("completed")
    late = Remote("running")
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("events", behaviour)
        server.on("result", *[late.result, answer(502)] * (lag // 2), late.result, remote.result)

        result = await client.wait_for_result(TASK)

    assert result.status == TaskStatus.COMPLETED


@virtual
async def test_the_result_has_the_last_word() -> None:
    """Where the stream and the result contradict each other, the result counts."""
    remote = Remote("failed")
    seen: list[TaskEvent] = []
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", Remote("running").look)
        server.on("events", send(SSE_HEAD, COMPLETED, END))

        with pytest.raises(TaskFailed, match="out of memory"):
            await client.wait_for_result(TASK, on_event=seen.append)

    assert [each.name for each in seen][-1] == "completed"


@virtual
@pytest.mark.usefixtures("_quick")
async def test_a_stream_that_delivers_nothing_is_left_for_the_polls() -> None:
    """While a proxy holds back an open stream, the statuses come from polls, each once."""
    words = ["pending", "waiting", "queued", "running", "completed"]
    remote = Remote(words[0])
    seen: list[tuple[str, str]] = []
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("events", hold(SSE_HEAD))

        async with client.events(TASK) as events:
            async for each in events:
                seen.append((getattr(each, "status", ""), each.source))
                remote.status = words[min(len(seen), len(words) - 1)]

    assert seen == [(word, "poll") for word in words]


class Instrumentation:
    """A stream and polls that wait for what the user has been told.

    Attributes:
        seen: The statuses that the user was told.

    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._told: dict[str, anyio.Event] = {word: anyio.Event() for word in ("queued", "running")}

    def __call__(self, event: TaskEvent) -> None:
        """Note what the user is told."""
        word = str(getattr(event, "status", ""))
        self.seen.append(word)
        if word in self._told:
            self._told[word].set()

    async def wait(self, word: str) -> None:
        """Wait until the user has been told."""
        await self._told[word].wait()


@virtual
async def test_a_poll_behind_the_stream_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that says what the stream has told before does not take the story back."""
    monkeypatch.setattr(follower, "STREAM_LAG", 0.5)
    remote, told, confirmed = Remote("queued"), Instrumentation(), anyio.Event()

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        await told.wait("queued")
        await exchange.send(status_event("running"))
        await confirmed.wait()
        remote.status = "completed"
        await exchange.send(COMPLETED + END)

    async def look(exchange: Exchange) -> None:
        await remote.look(exchange)
        if remote.status == "running":
            confirmed.set()
        if "running" in told.seen:
            # Once behind, and then in step again.
            remote.status = "running"

    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", look)
        server.on("events", events)
        await client.wait_for_result(TASK, on_event=told)

    assert told.seen == ["queued", "running", "completed"]
    assert server.kinds().count("events") == 1


@virtual
async def test_a_task_without_a_status_is_judged_by_its_result() -> None:
    """Where a poll leaves the status out, which is documented only for the result, the result is read."""
    remote = Remote("running")
    seen: list[TaskEvent] = []
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", answer(200, {"id": TASK}))
        server.on("result", remote.result, remote.result, remote.first("completed", remote.result))
        server.on("events", hold(SSE_HEAD))

        result = await client.wait_for_result(TASK, on_event=seen.append)

    assert result.status == TaskStatus.COMPLETED
    assert [each.name for each in seen] == ["completed"]


@virtual
async def test_without_a_free_stream_polls_do() -> None:
    """A wait beyond `Limits.max_streams` polls, and both end."""
    remote = Remote()
    looked = anyio.Event()

    async def look(exchange: Exchange) -> None:
        await remote.look(exchange)
        if server.kinds().count("task") >= 6:
            looked.set()

    async with simulated() as server, connected(server, limits=Limits(max_streams=1)) as client:
        remote.on(server)
        server.on("task", look)
        server.on("events", hold(SSE_HEAD))
        async with anyio.create_task_group() as group:
            group.start_soon(client.wait_for_result, TASK)
            group.start_soon(client.wait_for_result, "other")
            await looked.wait()
            assert server.kinds().count("events") == 1
            remote.status = "completed"


@virtual
async def test_a_slow_poll_lands_although_the_stream_has_news() -> None:
    """A poll in the air is given a moment, and its task is not taken back by what it says."""
    remote = Remote("queued")
    go_on = anyio.Event()
    seen: list[TaskEvent] = []

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        await go_on.wait()
        await exchange.send(status_event("running"))
        await exchange.gone()

    async def slow(exchange: Exchange) -> None:
        go_on.set()
        await anyio.sleep(0.05)
        await remote.look(exchange)
        remote.status = "completed"

    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", remote.look, slow, remote.look)
        server.on("events", events)
        await client.wait_for_result(TASK, on_event=seen.append)

    assert [getattr(each, "status", None) for each in seen] == ["queued", "running", "completed"]


@virtual
async def test_a_second_poll_that_fails_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the poll that is to confirm a mute stream fails, the next one tells."""
    monkeypatch.setattr(follower, "STREAM_LAG", 0.5)
    remote, told = Remote("queued"), Instrumentation()

    async def look(exchange: Exchange) -> None:
        if remote.status == "running" and "bad" not in marks:
            marks.append("bad")
            await exchange.answer(502)
            return
        remote.status = "completed" if "running" in told.seen else "running" if "queued" in told.seen else "queued"
        await remote.look(exchange)

    marks: list[str] = []
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", look)
        server.on("events", hold(SSE_HEAD))
        await client.wait_for_result(TASK, on_event=told)

    assert told.seen == ["queued", "running", "completed"]
    assert marks == ["bad"]


@virtual
async def test_events_that_nobody_knows_are_no_sign_of_life() -> None:
    """A heartbeat in the guise of ever new events does not make the polls rarer."""
    remote = Remote()

    async def beat(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        number = 0
        while True:
            number += 1
            await exchange.send(chunk(b"event: beat\ndata: %d\n\n" % number))
            await anyio.sleep(0.001)

    polling = Polling(interval=0.03, interval_while_streaming=1000)
    async with simulated() as server, connected(server, polling=polling) as client:
        remote.on(server)
        server.on("task", *[remote.look] * 3, remote.first("completed", remote.look))
        server.on("events", beat)

        result = await client.wait_for_result(TASK, timeout=10)

    assert result.status == TaskStatus.COMPLETED
