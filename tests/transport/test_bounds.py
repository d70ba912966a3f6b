"""Whatever a server sends, it takes a bounded amount of memory and ends in an error of ours."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
from support.raw import TASK, Peer, raw_server
from support.tables import table

from cyberun_async import (
    AsyncClient,
    BadRequestError,
    CyberunError,
    DecodeError,
    Limits,
    Retries,
    ServerError,
    Timeouts,
    TransportError,
    TransportTimeout,
)

LIMITS = Limits(max_response_bytes=10_000)
ONCE = Retries(budget=0)
BOMB = gzip.compress(b" " * 1_000_000)


async def get(body: bytes, *, status: int = 200, headers: str = "", length: bool = True) -> object:
    """Ask for a task and be answered so."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        if length:
            await peer.answer(body, status=status, headers=headers)
        else:
            await peer.send(f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode() + body)
            return
        await peer.until_closed()

    async with raw_server(answer) as server:
        async with AsyncClient("sk-test", base_url=server.url, limits=LIMITS, retries=ONCE) as client:
            try:
                return await client.tasks.get("t-1")
            finally:
                assert client._core.transport.connections.call_slots.value == LIMITS.max_connections
                assert [pool.load for pool in client._core.transport.connections._pools[0]._shards] in ([], [0])


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)


@table(
    ("body", "encoding"),
    [
        pytest.param(TASK.encode(), "", id="as it is"),
        pytest.param(TASK.encode(), "identity", id="identity"),
        pytest.param(gzip.compress(TASK.encode()), "gzip", id="gzip"),
        pytest.param(gzip.compress(TASK.encode()), "X-GZIP", id="x-gzip"),
        pytest.param(deflated(TASK.encode()), "deflate", id="deflate"),
        pytest.param(deflated(TASK.encode())[2:-4], "deflate", id="deflate, raw"),
        pytest.param(
            gzip.compress(TASK[:9].encode()) + gzip.compress(TASK[9:].encode()), "gzip", id="gzip, in members"
        ),
        pytest.param(gzip.compress(TASK.encode()) + bytes(9), "gzip", id="gzip, padded"),
        pytest.param(gzip.compress(TASK.encode()), "gzip, identity", id="gzip, and nothing"),
        pytest.param(gzip.compress(gzip.compress(TASK.encode())), "gzip, gzip", id="gzip, twice"),
        pytest.param(gzip.compress(deflated(TASK.encode())), "deflate,gzip", id="deflate, then gzip"),
        pytest.param(TASK.encode(), "none", id="none"),
        pytest.param(TASK.encode(), "UTF-8", id="a character set"),
        pytest.param(TASK.encode(), ", ", id="nothing at all"),
        pytest.param(TASK.encode(), "x" * 5000, id="of a long name"),
        pytest.param(TASK.encode() + b" " * (10_000 - len(TASK)), "", id="as long as may be"),
        pytest.param(gzip.compress(TASK.encode() + b" " * (10_000 - len(TASK))), "gzip", id="as long once expanded"),
    ],
)
async def test_readable(body: bytes, encoding: str) -> None:
    """A compression that a proxy applied unasked is undone."""
    headers = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    assert getattr(await get(body, headers=headers), "id", None) == "t-1"


@table(
    ("body", "encoding", "words"),
    [
        pytest.param(b" " * 10_001, "", "more than 10000 bytes", id="one byte too long"),
        pytest.param(b"[" * 9_999, "", "nested too deeply", id="nested without end"),
        pytest.param(BOMB, "gzip", "more than 10000 bytes", id="a gzip bomb"),
        pytest.param(deflated(b" " * 1_000_000), "deflate", "more than 10000 bytes", id="a deflate bomb"),
        pytest.param(TASK.encode(), "gzip", "does not expand", id="not what it says"),
        pytest.param(gzip.compress(TASK.encode())[:-20], "gzip", "not JSON", id="cut short inside"),
        pytest.param(TASK.encode(), "br", "compressed by 'br'", id="not asked for"),
        pytest.param(gzip.compress(TASK.encode()), "gzip, gzip", "'gzip, gzip', and does not expand", id="not twice"),
        pytest.param(gzip.compress(b"[" * 9), "gzip" + ", gzip" * 900, "does not expand", id="often"),
        pytest.param(gzip.compress(b" " * 9_000) * 9, "gzip", "more than 10000 bytes", id="a bomb in members"),
        pytest.param(deflated(b" " * 1_000_000)[2:-4], "deflate", "more than 10000 bytes", id="a raw bomb"),
        pytest.param(b"", "", "not JSON", id="empty"),
        pytest.param(b"\xff\xfe{}", "", "not JSON", id="not UTF-8"),
        pytest.param(b"<html>", "", "not JSON", id="a page"),
        pytest.param(b"null", "", "not what the API documents", id="null"),
    ],
)
async def test_unreadable(body: bytes, encoding: str, words: str) -> None:
    """What is too large, expands too far or makes no sense is a `DecodeError` with few words."""
    headers = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    with pytest.raises(DecodeError, match=words) as caught:
        await get(body, headers=headers)
    assert len(str(caught.value)) < 1000
    assert (caught.value.method, caught.value.path, caught.value.task_id) == ("GET", "/r/tasks/t-1", "t-1")


