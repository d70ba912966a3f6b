"""Event streams that can be waited for again: nothing is lost when the waiting is cut off, and nothing left when closed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import anyio
import attrs
import httpcore
import httpx
import pytest
from anyio.lowlevel import checkpoint
from support.cancelling import CancelledAt, ClientClosed
from support.raw import Peer, RawServer, proxy_to, raw_server
from support.sampling import some
from support.scripted import END, SSE_HEAD, at_work, chunk
from support.tables import table

from cyberun_async import AsyncClient, Timeouts, TransportError, TransportTimeout
from cyberun_async._protocol import endpoints
from cyberun_async._transport import cancel_safe
from cyberun_async._transport.cancel_safe import CancelSafeBackend
from cyberun_async._transport.stream import Connection

CALL = endpoints.stream_task_events("t-1")

WORDS = ["one", "two", "drei ä", "four"]
STORY = b"".join(chunk(f"data: {word}\n\n".encode()) for word in WORDS)

HALF_A_LINE = STORY[:2]
"""The beginning of the line that tells the size of the first chunk."""


@attrs.define
class Opened:
    """An open stream, and the server's end of it."""

    connection: Connection
    peer: Peer
    client: AsyncClient

    async def receive(self) -> list[str] | None:
        """Receive, and give the data of what came."""
        events = await self.connection.receive()
        return None if events is None else [event.data for event in events]


@attrs.define
class Route:
    """A way to the server."""

    base_url: str | None = None
    proxy_for: str | None = None
    tls: ssl.SSLContext | None = None


DIRECT = Route()


@asynccontextmanager
async def opened(
    route: Route = DIRECT, monkeypatch: pytest.MonkeyPatch | None = None, **timeouts: float
) -> AsyncIterator[Opened]:
    """Open a stream, and see at the end that everybody knows that it is closed."""
    peers: list[Peer] = []

    async def serve(peer: Peer) -> None:
        await peer.request()
        peers.append(peer)
        await peer.send(SSE_HEAD)
        await peer.until_closed()

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(raw_server(serve, tls=route.tls))]
        if route.proxy_for is not None and monkeypatch is not None:
            servers.append(await stack.enter_async_context(proxy_to(servers[0])))
            monkeypatch.setenv(route.proxy_for, f"http://127.0.0.1:{servers[1].port}")
        client = await stack.enter_async_context(
            AsyncClient(
                "sk-test",
                base_url=route.base_url or servers[0].url,
                allow_insecure_http=True,
                timeouts=Timeouts(**timeouts),
            )
        )
        connection = await client._core.transport.open_stream(CALL)
        assert connection.is_cancel_safe
        yield Opened(connection, peers[0], client)
        await connection.aclose()
        assert await nothing_is_open(client, servers)


async def nothing_is_open(client: AsyncClient, servers: list[RawServer]) -> bool:
    """See the connections closed from the other side, and nothing counted on this one."""
    with anyio.fail_after(5):
        for server in servers:
            await server.until(lambda server: server.open == 0)
    return at_work(client) == (0, 0)


# What comes


async def test_two_chunks_in_one_segment() -> None:
    """Chunks that arrive together are given one by one, and the second is not waited for."""
    async with opened() as stream:
        await stream.peer.send(chunk(b"data: one\n\n") + chunk(b"data: two\n\n"))
        assert await stream.receive() == ["one"]
        with anyio.CancelScope() as scope:
            scope.cancel()
            assert await stream.receive() == ["two"]


@table("size", [1, 2, 3, 7, 16])
async def test_cut_into_segments(size: int) -> None:
    """However small the segments are in which a stream arrives, its events are the same."""
    whole = STORY + END
    connection = await connection_of([whole[at : at + size] for at in range(0, len(whole), size)])
    assert await all_of(connection) == WORDS
    await connection.aclose()


@pytest.mark.soak
async def test_cut_anywhere() -> None:
    """A stream may be cut at every place, be it in the line that tells the size of a chunk."""
    whole = STORY + END
    for place in some(range(1, len(whole)), sample=50):
        connection = await connection_of([whole[:place], whole[place:]])
        assert await all_of(connection) == WORDS, place
        await connection.aclose()


async def connection_of(segments: list[bytes]) -> Connection:
    """Open a stream that reads exactly these segments."""
    transport = httpx.AsyncHTTPTransport(verify=False)
    transport._pool._network_backend = CancelSafeBackend(httpcore.AsyncMockBackend([SSE_HEAD, *segments]))
    response = await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1/"))
    return Connection(CALL, response, max_event_bytes=1000, silence=60, cleanup=5, on_close=lambda: None)


async def all_of(connection: Connection) -> list[str]:
    """Give the data of all events."""
    told = []
    while (events := await connection.receive()) is not None:
        told += [event.data for event in events]
    return told


async def test_the_end_stays_the_end() -> None:
    """Once the server has ended the stream, that is what every further look at it gives."""
    async with opened() as stream:
        await stream.peer.send(chunk(b"data: one\n\n") + END)
        assert [await stream.receive() for _ in range(3)] == [["one"], None, None]


