"""Requests that go through to a container service, with both bodies streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from support.raw import Peer, RawServer, raw_server
from support.tables import table

from cyberun_async import (
    AsyncClient,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    DecodeError,
    InvalidParameters,
    Limits,
    RateLimitError,
    ServerSentEvent,
    Timeouts,
    TransportError,
)
from cyberun_async._protocol.container_requests import container_request
from cyberun_async._transport import round_trip
from cyberun_async._transport.body_stream import StreamedRequest
from cyberun_async.local import LocalCyberun

KEY = "sk-0123456789abcdef"


@asynccontextmanager
async def serving(
    handle: Callable[[Peer], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[RawServer, AsyncClient]]:
    options = {"api_key": KEY, **options}
    async with raw_server(handle) as server, AsyncClient(base_url=server.url, **options) as client:
        yield server, client


async def chunked(peer: Peer) -> bytes:
    """Read a request whose body has no length."""
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        received += await peer.stream.receive()
    return received


async def echo(peer: Peer) -> None:
    while True:
        await peer.answer(await peer.request(), headers="Content-Type: text/plain\r\nX-Own: a\r\n")


async def test_a_request_goes_through_as_it_is() -> None:
    """Method, path, query, headers and body arrive at the service's path, signed in; the response comes as it is."""
    async with (
        serving(echo) as (_, client),
        client.containers.stream(
            "whisper", "PUT", "/a b/é?x=1&y=%2F", content=b"\x00body", headers={"accept": "text/plain", "X-Mine": "1"}
        ) as response,
    ):
        assert response.status_code == 200
        assert (response.headers["content-type"], response.headers["X-OWN"]) == ("text/plain", "a")
        head, _, body = (await response.read()).decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0] == "PUT /api/v1/r/containers/whisper/a%20b/%C3%A9?x=1&y=%2F HTTP/1.1"
    assert {"Accept: text/plain", "X-Mine: 1", f"Authorization: Bearer {KEY}", "Content-Length: 5"} <= set(lines)
    assert body == "\x00body"


async def test_a_body_that_comes_in_blocks() -> None:
    """An async iterable is sent block by block, and closed, and its length is not needed."""
    is_closed = False

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal is_closed
        try:
            yield b"one"
            yield b"two"
        finally:
            is_closed = True

    async def serve(peer: Peer) -> None:
        await peer.answer(await chunked(peer))

    async with (
        serving(serve) as (_, client),
        client.containers.stream("w", "POST", "/", content=blocks()) as response,
    ):
        received = await response.read()
    assert b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n" in received
    assert b"Transfer-Encoding: chunked" in received
    assert b"content-length" not in received.lower()
    assert is_closed


async def test_bytes_as_they_arrive() -> None:
    """A response can be read while the service is still sending it, and after a cancelled step."""
    more = anyio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await peer.until_closed()

    async with serving(serve) as (_, client), client.containers.stream("w", "GET", "/") as response:
        assert await response.__anext__() == b"one"
        with anyio.move_on_after(0.01) as scope:
            await response.__anext__()
        assert scope.cancelled_caught
        more.set()
        assert [chunk async for chunk in response] == [b"two"]
        await response.aclose()
        assert [chunk async for chunk in response] == []


async def test_server_sent_events() -> None:
    """Events come one by one, with their names, ids and what they say of reconnecting."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.open_events()
        await peer.send(
            b": hello\n\nid: 1\nretry: 50\nevent: token\ndata: a\ndata: b\n\ndata: [DONE]\n\nevent: none\n\n"
        )

    async with serving(serve) as (_, client), client.containers.stream("llm", "POST", "/v1/chat") as response:
        assert [event async for event in response.events()] == [
            ServerSentEvent("token", "a\nb", "1", 50),
            ServerSentEvent("message", "[DONE]", "1"),
        ]


@table(
    ("headers", "problem"),
    [
        pytest.param("Content-Type: application/json\r\n", "application/json", id="another type"),
        pytest.param("", "the content type is ''", id="none"),
        pytest.param(
            "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", "compressed by 'gzip'", id="gzip"
        ),
    ],
)
async def test_no_event_stream(headers: str, problem: str) -> None:
    """What is no event stream cannot be read as one."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.answer("x", headers=headers)

    async with serving(serve) as (_, client), client.containers.stream("w", "GET", "/") as response:
        with pytest.raises(DecodeError, match=problem):
            response.events()


