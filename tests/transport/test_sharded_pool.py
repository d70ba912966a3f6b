"""Connections, spread over small pools: how they grow, are shared and go."""

from __future__ import annotations

import socket
import ssl
import threading

import anyio
import httpx
import pytest
from support.raw import Peer, RawServer, always_answer, raw_server

from cyberun_async import AsyncClient
from cyberun_async._protocol import endpoints
from cyberun_async._transport import sharded_pool as pools_module
from cyberun_async._transport import tls
from cyberun_async._transport.sharded_pool import ShardedTransport


def request(server: RawServer) -> httpx.Request:
    return httpx.Request("GET", f"{server.url}/x")


async def done_with(response: httpx.Response) -> None:
    async for _ in response.stream:  # type: ignore[union-attr]
        pass
    await response.stream.aclose()  # type: ignore[union-attr]


def loads(pools: ShardedTransport) -> list[int]:
    return sorted(pool.load for pool in pools._shards)


async def test_growth_and_least_load() -> None:
    """A new pool is made when all are full; else the one with the fewest requests takes the next one."""
    async with raw_server(always_answer) as server:
        pools = ShardedTransport(per_pool=2)
        assert repr(pools) == "<ShardedTransport: 0 requests in 0 pools>"
        responses, seen = [], []
        for _ in range(5):
            responses.append(await pools.handle_async_request(request(server)))
            seen.append(loads(pools))
        assert seen == [[1], [2], [1, 2], [2, 2], [1, 2, 2]]
        assert repr(pools) == "<ShardedTransport: 5 requests in 3 pools>"
        for response in responses[:3]:
            await done_with(response)
        assert loads(pools) == [0, 1, 1]
        responses[:3] = [await pools.handle_async_request(request(server)) for _ in range(3)]
        assert loads(pools) == [1, 2, 2]
        for response in responses:
            await done_with(response)
        assert loads(pools) == [0, 0, 0]
        await pools.aclose()


async def test_connections_are_kept() -> None:
    """One call after the other takes one connection."""
    async with raw_server(always_answer) as server:
        async with AsyncClient("sk-test", base_url=server.url) as client:
            for _ in range(20):
                await client.tasks.get("t-1")
        assert server.connections == 1


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools that nobody has used for the keep-alive time are closed by the next request, whichever it is."""
    now = 1000.0
    monkeypatch.setattr(pools_module.time, "monotonic", lambda: now)
    async with raw_server(always_answer) as server:
        pools = ShardedTransport(per_pool=1, keep_alive=5)
        responses = [await pools.handle_async_request(request(server)) for _ in range(6)]
        for response in responses[1:]:
            await done_with(response)
        now += 4.9
        await done_with(await pools.handle_async_request(request(server)))
        assert server.open == 6
        now += 5.1
        await done_with(await pools.handle_async_request(request(server)))
        with anyio.fail_after(5):
            # The one in use, and the one of this last request.
            await server.until(lambda server: server.open == 2)
        assert len(pools._shards) == 2
        await done_with(responses[0])
        await pools.aclose()


async def test_streams_keep_nothing() -> None:
    """The connection of an event stream is closed with it, and its pool forgotten; the probes of TCP are on."""

    async def open_stream(peer: Peer) -> None:
        await peer.request()
        await peer.open_events()
        await peer.until_closed()

    async with raw_server(open_stream) as server, AsyncClient("sk-test", base_url=server.url) as client:
        call = endpoints.stream_task_events("t-1")
        connections = [await client._core.transport.open_stream(call) for _ in range(3)]
        streams = client._core.transport.connections._pools[1]
        assert loads(streams) == [1, 1, 1]
        raw = connections[0]._body._stream.get_extra_info("socket")
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for connection in connections:
            await connection.aclose()
        assert loads(streams) == []
        with anyio.fail_after(5):
            await server.until(lambda server: server.open == 0)


async def test_closing_goes_on() -> None:
    """A pool that fails to close keeps none of the others open."""
    async with raw_server(always_answer) as server:
        pools = ShardedTransport(per_pool=1)
        for response in [await pools.handle_async_request(request(server)) for _ in range(3)]:
            await done_with(response)

        first = next(iter(pools._shards)).transport
        close = first.aclose

        async def close_and_fail() -> None:
            await close()
            raise OSError("it was gone already")

        first.aclose = close_and_fail  # type: ignore[method-assign]
        await pools.aclose()
        with anyio.fail_after(5):
            await server.until(lambda server: server.open == 0)


async def test_given_back_after_closing() -> None:
    """A response that outlives its pools can be closed."""
    async with raw_server(always_answer) as server:
        pools = ShardedTransport()
        response = await pools.handle_async_request(request(server))
        await pools.aclose()
        for _ in range(2):
            await response.stream.aclose()  # type: ignore[union-attr]
        assert not pools.is_open


async def test_one_context(server_tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of first calls reads the certificate authorities once, in another thread, and shares its pools."""
    made_by = []
    make = httpx.create_ssl_context
    asked, all_ask = 0, anyio.Event()

    async def answer_together(peer: Peer) -> None:
        nonlocal asked
        await peer.request()
        asked += 1
        if asked == 12:
            all_ask.set()
        await all_ask.wait()
        await peer.answer()
        await peer.until_closed()

    def make_and_note() -> ssl.SSLContext:
        made_by.append(threading.current_thread())
        return make()

    monkeypatch.setattr(httpx, "create_ssl_context", make_and_note)
    async with (
        raw_server(answer_together, tls=server_tls) as server,
        AsyncClient("sk-test", base_url=server.url) as client,
    ):
        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(client.tasks.get, "t-1")
        assert len(client._core.transport.connections._pools[0]._shards) == 3
    async with AsyncClient("sk-test", base_url=server.url) as other:
        assert other
    assert len(made_by) == 1
    assert made_by[0] is not threading.current_thread()
    assert list(tls._shared) == ["HTTP/1.1"]


async def test_one_context_for_all_who_wait(trusted: None) -> None:
    """Whoever asks while the authorities are being read gets the same context."""
    made = []

    async def ask() -> None:
        made.append(await tls.tls_context())

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
    assert len(made) == 5
    assert len({id(context) for context in made}) == 1
