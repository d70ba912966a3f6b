"""A Cyberun that does exactly what a test says, byte by byte, in the test's own event loop.

`LocalCyberun` behaves; this one misbehaves. Each kind of request has a script: a list of handlers, one for each
request of its kind, the last of which serves all that follow.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import attrs
from anyio.abc import SocketAttribute, SocketStream

from cyberun_async import AsyncClient, Limits, Polling, Retries, Timeouts

TASK = "019abc12-9012-7890-abcd-ef1234567896"

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The head of an event stream, as most servers send it."""

_KINDS = {
    re.compile(r"GET .*/r/tasks/([^/?]+)"): "task",
    re.compile(r"GET .*/r/tasks/([^/?]+)/result"): "result",
    re.compile(r"GET .*/r/tasks/([^/?]+)/events"): "events",
    re.compile(r"GET .*/r/(tasks)"): "tasks",
    re.compile(r"POST .*/r/tasks/([^/?]+)/cancel"): "cancel",
    re.compile(r"GET .*/r/workflows/slug/([^/?]+)"): "definition",
    re.compile(r"POST .*/r/workflows/slug/([^/?]+)/run"): "run",
}


@attrs.define(eq=False)
class Exchange:
    """One request, and the connection to answer on."""

    kind: str
    id: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    _stream: SocketStream
    keeps_open: bool = False

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send(data)

    async def answer(self, status: int, body: object = None, *headers: str) -> None:
        """Answer with JSON, or with bytes, and take the next request of the connection."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}", *headers]
        await self.send("\r\n".join(head).encode() + b"\r\n\r\n" + data)
        self.keeps_open = True

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self._stream.receive()

    def reset(self) -> None:
        """Have the connection closed by a reset, which may overtake what was sent."""
        raw = self._stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Handler = Callable[[Exchange], Awaitable[None]]


@attrs.define(eq=False)
class Peer:
    """One connection of the client: its last request, and whether it is closed."""

    last: Exchange | None = None
    closed: anyio.Event = attrs.field(factory=anyio.Event)


class Scripted:
    """The server; `on` writes its scripts.

    Attributes:
        base_url: For the client.
        requests: All that came, in order.

    """

    def __init__(self) -> None:
        self.base_url = ""
        self.requests: list[Exchange] = []
        self._scripts: dict[str, list[Handler]] = {}
        self._peers: set[Peer] = set()

    def on(self, kind: str, *handlers: Handler) -> None:
        """Handle the requests of a kind: `task`, `tasks`, `result`, `events`, `cancel`, `definition`, `run`."""
        self._scripts[kind] = list(handlers)

    def kinds(self) -> list[str]:
        """Name the requests so far, in order."""
        return [request.kind for request in self.requests]

    def open(self, kind: str | None = None) -> int:
        """Count the open connections, or those whose last request was of a kind."""
        return sum(kind is None or (peer.last is not None and peer.last.kind == kind) for peer in self._peers)

    async def closed(self, kind: str | None = None) -> None:
        """Wait until the client has closed every connection, or every one whose last request was of a kind."""
        with anyio.fail_after(5):
            for peer in list(self._peers):
                if kind is None or (peer.last is not None and peer.last.kind == kind):
                    await peer.closed.wait()

    async def serve(self, stream: SocketStream) -> None:
        """Serve one connection."""
        peer = Peer()
        self._peers.add(peer)
        try:
            async with stream:
                await self._serve(stream, peer)
        finally:
            self._peers.discard(peer)
            peer.closed.set()

    async def _serve(self, stream: SocketStream, peer: Peer) -> None:
        buffer = bytearray()
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            while peer.last is None or peer.last.keeps_open:
                exchange = peer.last = await _receive(stream, buffer)
                self.requests.append(exchange)
                script = self._scripts[exchange.kind]
                await (script.pop(0) if len(script) > 1 else script[0])(exchange)


async def _receive(stream: SocketStream, buffer: bytearray) -> Exchange:
    while b"\r\n\r\n" not in buffer:
        buffer += await stream.receive()
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(headers.get("content-length", 0))
    while len(rest) < length:
        rest += await stream.receive()
    buffer[:] = rest[length:]
    target = first.rpartition(" ")[0]
    route = target.partition("?")[0]
    for pattern, kind in _KINDS.items():
        if match := pattern.fullmatch(route):
            return Exchange(kind, match[1], target, headers, rest[:length], stream)
    message = f"there is no script for {route}"
    raise AssertionError(message)


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    """Start a server, and see at the end that the client has left no connection behind."""
    server = Scripted()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        port = listener.extra(SocketAttribute.local_port)
        server.base_url = f"http://127.0.0.1:{port}/api/v1"
        group.start_soon(listener.serve, server.serve)
        yield server
        await server.closed()
        group.cancel_scope.cancel()


FAST = Polling(interval=0.03, interval_while_streaming=0.1)


@asynccontextmanager
async def connected(
    server: Scripted,
    *,
    api_key: Any = "sk-test",
    polling: Polling = FAST,
    timeouts: Timeouts = Timeouts(),
    limits: Limits = Limits(),
) -> AsyncIterator[AsyncClient]:
    """Open a client, and see at the end that no stream and no call of it is left open."""
    async with AsyncClient(
        api_key,
        base_url=server.base_url,
        polling=polling,
        timeouts=timeouts,
        limits=limits,
        retries=Retries(budget=0),
    ) as client:
        yield client
        await server.closed("events")
        assert at_work(client) == (0, 0)


def at_work(client: AsyncClient) -> tuple[int, int]:
    """Count the requests in a client's pools, and the streams that it has not got back."""
    transport = client._core.transport
    load = sum(pool.load for pools in transport.connections._pools for pool in pools._shards)
    return load, transport._settings.limits.max_streams - transport.connections.free_streams