async def test_limits() -> None:
    """An event, and a body that is read as a whole, are bounded."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.answer("data: " + "x" * 2000 + "\n\n", headers="Content-Type: text/event-stream\r\n")

    async with serving(serve, limits=Limits(max_event_bytes=1000)) as (_, client):
        async with client.containers.stream("w", "GET", "/") as response:
            with pytest.raises(DecodeError, match="max_event_bytes"):
                await response.events().__anext__()
        async with client.containers.stream("w", "GET", "/") as response:
            with pytest.raises(DecodeError, match="more than 10 bytes"):
                await response.read(10)


async def refused(peer: Peer) -> None:
    await peer.request()
    await peer.answer('{"error_message": "service is not running"}', status=409)


async def test_an_error_response() -> None:
    """A status of 400 or above is the error of its class, with what was said, or a response where that is asked for."""
    async with serving(refused) as (server, client):
        with pytest.raises(ConflictError, match="service is not running") as caught:
            async with client.containers.stream("w", "GET", "/a?secret=1"):
                raise AssertionError
        assert "secret" not in str(caught.value)
        async with client.containers.stream("w", "GET", "/", raise_for_status=False) as response:
            assert (response.status_code, await response.read()) == (
                409,
                b'{"error_message": "service is not running"}',
            )
        await server.until(lambda server: server.open == 0)


async def test_a_429_of_a_service_slows_nobody_else() -> None:
    """The service's own rate limit is its caller's error, and no pause of the client."""

    async def serve(peer: Peer) -> None:
        while b"/r/containers" in await peer.request():
            await peer.answer("{}", status=429, headers="Retry-After: 50\r\n")
        await peer.answer()

    async with serving(serve) as (_, client):
        with pytest.raises(RateLimitError):
            async with client.containers.stream("w", "GET", "/"):
                raise AssertionError
        with anyio.fail_after(10):
            await client.tasks.get("t-1")


@table("raises", [True, False], ids=["raising", "not raising"])
async def test_a_fresh_token(raises: bool) -> None:
    """A token that is rejected is asked for once more, and the body is sent again."""
    tokens = iter(["old", "new", "newer"])

    async def provider() -> str:
        return next(tokens)

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.answer(request[-4:], status=200 if b"Bearer new" in request else 401)

    async with (
        serving(serve, api_key=provider, team_id="t") as (server, client),
        client.containers.stream("w", "POST", "/", content=b"body", raise_for_status=raises) as response,
    ):
        assert (response.status_code, await response.read()) == (200, b"body")
    assert len(server.requests) == 2


async def test_a_body_that_cannot_be_sent_again() -> None:
    """With a body that comes once, a rejected token is an error."""

    async def provider() -> str:
        return "old"

    async def serve(peer: Peer) -> None:
        await chunked(peer)
        await peer.answer("{}", status=401)

    async def blocks() -> AsyncIterator[bytes]:
        yield b"x"

    async with serving(serve, api_key=provider, team_id="t") as (server, client):
        with pytest.raises(AuthenticationError):
            async with client.containers.stream("w", "POST", "/", content=blocks()):
                raise AssertionError
    assert server.connections == 1


async def test_content_that_fails() -> None:
    """What the content raises comes out as it is, and the connection is closed."""

    async def blocks() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("my own")

    async def serve(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(serve) as (server, client):
        with pytest.raises(LookupError, match="my own"):
            async with client.containers.stream("w", "POST", "/", content=blocks()):
                raise AssertionError
        await server.until(lambda server: server.connections == 1 and server.open == 0)


async def test_content_that_is_text() -> None:
    """Content that gives text says so, and is no failure of the connection."""

    async def lines() -> AsyncIterator[Any]:
        yield "text"

    async def serve(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(serve) as (_, client):
        with pytest.raises(InvalidParameters, match="must give bytes, and has given str"):
            async with client.containers.stream("w", "POST", "/", content=lines()):
                raise AssertionError


@table("after", ["nothing", "the head"])
async def test_a_connection_that_breaks(after: str) -> None:
    """A broken connection is a `TransportError`, and nothing is retried."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        if after == "the head":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await peer.reset()

    async with serving(serve) as (server, client):
        with pytest.raises(TransportError) as caught:
            async with client.containers.stream("w", "GET", "/?secret=1") as response:
                await response.read()
        assert caught.value.may_have_been_sent
        assert "secret" not in str(caught.value)
        assert len(server.requests) == 1


