"""Closing a client: when, from where, how often, and with what still in the air."""

from __future__ import annotations

import asyncio
import gc
import warnings

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from support.raw import Peer, RawServer, always_answer, raw_server
from support.tables import table

from cyberun_async import AsyncClient, ConfigurationError, Limits, TransportError
from cyberun_async._concurrency import ClientClosed, InFlight, run_in_child_task
from cyberun_async._files.storage_failure import StorageFailure
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.secret import Secret

ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def client_of(server: RawServer, limits: Limits = Limits()) -> AsyncClient:
    return AsyncClient("sk-test", base_url=server.url, limits=limits)


async def stay_silent(peer: Peer) -> None:
    await peer.request()
    await peer.until_closed()


async def is_closed_to(server: RawServer) -> bool:
    """Wait until the server has no connection any more."""
    with anyio.fail_after(5):
        await server.until(lambda server: server.open == 0)
    return True


async def test_twice() -> None:
    """Closing twice is closing once."""
    async with raw_server(always_answer) as server:
        client = client_of(server)
        await client.tasks.get("t-1")
        assert client._core.transport.is_open
        await client.aclose()
        assert await is_closed_to(server)
        await client.aclose()
        assert not client._core.transport.is_open


async def test_unused() -> None:
    """A client that never sent anything can be closed."""
    async with raw_server(always_answer) as server:
        async with client_of(server):
            pass
        assert server.connections == 0


async def test_closed_client() -> None:
    """A closed client says that it is closed, whatever is asked of it."""
    async with raw_server(always_answer) as server:
        client = client_of(server)
        await client.aclose()
        for call in (client.tasks.get("t-1"), client._core.transport.open_stream(endpoints.stream_task_events("t-1"))):
            with pytest.raises(ConfigurationError, match="closed: make a new one"):
                await call
        with pytest.raises(ConfigurationError, match="closed"):
            async with client:
                pytest.fail("it was opened again")
        assert server.connections == 0


async def test_cancelled() -> None:
    """Closing under cancellation closes all the same."""
    async with raw_server(always_answer) as server:
        client = client_of(server)
        await client.tasks.get("t-1")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.aclose()
        assert await is_closed_to(server)


@table("turns", range(8))
@ASYNCIO
async def test_cancelled_by_asyncio(turns: int) -> None:
    """So does closing that asyncio cancels, wherever it stands."""
    async with raw_server(always_answer) as server:
        client = client_of(server)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(client.tasks.get, "t-1")
        closing = asyncio.ensure_future(client.aclose())
        for _ in range(turns):
            await checkpoint()
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await client.aclose()
        assert await is_closed_to(server)


@table("turns", range(12))
async def test_with_calls_in_flight(turns: int) -> None:
    """Calls in the air end with an error that says why, at whatever point they are, and leave no connection."""
    outcomes: list[Exception] = []

    async with raw_server(stay_silent) as server:
        client = client_of(server, Limits(max_connections=3))

        async def call() -> None:
            try:
                await client.tasks.get("t-1")
            except (TransportError, ConfigurationError) as error:
                outcomes.append(error)

        async with anyio.create_task_group() as group:
            # The last two wait for their turn, and were not sent.
            for _ in range(5):
                group.start_soon(call)
            for _ in range(turns):
                await checkpoint()
            with anyio.fail_after(3):
                await client.aclose()
        assert ["closed" in str(error) for error in outcomes] == [True] * 5
        assert [type(error) for error in outcomes].count(ConfigurationError) >= 2
        assert await is_closed_to(server)
        assert len(server.requests) <= 3


async def test_with_a_submission_in_flight() -> None:
    """A submission that the server has read when the client closes may have arrived, and is not sent again."""
    async with raw_server(stay_silent) as server:
        client = client_of(server)

        async def submit() -> None:
            with pytest.raises(TransportError, match="the client was closed meanwhile") as caught:
                await client.submit("text-to-image", validate=False)
            assert (caught.value.may_have_been_sent, caught.value.retryable) == (True, False)

        async with anyio.create_task_group() as group:
            group.start_soon(submit)
            await anyio.wait_all_tasks_blocked()
            await client.aclose()
        assert len(server.requests) == 1


@table("turns", range(12))
async def test_with_transfers_in_flight(turns: int) -> None:
    """So do requests to storage."""

    async def download(client: AsyncClient, url: str) -> None:
        with pytest.raises((StorageFailure, ConfigurationError), match="closed"):
            await client._core.files.storage.get(Secret(url), {})

    async with raw_server(stay_silent) as server:
        client = client_of(server)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(download, client, server.url)
            for _ in range(turns):
                await checkpoint()
            with anyio.fail_after(3):
                await client.aclose()
        assert await is_closed_to(server)
        assert not client._core.files.storage.is_open


async def test_with_an_open_stream() -> None:
    """Whoever reads an event stream is told that it broke."""

    async def open_stream(peer: Peer) -> None:
        await peer.request()
        await peer.open_events()
        await peer.until_closed()

    async with raw_server(open_stream) as server:
        client = client_of(server)
        connection = await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))

        async def read() -> None:
            with pytest.raises(TransportError):
                await connection.receive()

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await client.aclose()
        await connection.aclose()
        assert await is_closed_to(server)


async def test_closed_from_within() -> None:
    """A client may be closed by its own token provider: no deadlock."""
    async with raw_server(always_answer) as server:

        async def close() -> str:
            await client.aclose()
            return "eyJ-token"

        client = AsyncClient(close, team_id="team", base_url=server.url)
        with pytest.raises(ConfigurationError, match="closed"), anyio.fail_after(3):
            await client.tasks.get("t-1")


def test_another_event_loop() -> None:
    """A client used from another event loop says so at once, and what to do; so does closing it there."""
    client = AsyncClient(
        "sk-test",
        base_url="http://localhost",
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(202, json={}))),
    )

    async def use() -> None:
        await client.tasks.cancel("t-1")

    async def open_stream() -> None:
        await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))

    async def enter() -> None:
        async with client:
            pytest.fail("it was opened")

    anyio.run(use)
    for again in (use, open_stream, enter):
        for backend in ("asyncio", "trio"):
            with pytest.raises(ConfigurationError, match="one client for each event loop"):
                anyio.run(again, backend=backend)


def test_closed_in_another_event_loop() -> None:
    """Connections of another event loop cannot be closed here, which is said; the warning about them comes, too."""
    clients = []

    async def use() -> None:
        async with raw_server(always_answer) as server:
            clients.append(client_of(server))
            await clients[0].tasks.get("t-1")
            # They have to be gone for this test to leave nothing behind.
            for pools in clients[0]._core.transport.connections._pools:
                for pool in pools._shards:
                    await pool.transport.aclose()

    anyio.run(use)
    with pytest.raises(ConfigurationError, match="another event loop"):
        anyio.run(clients[0].aclose)

    def drop() -> None:
        clients.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed <AsyncClient http"):
        drop()


def test_never_opened() -> None:
    """A client that holds no connection may be dropped without a word, and so may one that was never finished."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AsyncClient("sk-test")
        with pytest.raises(ConfigurationError):
            AsyncClient("")
        gc.collect()


async def test_too_late() -> None:
    """An exchange that begins when its client is closed already ends before its first byte."""
    in_flight = InFlight()
    await in_flight.aclose()
    sent = []

    async def send() -> None:
        sent.append(1)

    with pytest.raises(ClientClosed, match="the client was closed meanwhile"):
        await run_in_child_task(send, among=in_flight)
    assert sent == []
