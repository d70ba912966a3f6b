"""HTTP/2, where it is asked for: for calls, and never for event streams."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib import util

import anyio
import httpx
import pytest
import trustme
from anyio.streams.tls import TLSAttribute
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from support.raw import TASK, Peer, always_answer, raw_server

from cyberun_async import AsyncClient, ConfigurationError
from cyberun_async._protocol import endpoints
from cyberun_async._transport import tls


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Offer both protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def protocol_of(peer: Peer) -> str | None:
    protocol: str | None = peer.stream.extra(TLSAttribute.alpn_protocol)
    return protocol


async def serve_http2(peer: Peer, answered: Callable[[str], bool] = lambda _: True) -> None:
    """Answer each request with a task; of one that `answered` denies, only the beginning."""
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    await peer.send(connection.data_to_send())
    paths: dict[int, str] = {}
    while True:
        for event in connection.receive_data(await peer.stream.receive()):
            _note(connection, paths, event)
            if isinstance(event, StreamEnded):
                path = paths[event.stream_id]
                peer.server.requests.append(path.encode())
                connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
                is_whole = answered(path)
                connection.send_data(event.stream_id, TASK.encode()[: None if is_whole else 5], end_stream=is_whole)
        await peer.send(connection.data_to_send())


def _note(connection: H2Connection, paths: dict[int, str], event: Event) -> None:
    if isinstance(event, RequestReceived):
        paths[event.stream_id] = dict(event.headers)[b":path"].decode()  # type: ignore[index]
    elif isinstance(event, DataReceived):
        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


async def test_calls(server_tls: ssl.SSLContext, trusted: None) -> None:
    """Calls share connections; the context of HTTP/2 is not that of the rest."""
    async with raw_server(serve_http2, tls=server_tls) as server:
        async with AsyncClient("sk-test", base_url=server.url, http2=True) as client:
            await client.tasks.get("t-1")
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(client.tasks.get, "t-1")
        assert server.connections == 1
        assert len(server.requests) == 5
        assert list(tls._shared) == ["HTTP/2"]


async def test_cancelled_call(server_tls: ssl.SSLContext, trusted: None) -> None:
    """A call that is cancelled in the middle of its answer leaves the connection to the others."""

    async def serve(peer: Peer) -> None:
        await serve_http2(peer, lambda path: not path.endswith("/half"))

    async with raw_server(serve, tls=server_tls) as server:
        async with AsyncClient("sk-test", base_url=server.url, http2=True) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.tasks.get, "half")
                await anyio.wait_all_tasks_blocked()
                assert (await client.tasks.get("t-1")).id == "t-1"
                group.cancel_scope.cancel()
            assert (await client.tasks.get("t-1")).id == "t-1"
        assert server.connections == 1


async def test_streams(server_tls: ssl.SSLContext, trusted: None) -> None:
    """An event stream has an HTTP/1.1 connection to itself, also where calls go by HTTP/2."""
    protocols = []

    async def serve(peer: Peer) -> None:
        protocols.append(protocol_of(peer))
        if protocols[-1] == "h2":
            await serve_http2(peer)
        await peer.request()
        await peer.open_events()
        await peer.until_closed()

    async with raw_server(serve, tls=server_tls) as server:
        async with AsyncClient("sk-test", base_url=server.url, http2=True) as client:
            await client.tasks.get("t-1")
            connection = await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))
            await client.tasks.get("t-1")
            await connection.aclose()
    assert protocols == ["h2", "http/1.1"]


async def test_off_by_default(server_tls: ssl.SSLContext, trusted: None) -> None:
    """Without the option, HTTP/2 is not even offered."""
    protocols = []

    async def serve(peer: Peer) -> None:
        protocols.append(protocol_of(peer))
        await always_answer(peer)

    async with raw_server(serve, tls=server_tls) as server, AsyncClient("sk-test", base_url=server.url) as client:
        await client.tasks.get("t-1")
    assert protocols == ["http/1.1"]


def test_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the option says what to install."""
    find_spec = util.find_spec
    monkeypatch.setattr("cyberun_async._settings.find_spec", lambda name: None if name == "h2" else find_spec(name))
    with pytest.raises(ConfigurationError, match=r"pip install '.\[http2\]'"):
        AsyncClient("sk-test", http2=True)


def test_own_client() -> None:
    """A client of one's own decides by itself."""
    with pytest.raises(ConfigurationError, match="set it on your http_client"):
        AsyncClient("sk-test", http2=True, http_client=httpx.AsyncClient())


async def test_submissions(server_tls: ssl.SSLContext, trusted: None) -> None:
    """Submissions go by HTTP/1.1, where an idle connection that was closed is seen before it is used again."""
    protocols = []

    async def serve(peer: Peer) -> None:
        protocols.append(protocol_of(peer))
        if protocols[-1] == "h2":
            await serve_http2(peer)
        await peer.request()
        await peer.answer('{"task_id": "t-1"}', status=202)

    async with raw_server(serve, tls=server_tls) as server:
        async with AsyncClient("sk-test", base_url=server.url, http2=True) as client:
            await client.tasks.get("t-1")
            for _ in range(2):
                assert await client.submit("text-to-image", validate=False) == "t-1"
                await server.until(lambda server: server.open == 1)
            await client.tasks.get("t-1")
    assert protocols == ["h2", "http/1.1", "http/1.1"]
