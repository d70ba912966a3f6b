"""A user's own HTTP client: its transport is used, and nothing else of it."""

from __future__ import annotations

import logging
import ssl

import httpx
import pytest
import trustme
from httpx_aiohttp import AiohttpTransport
from support.raw import Peer, RawServer, always_answer, raw_server
from support.tables import table

from cyberun_async import AsyncClient, ConfigurationError, NotFoundError, Retries, TransportError
from cyberun_async._protocol import endpoints

ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def client_of(server: RawServer, http: httpx.AsyncClient, **options: Retries) -> AsyncClient:
    return AsyncClient("sk-test", base_url=server.url, http_client=http, **options)  # type: ignore[arg-type]


async def test_nothing_of_theirs_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    """Their headers, cookies, auth, parameters, base URL and hooks stay out, and they keep no cookie of ours."""
    hooked = []

    async def hook(message: object) -> None:
        hooked.append(message)

    async def set_a_cookie(peer: Peer) -> None:
        await peer.request()
        await peer.answer(headers="Set-Cookie: session=1\r\n")
        await peer.until_closed()

    async with (
        raw_server(set_a_cookie) as server,
        httpx.AsyncClient(
            headers={"X-Theirs": "1", "Authorization": "Basic dTpw", "User-Agent": "theirs"},
            cookies={"theirs": "1"},
            params={"theirs": "1"},
            auth=("user", "password"),
            base_url="http://elsewhere.test",
            event_hooks={"request": [hook], "response": [hook]},
            trust_env=False,
        ) as http,
    ):
        caplog.set_level(logging.DEBUG, "httpx")
        async with client_of(server, http) as client:
            await client.tasks.get("t-1")
        request = server.requests[0].lower()
        assert request.startswith(b"get /api/v1/r/tasks/t-1 http/1.1\r\n")
        assert b"theirs" not in request
        assert b"cookie" not in request
        assert b"\r\nauthorization: bearer sk-test\r\n" in request
        assert request.count(b"authorization") == 1
        assert (hooked, dict(http.cookies), caplog.records) == ([], {"theirs": "1"}, [])
        assert not http.is_closed


async def test_no_redirect() -> None:
    """A client that follows redirects follows none of ours."""

    async def redirect(peer: Peer) -> None:
        await peer.request()
        await peer.answer("", status=302, headers="Location: http://elsewhere.test/?X-Amz-Signature=abc\r\n")

    async with raw_server(redirect) as server, httpx.AsyncClient(follow_redirects=True) as http:
        async with client_of(server, http) as client:
            with pytest.raises(Exception, match=r"redirects to http://elsewhere\.test; is base_url right"):
                await client.tasks.get("t-1")
        assert len(server.requests) == 1


async def test_their_own_trust(authority: trustme.CA, server_tls: ssl.SSLContext) -> None:
    """Their TLS context is what a server is checked by."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with raw_server(always_answer, tls=server_tls) as server, httpx.AsyncClient(verify=context) as http:
        async with client_of(server, http) as client:
            assert (await client.tasks.get("t-1")).id == "t-1"


async def test_their_own_proxy() -> None:
    """Their proxies and mounts are honoured."""
    async with raw_server(always_answer) as proxy, httpx.AsyncClient(proxy=f"http://127.0.0.1:{proxy.port}") as http:
        async with AsyncClient(
            "sk-test", base_url="http://cyberun.test", allow_insecure_http=True, http_client=http
        ) as client:
            assert (await client.tasks.get("t-1")).id == "t-1"
        assert proxy.requests[0].startswith(b"GET http://cyberun.test/r/tasks/t-1 HTTP/1.1\r\n")


async def test_never_closed() -> None:
    """It is theirs to close, and once it is closed that is what the error says."""
    async with raw_server(always_answer) as server:
        http = httpx.AsyncClient()
        async with client_of(server, http) as client:
            await client.tasks.get("t-1")
        assert not http.is_closed
        await http.aclose()
        async with client_of(server, http) as client:
            with pytest.raises(ConfigurationError, match="your own httpx client is closed"):
                await client.tasks.get("t-1")


@table("theirs", [httpx.Client, object], ids=["not async", "not httpx"])
def test_another_kind(theirs: type) -> None:
    """What cannot be used is refused when the client is made."""
    with pytest.raises(ConfigurationError, match=r"must be an httpx\.AsyncClient"):
        AsyncClient("sk-test", http_client=theirs())


async def test_streams_by_their_client() -> None:
    """Event streams go through it, too."""

    async def open_stream(peer: Peer) -> None:
        await peer.request()
        await peer.open_events()
        await peer.send(b"data: {}\n\n")
        await peer.until_closed()

    async with (
        raw_server(open_stream) as server,
        httpx.AsyncClient(verify=False) as http,
        client_of(server, http) as client,
    ):
        connection = await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))
        assert [event.data for event in await connection.receive() or ()] == ["{}"]
        await connection.aclose()


@ASYNCIO
async def test_aiohttp() -> None:
    """Calls, refusals and event streams work by aiohttp, and leave nothing behind."""

    async def answer(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if b"/events " in request:
                await peer.open_events()
                await peer.send(b"data: {}\n\n")
                await peer.until_closed()
            elif b"unknown" in request:
                await peer.answer('{"error_message": "no such task"}', status=404)
            else:
                await peer.answer()

    async with raw_server(answer) as server, httpx.AsyncClient(transport=AiohttpTransport()) as http:
        async with client_of(server, http) as client:
            assert (await client.tasks.get("t-1")).id == "t-1"
            with pytest.raises(NotFoundError, match="no such task"):
                await client.tasks.get("unknown")
            connection = await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))
            assert [event.data for event in await connection.receive() or ()] == ["{}"]
            await connection.aclose()


@ASYNCIO
async def test_aiohttp_submits_once() -> None:
    """A submission whose connection breaks after it arrived is sent once, though httpx-aiohttp says `ConnectTimeout`."""

    async def close_after_the_request(peer: Peer) -> None:
        await peer.request()

    async with raw_server(close_after_the_request) as server, httpx.AsyncClient(transport=AiohttpTransport()) as http:
        async with client_of(server, http, retries=Retries(initial=0.001, budget=0.05)) as client:
            with pytest.raises(TransportError) as caught:
                await client.submit("text-to-image", validate=False)
        assert caught.value.may_have_been_sent
        assert len(server.requests) == 1


@ASYNCIO
async def test_aiohttp_without_a_server() -> None:
    """Where there is no connection by aiohttp, nothing was sent."""
    async with raw_server(always_answer) as server:
        pass
    async with httpx.AsyncClient(transport=AiohttpTransport()) as http:
        async with client_of(server, http, retries=Retries(budget=0)) as client:
            with pytest.raises(TransportError) as caught:
                await client.submit("text-to-image", validate=False)
    assert not caught.value.may_have_been_sent