# Handlers


def answer(status: int, body: object = None, *headers: str) -> Handler:
    """Answer with JSON, or with bytes."""

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(status, {"error_message": "no"} if body is None else body, *headers)

    return handler


def send(*data: bytes) -> Handler:
    """Send bytes, and close the connection."""

    async def handler(exchange: Exchange) -> None:
        for each in data:
            await exchange.send(each)

    return handler


def hold(*data: bytes) -> Handler:
    """Send bytes, and keep the connection open in silence."""

    async def handler(exchange: Exchange) -> None:
        for each in data:
            await exchange.send(each)
        await exchange.gone()

    return handler


def repeat(data: bytes, *first: bytes) -> Handler:
    """Send something first, and then the same again and again until the client has gone."""

    async def handler(exchange: Exchange) -> None:
        for each in first:
            await exchange.send(each)
        while True:
            await exchange.send(data)
            await anyio.sleep(0.001)

    return handler


def chunk(data: bytes) -> bytes:
    """Write data as one chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(name: str, **fields: object) -> bytes:
    """Write an event of the task, as a chunk."""
    return chunk(f"event: {name}\ndata: {json.dumps({'task_id': TASK, **fields})}\n\n".encode())


def status_event(word: str) -> bytes:
    """Write a status event, as a chunk."""
    return event("status", status=word)


COMPLETED = event("completed", status="completed", output={"storage_key": "a.png"})
END = chunk(b"")


@attrs.define(eq=False)
class Remote:
    """A task on the server: what looks at it say, in step with its status.

    Attributes:
        status: Where it stands.
        result_status: What the result says, where that differs.

    """

    status: str = "running"
    result_status: str | None = None

    def on(self, server: Scripted) -> None:
        """Answer the looks of a server."""
        server.on("task", self.look)
        server.on("result", self.result)
        server.on("cancel", self.cancel)

    async def look(self, exchange: Exchange) -> None:
        """Answer with the task."""
        await exchange.answer(200, {"id": exchange.id, "task_status": self.status})

    async def result(self, exchange: Exchange) -> None:
        """Answer with the result."""
        status = self.result_status or self.status
        body: dict[str, object] = {"id": exchange.id, "task_status": status}
        if status == "completed":
            body["task_output"] = {"storage_key": "a.png"}
        if status == "failed":
            body["task_error"] = "out of memory"
        await exchange.answer(200, body)

    async def cancel(self, exchange: Exchange) -> None:
        """Cancel the task."""
        self.status = "cancelled"
        await exchange.answer(200, {"is_success": True})

    def then(self, status: str, handler: Handler) -> Handler:
        """Let the task reach a status once a handler has done its part."""

        async def handle(exchange: Exchange) -> None:
            await handler(exchange)
            self.status = status

        return handle

    def first(self, status: str, handler: Handler) -> Handler:
        """Let the task reach a status before a handler does its part."""

        async def handle(exchange: Exchange) -> None:
            self.status = status
            await handler(exchange)

        return handle
