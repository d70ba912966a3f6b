"""A call that is cancelled, wherever it stands and however it is done, leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint
from support.raw import Peer, RawServer, always_answer, raw_server
from support.sampling import count
from support.tables import table

from cyberun_async import AsyncClient, Limits, Timeouts
from cyberun_async._protocol import endpoints

ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])

SLOTS = 3


@asynccontextmanager
async def client_of(server: RawServer) -> AsyncIterator[AsyncClient]:
    limits = Limits(max_connections=SLOTS, max_streams=SLOTS)
    async with AsyncClient("sk-test", base_url=server.url, limits=limits, timeouts=Timeouts(cleanup=2)) as client:
        yield client


async def no_place_is_taken(client: AsyncClient) -> bool:
    """Tell whether all slots are free, no pool counts a request, and the client works."""
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(2 * SLOTS):
                group.start_soon(client.tasks.get, "t-1")
    transport = client._core.transport
    assert transport.connections.call_slots.value == SLOTS
    assert transport.connections.free_streams == SLOTS
    assert [pool.load for pools in transport.connections._pools for pool in pools._shards if pool.load] == []
    return True


async def answer_slowly(peer: Peer) -> None:
    """Answer in many pieces, with a few turns of the loop between them."""
    while True:
        await peer.request()
        for piece in (b"HTTP/1.1 200 OK\r\nContent-", b"Length: 64\r\n\r\n", b'{"id": "t-1"', b" " * 51, b"}"):
            for _ in range(3):
                await checkpoint()
            await peer.send(piece)


async def open_slowly(peer: Peer) -> None:
    """Open an event stream in pieces, and answer what is no request for one."""
    while True:
        if b"/events" not in await peer.request():
            await peer.answer()
            continue
        for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Type: text/event-stream\r\n", b"\r\n", b":\n\n"):
            for _ in range(3):
                await checkpoint()
            await peer.send(piece)
        await peer.until_closed()
        return


@table("times", [1, 2], ids=["once", "twice"])
@table("turns", range(1, 21))
@ASYNCIO
async def test_asyncio_cancels_a_call(turns: int, times: int) -> None:
    """Ten calls cancelled by asyncio, n turns of the loop after their start, free every slot and socket."""
    async with raw_server(answer_slowly) as server, client_of(server) as client:
        calls = [asyncio.ensure_future(client.tasks.get("t-1")) for _ in range(10)]
        for _ in range(turns):
            await checkpoint()
        for _ in range(times):
            for call in calls:
                call.cancel()
            await checkpoint()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in done} <= {asyncio.CancelledError, type(await client.tasks.get("t-1"))}
        assert await no_place_is_taken(client)
        assert server.open <= SLOTS


@table("turns", range(1, 21))
async def test_scope_cancels_a_call(turns: int) -> None:
    """The same by a cancel scope."""
    async with raw_server(answer_slowly) as server, client_of(server) as client:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(client.tasks.get, "t-1")
            for _ in range(turns):
                await checkpoint()
            group.cancel_scope.cancel()
        assert await no_place_is_taken(client)
        assert server.open <= SLOTS


@table("times", [1, 2], ids=["once", "twice"])
@table("turns", range(1, 31, 2))
@ASYNCIO
async def test_asyncio_cancels_opening_a_stream(turns: int, times: int) -> None:
    """A stream whose opening asyncio cancels frees its place, and its connection is closed."""
    async with raw_server(open_slowly) as server, client_of(server) as client:
        opening = asyncio.ensure_future(client._core.transport.open_stream(endpoints.stream_task_events("t-1")))
        for _ in range(turns):
            await checkpoint()
        for _ in range(times):
            opening.cancel()
            await checkpoint()
        outcome = (await asyncio.gather(opening, return_exceptions=True))[0]
        if not isinstance(outcome, BaseException):
            await outcome.aclose()
        with anyio.fail_after(5):
            await server.until(lambda server: server.open == 0)
        assert await no_place_is_taken(client)


@table("turns", range(1, 31, 2))
async def test_scope_cancels_opening_a_stream(turns: int) -> None:
    """The same by a cancel scope."""
    async with raw_server(open_slowly) as server, client_of(server) as client:
        opened = []
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def cancel() -> None:
                    for _ in range(turns):
                        await checkpoint()
                    scope.cancel()

                group.start_soon(cancel)
                opened.append(await client._core.transport.open_stream(endpoints.stream_task_events("t-1")))
        for connection in opened:
            await connection.aclose()
        with anyio.fail_after(5):
            await server.until(lambda server: server.open == 0)
        assert await no_place_is_taken(client)


@pytest.mark.soak
@pytest.mark.parametrize("turns", [1, 3, 6, 10, 15, 18])
@ASYNCIO
async def test_connections_in_the_making(turns: int) -> None:
    """A leak of httpcore: many calls cancelled just after their start; the next call works at once.

    Without the cure each leaves an entry in its pool that is connecting for ever (encode/httpcore#1093).
    """
    async with raw_server(always_answer) as server:
        calls_at_once = count(sample=50, soak=200)
        limits = Limits(max_connections=calls_at_once)
        async with AsyncClient("sk-test", base_url=server.url, limits=limits) as client:
            calls = [asyncio.ensure_future(client.tasks.get("t-1")) for _ in range(calls_at_once)]
            for _ in range(turns):
                await checkpoint()
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert await client.tasks.get("t-1")
            pools = [pool for pools in client._core.transport.connections._pools for pool in pools._shards]
            assert [pool.load for pool in pools if pool.load] == []
            httpcore_pools = [pool.transport._pool for pool in pools]
            assert [str(c) for pool in httpcore_pools for c in pool.connections if not c.is_idle()] == []
            assert [request for pool in httpcore_pools for request in pool._requests] == []


@ASYNCIO
async def test_workers_cut_off() -> None:
    """The other leak: workers cut off in the middle of a call again and again, as `wait_for` does; nothing stays."""
    async with raw_server(answer_slowly) as server, client_of(server) as client:

        async def worker(number: int) -> None:
            for round_ in range(20):
                call = asyncio.ensure_future(client.tasks.get("t-1"))
                for _ in range(1 + (7 * number + round_) % 25):
                    await checkpoint()
                call.cancel()
                await asyncio.wait([call])

        await asyncio.gather(*(worker(number) for number in range(2 * SLOTS)))
        assert await no_place_is_taken(client)
        assert server.open <= SLOTS


async def test_cancelled_while_waiting_for_a_turn() -> None:
    """A call that waits behind others for its turn leaves the queue when it is cancelled."""
    release = anyio.Event()

    async def answer_when_told(peer: Peer) -> None:
        while True:
            await peer.request()
            await release.wait()
            await peer.answer()

    async with raw_server(answer_when_told) as server, client_of(server) as client, anyio.create_task_group() as group:
        for _ in range(SLOTS):
            group.start_soon(client.tasks.get, "t-1")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as waiting:
            async with anyio.create_task_group() as behind:
                behind.start_soon(client.tasks.get, "t-1")
                await anyio.wait_all_tasks_blocked()
                waiting.cancel()
        assert len(server.requests) == SLOTS
        release.set()
        assert await no_place_is_taken(client)
