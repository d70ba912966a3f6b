"""Bytes beyond the end of a response are the response to no other request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from support.in_memory import NO_WAIT
from support.raw import Peer, raw_server
from support.tables import table

from cyberun_async import AsyncClient
from cyberun_async._transport.bodies import close_body


def response(body: str, *, status: int = 202) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def submitted(number: int) -> bytes:
    return response(f'{{"task_id": "t-{number}"}}')


SURPLUS = {
    "a second response": submitted(99),
    "a length that is too short": b"0\r\n\r\n",
    "one byte": b"\n",
}


@asynccontextmanager
async def connected(url: str, whose: str) -> AsyncIterator[AsyncClient]:
    """Connect by connections of the client's own, or by a client of the user's."""
    async with httpx.AsyncClient(verify=False) as own:
        http_client = own if whose == "user" else None
        async with AsyncClient("sk-test", base_url=url, retries=NO_WAIT, http_client=http_client) as client:
            yield client


@table("surplus", SURPLUS.values(), ids=SURPLUS)
@table("whose", ["client", "user"])
async def test_next_submission(surplus: bytes, whose: str) -> None:
    """The next submission gets its own response, by another connection, and not what was left over from the one before.

    Source: https://www.rfc-editor.org/rfc/rfc9112#section-6.3-8
    """

    async def answer(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(submitted(len(server.requests)) + surplus)

    async with raw_server(answer) as server, connected(server.url, whose) as client:
        ids = [await client.submit("w", {}, validate=False) for _ in range(3)]
    assert ids == ["t-1", "t-2", "t-3"]
    assert server.connections == 3


async def test_next_file() -> None:
    """A file has the bytes of its own response."""
    first, second = b"first", b"other"

    async def answer(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if b"/api/" in request:
                links = ", ".join(f'"{name}": "{server.url}/../../{name}?sig=s"' for name in ("a.txt", "b.txt"))
                await peer.send(response(f'{{"id": "t-1", "task_status": "completed", "download_urls": {{{links}}}}}'))
                continue
            body = first if b"/a.txt" in request else second
            await peer.send(response(body.decode(), status=200) + response("wrong", status=200))

    async with raw_server(answer) as server, AsyncClient("sk-test", base_url=server.url, retries=NO_WAIT) as client:
        result = await client.tasks.result("t-1")
        assert [await client.read_file(file) for file in result.files] == [first, second]


async def test_exact_responses() -> None:
    """A connection on which each response ends where it says is kept."""

    async def answer(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(submitted(len(server.requests)))

    async with raw_server(answer) as server, AsyncClient("sk-test", base_url=server.url) as client:
        assert [await client.submit("w", {}, validate=False) for _ in range(3)] == ["t-1", "t-2", "t-3"]
    assert server.connections == 1


async def test_stream_of_another_kind() -> None:
    """A stream in which no parser is found, though it is looked for in what it wraps, is just closed."""
    is_closed = []

    class Stream(httpx.AsyncByteStream):
        def __init__(self) -> None:
            self._stream = self

        async def aclose(self) -> None:
            is_closed.append(True)

    await close_body(Stream(), None)
    assert is_closed == [True]
