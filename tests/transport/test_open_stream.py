"""Opening an event stream: what is asked, what is accepted, and what each other answer means."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from support.raw import Peer, RawServer, always_answer, raw_server
from support.tables import table

from cyberun_async import (
    APIError,
    AsyncClient,
    AuthenticationError,
    DecodeError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    Timeouts,
    TransportError,
    TransportTimeout,
)
from cyberun_async._protocol import endpoints

CALL = endpoints.stream_task_events("t-1")


def client_of(server: RawServer, **timeouts: float) -> AsyncClient:
    return AsyncClient("sk-test", base_url=server.url, limits=Limits(max_streams=2), timeouts=Timeouts(**timeouts))


def fields_of(request: bytes) -> dict[bytes, bytes]:
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


async def accept(peer: Peer) -> None:
    await peer.request()
    await peer.open_events()
    await peer.until_closed()


@table(
    ("last_event_id", "sent"),
    [
        pytest.param("", None, id="none"),
        pytest.param("41", b"41", id="seen"),
        pytest.param(" 41 ", b"41", id="with white space around"),
        pytest.param(" ", None, id="white space only"),
        pytest.param("\x01", None, id="a control character"),
        pytest.param("41\r\nX-Evil: 1", None, id="a line break"),
        pytest.param("é", None, id="beyond ASCII"),
        pytest.param("x" * 100_000, None, id="longer than servers take"),
    ],
)
async def test_request(last_event_id: str, sent: bytes | None) -> None:
    """It asks for events, uncached and uncompressed, from the last one seen, where that fits into a header."""
    async with raw_server(accept) as server, client_of(server) as client:
        connection = await client._core.transport.open_stream(CALL, last_event_id=last_event_id)
        await connection.aclose()
        fields = fields_of(server.requests[0])
    assert fields[b"accept"] == b"text/event-stream"
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"accept-encoding"] == b"identity"
    assert fields[b"authorization"] == b"Bearer sk-test"
    assert fields.get(b"last-event-id") == sent
    assert b"x-evil" not in fields


@table("encoding", ["none", "utf-8", "UTF-8", "", "identity", "identity, none"])
async def test_content_encoding(encoding: str) -> None:
    """A content coding that is no compression changes nothing: some web frameworks send one with each stream."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.open_events(f"Content-Encoding: {encoding}\r\n")
        await peer.send(b"data: {}\n\n")

    async with raw_server(answer) as server, client_of(server) as client:
        connection = await client._core.transport.open_stream(CALL)
        assert [event.data for event in await connection.receive() or ()] == ["{}"]
        await connection.aclose()


@table(
    "kind", ["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream;x=y", " text/event-stream "]
)
async def test_content_type(kind: str) -> None:
    """The content type of a stream may be spelled in every way that HTTP allows."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 200 OK\r\nContent-Type:{kind}\r\n\r\ndata: {{}}\n\n".encode())

    async with raw_server(answer) as server, client_of(server) as client:
        connection = await client._core.transport.open_stream(CALL)
        assert [event.data for event in await connection.receive() or ()] == ["{}"]
        await connection.aclose()


@table(
    ("status", "head", "kind", "words"),
    [
        pytest.param(401, "", AuthenticationError, "nope", id="401"),
        pytest.param(403, "", PermissionDeniedError, "nope", id="403"),
        pytest.param(404, "", NotFoundError, "nope", id="404"),
        pytest.param(500, "", ServerError, "nope", id="500"),
        pytest.param(
            503, "Content-Type: text/event-stream\r\n", ServerError, "nope", id="503 that looks like a stream"
        ),
        pytest.param(307, "Location: https://x.test/y?sig=1\r\n", APIError, "nope", id="redirect"),
        pytest.param(200, "Content-Type: application/json\r\n", DecodeError, "'application/json'", id="JSON"),
        pytest.param(200, "", DecodeError, "200 with the content type ''", id="nothing said"),
        pytest.param(204, "Content-Type: text/event-stream\r\n", DecodeError, "204 with the content", id="no content"),
        pytest.param(
            200,
            "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n",
            DecodeError,
            "compressed by 'gzip'",
            id="compressed",
        ),
        pytest.param(
            200,
            "Content-Type: text/event-stream\r\nContent-Encoding: br, identity\r\n",
            DecodeError,
            "compressed by 'br, identity'",
            id="compressed, in several steps",
        ),
    ],
)
async def test_not_a_stream(status: int, head: str, kind: type[Exception], words: str) -> None:
    """Whatever is not a stream is told for what it is, and the place for a stream is free again."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        body = "" if status == 204 else '{"error_message": "nope"}'
        await peer.answer(body, status=status, headers=head)
        await peer.until_closed()

    async with raw_server(answer) as server, client_of(server) as client:
        for _ in range(3):
            with pytest.raises(kind, match=words):
                await client._core.transport.open_stream(CALL)
        assert client._core.transport.has_free_stream
        with anyio.fail_after(5):
            await server.until(lambda server: server.open == 0)