@table("waits_for", ["the response", "the body"])
async def test_cancelled(waits_for: str) -> None:
    """Wherever a caller leaves, the connection is closed."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        if waits_for == "the body":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        entered.set()
        await peer.until_closed()

    entered = anyio.Event()

    async def read() -> None:
        async with client.containers.stream("w", "GET", "/") as response:
            await response.read()

    async with serving(serve) as (server, client):
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await entered.wait()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await server.until(lambda server: server.open == 0)


async def test_cancelled_as_the_head_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where a caller leaves in the moment in which the response is there, and not yet theirs."""
    keep_alive = round_trip.keep_alive

    def leave(response: httpx.Response) -> None:
        keep_alive(response)
        scope.cancel()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await peer.until_closed()

    monkeypatch.setattr(round_trip, "keep_alive", leave)
    async with serving(serve) as (server, client):
        with anyio.CancelScope() as scope:
            async with client.containers.stream("w", "GET", "/") as response:
                await response.read()
        assert scope.cancelled_caught
        await server.until(lambda server: server.open == 0)


async def test_silence() -> None:
    """A service that falls silent is an error after `Timeouts.stream`."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await peer.until_closed()

    async with (
        serving(serve, timeouts=Timeouts(stream=0.05)) as (_, client),
        client.containers.stream("w", "GET", "/") as response,
    ):
        with pytest.raises(TransportError):
            await response.read()


async def test_used_wrongly() -> None:
    """Before it is entered there is no response, and it is sent once; its repr says what it is."""
    async with serving(echo) as (_, client):
        stream = client.containers.stream("w", "GET", "/a?secret=1")
        assert repr(stream) == "<ContainerStream GET /r/containers/w/a>"
        for use in (lambda: stream.status_code, lambda: stream.headers, stream.events):
            with pytest.raises(ConfigurationError, match="no response yet"):
                use()
        await stream.aclose()
        async with stream as response:
            assert repr(response) == "<ContainerStream GET /r/containers/w/a, 200>"
            assert "200: <CancelSafeBody" in repr(response._body)
        assert repr(response._body) == "<BodyStream /r/containers/w/a, 200: closed>"
        with pytest.raises(ConfigurationError, match="sent once"):
            async with stream:
                raise AssertionError


@table(
    ("changes", "problem"),
    [
        pytest.param({"method": "TRACE"}, "method must be one of", id="method"),
        pytest.param({"path": "a"}, "single slash", id="no slash"),
        pytest.param({"path": "//elsewhere"}, "single slash", id="another host"),
        pytest.param({"path": "https://elsewhere/"}, "single slash", id="a URL"),
        pytest.param({"path": None}, "single slash", id="none"),
        pytest.param({"path": "/a/../../b"}, "'..'", id="upwards"),
        pytest.param({"path": "/%2e%2E/b"}, "'..'", id="upwards, encoded"),
        pytest.param({"path": "/%252e%252e/b"}, "'..'", id="upwards, encoded twice"),
        pytest.param({"path": "/a%2f..%2fb"}, "'..'", id="upwards by encoded slashes"),
        pytest.param({"path": "/a\\..\\b"}, "'..'", id="upwards by backslashes"),
        pytest.param({"path": "/..;a/b"}, "'..'", id="upwards with a parameter"),
        pytest.param({"path": "/./a"}, "'.'", id="here"),
        pytest.param({"path": "/a\nb"}, "printable", id="a line break"),
        pytest.param({"path": "/a#b"}, "fragment", id="a fragment"),
        pytest.param({"path": "/\ud800"}, "printable", id="half a character"),
        pytest.param({"content": "text"}, "content must be bytes", id="text"),
        pytest.param({"content": {"a": 1}}, "content must be bytes", id="a mapping"),
        pytest.param({"headers": [("a", "b")]}, "headers must be strings by name", id="headers as pairs"),
        pytest.param({"headers": {"a": 1}}, "headers must be strings by name", id="a number in a header"),
        pytest.param({"headers": {"authorization": "x"}}, "is the client's own", id="another key"),
        pytest.param({"headers": {"Transfer-Encoding": "x"}}, "is the client's own", id="of the connection"),
        pytest.param({"headers": {"a b": "x"}}, "cannot be sent", id="no name"),
        pytest.param({"headers": {"a": "secret\r\nb: c"}}, "cannot be sent", id="a header in a header"),
        pytest.param({"slug": ".."}, "the service must not be '..'", id="another route"),
    ],
)
def test_what_cannot_be_sent(changes: dict[str, Any], problem: str) -> None:
    """What would not go to that service, with this client's key, is refused before anything is sent."""
    given: dict[str, Any] = {"slug": "w", "method": "GET", "path": "/", "content": None, "headers": None, **changes}
    with pytest.raises(InvalidParameters, match=problem) as caught:
        container_request(given.pop("slug"), given.pop("method"), given.pop("path"), **given)
    assert "secret" not in str(caught.value)