async def test_endless_body() -> None:
    """A body without an end is left as soon as it is too large."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b" " * 1000)

    async with raw_server(answer) as server, anyio.create_task_group() as group:
        async with AsyncClient("sk-test", base_url=server.url, limits=LIMITS) as client:
            with pytest.raises(DecodeError, match="more than 10000 bytes"):
                await client.tasks.get("t-1")
        with anyio.fail_after(5):
            await server.until(lambda server: server.open == 0)
        group.cancel_scope.cancel()


LONG = json.dumps({"error_message": "x" * 100_000}).encode()
"""An error that is cut off before its end."""


@table(
    ("body", "encoding", "message"),
    [
        pytest.param(LONG, "", LONG[:300].decode(), id="long"),
        pytest.param(json.dumps({"error_message": "x" * 9_000}).encode(), "", "x" * 2000, id="long, but whole"),
        pytest.param(gzip.compress(b'{"error_message": "bad"}'), "gzip", "bad", id="gzip"),
        pytest.param(b"\x00\x01", "br", "the server gave no reason", id="not asked for"),
        pytest.param(b"\x00\x01", "gzip", "the server gave no reason", id="not what it says"),
        pytest.param(BOMB, "gzip", "the server gave no reason", id="a bomb"),
    ],
)
@table(("status", "kind"), [(400, BadRequestError), (502, ServerError)])
async def test_refusals(status: int, kind: type[Exception], body: bytes, encoding: str, message: str) -> None:
    """A refusal stays what it is, however its body came; of its words, an error keeps a page at most."""
    headers = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    with pytest.raises(kind) as caught:
        await get(body, status=status, headers=headers)
    assert caught.value.message == message  # type: ignore[attr-defined]
    assert len(caught.value.body) <= 2000  # type: ignore[attr-defined]


@table(
    "head",
    [
        pytest.param("X: " + "x" * 200_000 + "\r\n", id="one long header"),
        pytest.param("".join(f"X-{n}: y\r\n" for n in range(20_000)), id="many headers"),
        pytest.param("\x00: y\r\n", id="no header at all"),
    ],
)
async def test_headers(head: str) -> None:
    """Headers have a limit, and have to be some."""
    with pytest.raises(TransportError) as caught:
        await get(TASK.encode(), headers=head)
    assert len(str(caught.value)) < 1000


async def test_interim_answers_without_end() -> None:
    """Nor do answers that only say that the answer will come take for ever."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    async with raw_server(answer) as server:
        timeouts = Timeouts(call=0.1)
        async with AsyncClient("sk-test", base_url=server.url, retries=ONCE, timeouts=timeouts) as client:
            with pytest.raises(TransportTimeout):
                await client.tasks.get("t-1")


@table("task_id", ["x" * 70_000, "é" * 20_000])
async def test_long_path(task_id: str) -> None:
    """A path that no URL can hold is refused without a request, and not tried again."""
    async with AsyncClient("sk-test", base_url="http://127.0.0.1:9") as client:
        with pytest.raises(CyberunError) as caught:
            await client.tasks.get(task_id)
    assert not getattr(caught.value, "may_have_been_sent", False)


async def test_rest_that_is_there_already() -> None:
    """What is there already of a body that is too large is passed over."""
    left = []

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b" " * 6_000
            left.append(number)

    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=chunks())))
    async with AsyncClient("sk-test", base_url="http://localhost", http_client=http, limits=LIMITS) as client:
        with pytest.raises(DecodeError, match="more than 10000 bytes"):
            await client.tasks.get("t-1")
    assert left == [0, 1, 2, 3, 4]


class _FailsToClose(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"task_id": "t-1"}'

    async def aclose(self) -> None:
        raise OSError("it was gone already")


async def test_answered_but_badly_closed() -> None:
    """An answer that has been read counts, whatever becomes of its connection: the id of a task is not lost."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(202, stream=_FailsToClose())))
    async with AsyncClient("sk-test", base_url="http://localhost", http_client=http) as client:
        assert await client.submit("text-to-image", validate=False) == "t-1"