async def test_no_answer() -> None:
    """A server that does not answer costs as long as a call may take; the next one is free to be opened."""

    async def stay_silent(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    async with raw_server(stay_silent) as server, client_of(server, call=0.05) as client:
        with pytest.raises(TransportTimeout, match=r"not done within 0\.05 s"):
            await client._core.transport.open_stream(CALL)
        assert client._core.transport.connections.free_streams == 2
        with anyio.fail_after(5):
            await server.until(lambda server: server.open == 0)


async def test_budget() -> None:
    """Streams have a number of their own; whoever waits for a free one is told of each."""
    told = []
    async with raw_server(accept) as server, client_of(server) as client:
        transport = client._core.transport
        transport.on_free_stream = lambda: told.append(transport.connections.free_streams) or True
        transport.want_stream()
        streams = [await transport.open_stream(CALL) for _ in range(2)]
        assert not transport.has_free_stream
        await streams[0].aclose()
        await streams[0].aclose()
        assert transport.has_free_stream
        await streams[1].aclose()
    assert told == [1, 2]


async def test_nobody_there() -> None:
    """Without a server there is no stream, and the place is free again."""
    async with raw_server(accept) as server:
        pass
    async with client_of(server) as client:
        with pytest.raises(TransportError) as caught:
            await client._core.transport.open_stream(CALL)
        assert not caught.value.may_have_been_sent
        assert client._core.transport.connections.free_streams == 2


async def test_fresh_token() -> None:
    """A 401 on a stream asks for one more token; the stream that then opens is the one that is given."""
    tokens: Iterator[str] = iter(["eyJ-old", "eyJ-new", "eyJ-never"])

    async def provide() -> str:
        return next(tokens)

    async def check(peer: Peer) -> None:
        if b"Bearer eyJ-new\r\n" in await peer.request():
            await peer.open_events()
            await peer.until_closed()
        else:
            await peer.answer("{}", status=401)

    async with raw_server(check) as server:
        async with AsyncClient(provide, team_id="team", base_url=server.url) as client:
            connection = await client._core.transport.open_stream(CALL)
            await connection.aclose()
        assert len(server.requests) == 2
    assert next(tokens) == "eyJ-never"


async def test_calls_beside_streams() -> None:
    """A client full of streams still has room for calls."""

    async def serve(peer: Peer) -> None:
        if b"/events " in await peer.request():
            await peer.open_events()
            await peer.until_closed()
        else:
            await peer.answer()
            await always_answer(peer)

    async with raw_server(serve) as server, client_of(server) as client:
        streams = [await client._core.transport.open_stream(CALL) for _ in range(2)]
        assert (await client.tasks.get("t-1")).id == "t-1"
        for stream in streams:
            await stream.aclose()