def test_what_is_sent() -> None:
    """Bytes of every kind are bytes, and what is encoded already stays so."""
    request = container_request("w", "POST", "/a%20b/..c/...?q=../x", content=bytearray(b"x"), headers=None)
    assert (request.target, request.content) == ("/r/containers/w/a%20b/..c/...?q=../x", b"x")
    assert request.call.path == "/r/containers/w/a%20b/..c/..."
    assert repr(StreamedRequest(request)) == "<StreamedRequest POST /r/containers/w/a%20b/..c/...>"


async def test_by_the_local_server() -> None:
    """The local server's service streams both ways: a body comes back in parts, and events as they are due."""

    async def blocks() -> AsyncIterator[bytes]:
        for number in range(3):
            yield bytes([number]) * 100_000

    with LocalCyberun() as server:
        async with AsyncClient(server.api_key, base_url=server.base_url) as client:
            async with client.containers.stream("echo", "POST", "/stream", content=blocks()) as response:
                assert await response.read() == b"".join(bytes([number]) * 100_000 for number in range(3))
            async with client.containers.stream("echo", "GET", "/events?count=2") as response:
                events = [event async for event in response.events()]
            assert events == [ServerSentEvent("tick", f'{{"n": {n}}}', str(n)) for n in (1, 2)]
            async with client.containers.stream("echo", "GET", "/any?x=1") as response:
                assert b'"path": "/any?x=1"' in await response.read()
            with pytest.raises(ConflictError, match="not running"):
                async with client.containers.stream("asleep", "GET", "/"):
                    raise AssertionError


async def test_through_a_client_of_the_users() -> None:
    """A client of the user's own, such as a mocked one, sees the request as it is, and both bodies are streamed."""

    async def blocks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append((request.content, request.headers.get("content-length"), request.headers.get("authorization")))
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=b"data: x\n\n")

    seen: list[tuple[bytes, str | None, str | None]] = []
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(respond)) as own,
        AsyncClient(KEY, base_url="http://localhost/api/v1", http_client=own) as client,
    ):
        for content in (blocks(), b"body", None):
            async with client.containers.stream("w", "POST", "/", content=content) as response:
                assert [event.data async for event in response.events()] == ["x"]
    assert seen == [
        (b"onetwo", None, f"Bearer {KEY}"),
        (b"body", "4", f"Bearer {KEY}"),
        (b"", "0", f"Bearer {KEY}"),
    ]
