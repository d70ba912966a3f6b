"""The event loop goes round while a large response is read, and a cancelled request leaves it no generator."""

from __future__ import annotations

import functools
import gc
import json

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from support.tables import table

from cyberun_async import AsyncClient, DecodeError, Retries, Task
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.json_shape import PIECE
from cyberun_async._protocol.secret import Key
from cyberun_async._transport.requests import make_request

COUNT = 1000


@functools.cache
def page_of(name: str) -> bytes:
    """Give a page of many large tasks, as the list of some name."""
    tasks = [{"id": f"t-{number}", "task_status": "running", "agent_labels": ["x"] * 50} for number in range(COUNT)]
    return json.dumps({name: tasks, "page_meta": {"total_count": COUNT}}).encode()


def answering(body: bytes) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body)))


@table("name", ["task_list", "items"])
async def test_others_get_their_turn(name: str) -> None:
    """While a large page is read and structured, other tasks have at least a turn for each piece of it."""
    body = page_of(name)
    turns, is_read = 0, False

    async def others() -> None:
        nonlocal turns
        while not is_read:
            turns += 1
            await checkpoint()

    async with answering(body) as http, AsyncClient("sk-1", http_client=http) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(others)
            page = await client._core.transport.send(endpoints.list_tasks(1, 100))
            is_read = True
    assert len(page.items) == COUNT
    assert isinstance(page.items[0], Task)
    assert turns >= len(body) // PIECE


async def test_too_many_values() -> None:
    """Many small values are refused by their number, and not retried."""
    asked = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, content=b"[" + b"[]," * 1_000_000 + b"[]]")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        async with AsyncClient("sk-1", http_client=http) as client:
            with pytest.raises(DecodeError, match="more than 1000000 values"):
                await client.tasks.get("t-1")
    assert len(asked) == 1


async def test_a_cancelled_read() -> None:
    """Reading a large response can be cancelled in the middle."""
    body = page_of("task_list")
    async with answering(body) as http, AsyncClient("sk-1", http_client=http, retries=Retries(budget=0)) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client._core.transport.send, endpoints.list_tasks(1, 100))
            for _ in range(10):
                await checkpoint()
            group.cancel_scope.cancel()
        assert len((await client._core.transport.send(endpoints.list_tasks(1, 100))).items) == COUNT


class Stuck(httpx.AsyncBaseTransport):
    """Takes the first block of a request, and stays there."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for _ in request.stream:
            await anyio.sleep_forever()
        raise AssertionError("a request has a block")


@table("call", [endpoints.get_task("t-1"), endpoints.cancel_task("t-1"), endpoints.presign_file("a", 1, "x/y")])
async def test_no_generator_is_left(call: object) -> None:
    """A request that is cancelled while it is sent leaves nothing to the collector, which trio would complain of."""
    async with httpx.AsyncClient(transport=Stuck()) as http, AsyncClient("sk-1", http_client=http) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client._core.transport.send, call)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        gc.collect()


async def test_body_of_a_request() -> None:
    """It is there each time it is asked for, for a client of one's own that sends it again."""
    client = AsyncClient("sk-1")
    request = make_request(endpoints.presign_file("a", 1, "x/y"), client._core.settings, Key("sk-1"), {}, {})
    assert isinstance(request.stream, httpx.AsyncByteStream)
    expected = b'{"file_name":"a","file_size":1,"content_type":"x/y"}'
    assert [block async for block in request.stream] == [expected]
    assert [block async for block in request.stream] == [expected]
    assert request.content == expected
    assert request.headers["Content-Length"] == str(len(expected))