async def test_an_end_before_its_time() -> None:
    """A connection that is closed in the middle of a chunk is a stream that broke."""
    async with opened() as stream:
        await stream.peer.send(HALF_A_LINE)
        await anyio.aclose_forcefully(stream.peer.stream)
        with pytest.raises(TransportError, match="the connection broke"):
            await stream.receive()


# Leaving the waiting, and taking it up again


@pytest.fixture(params=["plain", "by TLS", "by a proxy", "by a tunnel"])
def route(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, trusted: None) -> Route:
    """Give each way to a server."""
    ways = {
        "plain": Route(),
        "by TLS": Route(tls=server_tls),
        "by a proxy": Route("http://cyberun.test", "http_proxy"),
        "by a tunnel": Route("https://cyberun.test", "https_proxy", server_tls),
    }
    return ways[request.param]


@table("size", [1, 5, 1000])
async def test_cut_off_again_and_again(route: Route, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves the waiting by a scope, wherever it stands, and takes it up again has lost nothing."""
    cut_offs = 0
    told: list[str] = []
    begin = anyio.Event()

    async def send(peer: Peer) -> None:
        await begin.wait()
        for at in range(0, len(STORY), size):
            await peer.send(STORY[at : at + size])
            await checkpoint()

    async with opened(route, monkeypatch) as stream, anyio.create_task_group() as group:
        group.start_soon(send, stream.peer)
        with anyio.fail_after(20):
            while told != WORDS:
                with anyio.CancelScope() as scope:
                    turn = 0 if cut_offs < 3 else cut_offs % 3
                    await CancelledAt(receive_into(told, stream), turn, scope.cancel).run()
                cut_offs += scope.cancelled_caught
                if cut_offs >= 3:
                    begin.set()
    assert cut_offs >= 3


async def receive_into(told: list[str], stream: Opened) -> None:
    """Receive, and keep it."""
    told += await stream.receive() or ()


async def test_cut_off_by_a_deadline(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by deadlines that have passed, on a stream that stands in the middle of a chunk."""
    async with opened(route, monkeypatch) as stream:
        told: list[str] = []
        for part in (STORY[:2], STORY[2:10], STORY[10:]):
            await stream.peer.send(part)
            for _ in range(3):
                with anyio.move_on_after(0):
                    await receive_into(told, stream)
        while told != WORDS:
            await receive_into(told, stream)


@table("is_half_read", [False, True], ids=["before the first read", "standing still"])
async def test_reset_while_nobody_waits(is_half_read: bool) -> None:
    """Of a connection that was reset meanwhile, the next wait tells."""
    async with opened() as stream:
        if is_half_read:
            await stream.peer.send(HALF_A_LINE)
            await cut_off(stream)
        await stream.peer.reset()
        await stream.peer.server.until(lambda server: server.open == 0)
        with pytest.raises(TransportError, match="the connection broke"):
            await stream.receive()


async def cut_off(stream: Opened) -> None:
    """Begin to wait, and leave it at once."""
    with anyio.CancelScope() as scope:
        await CancelledAt(receive_into([], stream), 0, scope.cancel).run()
    assert scope.cancelled_caught


# Closing


async def before_the_first_read(_: Opened) -> None:
    pass


async def standing_still(stream: Opened) -> None:
    await cut_off(stream)


async def in_the_middle_of_a_line(stream: Opened) -> None:
    await stream.peer.send(chunk(b"data: one\n\n") + HALF_A_LINE)
    assert await stream.receive() == ["one"]
    await cut_off(stream)


async def between_chunks(stream: Opened) -> None:
    await stream.peer.send(STORY)
    assert await stream.receive() == ["one"]


async def after_the_end(stream: Opened) -> None:
    await stream.peer.send(END)
    assert await stream.receive() is None


async def after_a_break(stream: Opened) -> None:
    await stream.peer.send(b"what?\r\n")
    with pytest.raises(TransportError):
        await stream.receive()


POINTS = table(
    "point",
    [before_the_first_read, standing_still, in_the_middle_of_a_line, between_chunks, after_the_end, after_a_break],
)
Point = Callable[[Opened], Awaitable[None]]


@POINTS
async def test_closed(point: Point) -> None:
    """Wherever the reading stands, closing it closes the connection, and a second time is nothing."""
    async with opened() as stream:
        await point(stream)
        await stream.connection.aclose()
        await stream.connection.aclose()
        assert await nothing_is_open(stream.client, [stream.peer.server])


@POINTS
async def test_closed_by_tls(point: Point, server_tls: ssl.SSLContext, trusted: None) -> None:
    """So it does under TLS."""
    async with opened(Route(tls=server_tls)) as stream:
        await point(stream)


@POINTS
async def test_closed_under_cancellation(point: Point) -> None:
    """A scope that is cancelled before, or wherever the closing waits, does not keep it from its end."""
    turn, is_through = -1, False
    while not is_through:
        async with opened() as stream:
            await point(stream)
            with anyio.CancelScope() as scope:
                if turn < 0:
                    scope.cancel()
                closing = CancelledAt(stream.connection.aclose(), turn, scope.cancel)
                await closing.run()
            assert await nothing_is_open(stream.client, [stream.peer.server])
        is_through = 0 <= closing.waits <= turn
        turn += 1
    assert turn > 1


@POINTS
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@table("times", [1, 2], ids=["once", "twice"])
async def test_closed_while_asyncio_cancels(point: Point, times: int, anyio_backend: str) -> None:
    """Nor does `task.cancel()`, wherever it comes and even if it comes again; it is not swallowed."""
    turn, is_through = 0, False
    while not is_through:
        async with opened() as stream:
            await point(stream)
            cancel = ClientClosed(times)
            closing = CancelledAt(stream.connection.aclose(), turn, cancel)
            cancel.task = asyncio.ensure_future(run(closing))
            await asyncio.wait([cancel.task])
            is_through = closing.waits <= turn
            assert cancel.task.cancelled() is not is_through
            assert await nothing_is_open(stream.client, [stream.peer.server])
        turn += 1
    assert turn > 1


async def run(driven: CancelledAt) -> None:
    """Be a coroutine, of which asyncio makes tasks."""
    await driven.run()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_asyncio_cancels_the_waiting(times: int, anyio_backend: str) -> None:
    """A wait that `task.cancel()` ends can be taken up again as well."""
    async with opened() as stream:
        await stream.peer.send(HALF_A_LINE)
        cancel = ClientClosed(times)
        cancel.task = asyncio.ensure_future(run(CancelledAt(receive_into([], stream), 1, cancel)))
        await asyncio.wait([cancel.task])
        assert cancel.task.cancelled()
        await stream.peer.send(STORY.removeprefix(HALF_A_LINE))
        assert [await stream.receive() for _ in WORDS] == [[word] for word in WORDS]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_asyncio_cancels_what_follows_a_break(times: int, anyio_backend: str) -> None:
    """Where `task.cancel()` comes while httpcore itself gives up a broken connection, that is closed all the same."""
    turn, is_through = 0, False
    while not is_through:
        async with opened() as stream:
            await stream.peer.send(b"what?\r\n")
            cancel = ClientClosed(times)
            receiving = CancelledAt(receive_into([], stream), turn, cancel)
            cancel.task = asyncio.ensure_future(run(receiving))
            await asyncio.wait([cancel.task])
            is_through = receiving.waits <= turn
            assert is_through is isinstance(
                None if cancel.task.cancelled() else cancel.task.exception(), TransportError
            )
        turn += 1
    assert turn > 2


# Silence


@attrs.define
class Clock:
    """A clock that a test sets."""

    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have silence counted by a clock that stands still."""
    clock = Clock()
    monkeypatch.setattr(cancel_safe, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


async def be_silent(stream: Opened, clock: Clock, seconds: float, *, after: int = 0) -> None:
    """Wait so long without a byte, after so many pieces that come at once, and leave off."""

    def leave() -> None:
        clock.now += seconds
        scope.cancel()

    with anyio.CancelScope() as scope:
        await CancelledAt(receive_into([], stream), after, leave).run()
    assert scope.cancelled_caught


async def test_silence_adds_up(clock: Clock) -> None:
    """A stream is dead once it was silent too long in all the waits together, be they left too late."""
    async with opened(stream=60) as stream:
        for _ in range(3):
            await be_silent(stream, clock, 25)
        with pytest.raises(TransportTimeout, match="no response in time"):
            await stream.receive()


async def test_silence_of_a_single_wait() -> None:
    """A stream on which nothing comes is dead after `Timeouts.stream`, unless the caller leaves off before."""
    async with opened(stream=0.01) as stream:
        with anyio.CancelScope() as scope:
            await CancelledAt(leaving_soon(stream), 0, scope.cancel).run()
        assert scope.cancelled_caught
        with pytest.raises(TransportTimeout):
            await stream.receive()


async def leaving_soon(stream: Opened) -> None:
    """Wait with the promise to leave in less time than the stream may be silent."""
    await stream.connection.receive(caller_timeout=0.001)


async def test_nobody_waits(clock: Clock) -> None:
    """The time in which nobody waits is no silence."""
    async with opened(stream=60) as stream:
        await be_silent(stream, clock, 50)
        clock.now += 3600
        await stream.peer.send(STORY)
        assert await stream.receive() == ["one"]


async def test_each_chunk_ends_the_silence(clock: Clock) -> None:
    """The count starts anew with each chunk, be it a comment."""
    async with opened(stream=60) as stream:
        for _ in range(3):
            await be_silent(stream, clock, 50)
            await stream.peer.send(chunk(b":\n\n"))
            assert await stream.receive() == []
        await be_silent(stream, clock, 70)
        with pytest.raises(TransportTimeout):
            await stream.receive()


async def test_each_byte_ends_the_silence(clock: Clock) -> None:
    """So it does with each byte, although it completes no chunk."""
    async with opened(stream=60) as stream:
        for _ in range(3):
            await stream.peer.send(b"0")
            await be_silent(stream, clock, 50, after=1)
        await be_silent(stream, clock, 20)
        with pytest.raises(TransportTimeout):
            await stream.receive()
