"""What a debugger shows of the parts that have a state: enough to tell what goes on, and no secret."""

from __future__ import annotations

import anyio
import pytest
from support.scripted import SSE_HEAD, TASK, connected, hold, scripted, status_event
from support.tables import table

from cyberun_async import AsyncClient
from cyberun_async._concurrency import FlatTaskGroup, Flight, InFlight
from cyberun_async._protocol import endpoints
from cyberun_async._transport.early_response import EarlyResponseStream
from cyberun_async._transport.loop_guard import EventLoopGuard
from cyberun_async._transport.rate_limit import RateLimitPause
from cyberun_async._transport.recent_submissions import RecentSubmissions
from cyberun_async._transport.send_trace import SendTrace
from cyberun_async._transport.single_flight import SingleFlight
from cyberun_async._transport.sse import EventDecoder

KEY = "sk-secret-of-this-test"


async def test_transport() -> None:
    """A transport shows its parts, of which none shows the key."""
    async with AsyncClient(KEY, base_url="http://localhost") as client:
        transport = client._core.transport
        assert repr(transport) == (
            "<Transport to http://localhost: <Connections: 100 streams free, <InFlight: 0 requests>, "
            "(<ShardedTransport: 0 requests in 0 pools>, <ShardedTransport: 0 requests in 0 pools>)>, "
            "<Credential: has not answered, <RateLimitPause: 0 times 429, until -inf>>>"
        )
        assert repr(transport.credential.sign_in) == "<SignIn by a key>"
        assert repr(transport._round_trips) == "<RoundTrip to http://localhost>"
        assert repr(client.tasks.list()) == "<AsyncPaginator of http://localhost: next page 1>"
    assert "<Connections: closed, (" in repr(transport)


async def test_stream() -> None:
    """A stream shows whether waiting for it can be cancelled, and where it stands."""
    async with scripted() as server, connected(server) as client:
        server.on("events", hold(SSE_HEAD, status_event("running")))
        connection = await client._core.transport.open_stream(endpoints.stream_task_events(TASK))
        name, body = f"Connection /r/tasks/{TASK}/events", connection._body
        assert repr(connection).startswith(f"<{name}: <CancelSafeBody: cancel-safe, reading, silent for ")
        await connection.receive()
        assert repr(body._stream) == "<CancelSafeStream: suspending, 0 bytes ahead>"
        with anyio.move_on_after(0.001):
            await connection.receive()
        assert "suspended" in repr(body)
        await connection.aclose()
        assert repr(connection) == f"<{name}: closed>"
        assert repr(body._stream) == "<CancelSafeStream: suspending, failed>"


async def test_small_parts() -> None:
    """So do the small parts."""
    guard, pause, recent, closed = EventLoopGuard(), RateLimitPause(), RecentSubmissions(), InFlight()
    flight, decoder = Flight(), EventDecoder(1000)
    assert [repr(each) for each in (guard, recent, flight, decoder)] == [
        "<EventLoopGuard: free>",
        "<RecentSubmissions: 0>",
        "<Flight: has not left>",
        "<EventDecoder: 0 bytes of an event, last id ''>",
    ]
    guard.check()
    pause.begin(7)
    pause.refused += 1
    recent.add("t-1", anyio.current_time())
    flight.begin()
    decoder.feed(b"id: 7\n\ndata: x")
    await closed.aclose()
    assert [repr(each) for each in (guard, recent, closed, flight, decoder, SendTrace(), SingleFlight[str, str]())] == [
        "<EventLoopGuard: bound>",
        "<RecentSubmissions: 1>",
        "<InFlight: 0 requests, closed>",
        "<Flight: may have left>",
        "<EventDecoder: 7 bytes of an event, last id '7'>",
        "<SendTrace: has not begun>",
        "<SingleFlight: 0 in flight>",
    ]


async def test_group() -> None:
    """A group shows what has failed."""

    async def fail() -> None:
        raise ZeroDivisionError

    group = FlatTaskGroup()
    assert repr(group) == "<FlatTaskGroup: no failure>"

    async def run() -> None:
        async with group:
            group.start_soon(fail)

    with pytest.raises(ZeroDivisionError):
        await run()
    assert repr(group) == "<FlatTaskGroup: ZeroDivisionError>"


@table(
    ("received", "shown"),
    [
        pytest.param(b"", "idle, 0 bytes ahead", id="nothing"),
        pytest.param(b"HTTP/1.1 403 ", "answered, 13 bytes ahead", id="refused"),
    ],
)
async def test_early_response(received: bytes, shown: str) -> None:
    """A stream for uploads shows whether the server has answered."""
    stream = EarlyResponseStream(None)  # type: ignore[arg-type]
    stream._received = received
    assert repr(stream) == f"<EarlyResponseStream: {shown}>"
