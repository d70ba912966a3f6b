"""A server on loopback that says exactly the bytes it is told to, and counts what it received."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import httpx
from anyio.abc import AnyByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError, OSError)

TASK = '{"id": "t-1", "task_status": "running", "workflow_id": "w-1"}'


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: RawServer, stream: SocketStream | TLSStream, number: int) -> None:
        self.stream = stream
        self.server = server
        self.number = number
        self._buffer = b""

    async def request(self) -> bytes:
        """Read a whole request: its head, and a body of the announced length."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self.stream.receive()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = int(httpx.Headers(_fields(head)).get("content-length", "0"))
        while len(rest) < length:
            rest += await self.stream.receive()
        self._buffer = rest[length:]
        whole = head + b"\r\n\r\n" + rest[:length]
        self.server.requests.append(whole)
        return whole

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def answer(self, body: str | bytes = TASK, *, status: int = 200, headers: str = "") -> None:
        """Send a whole answer; `headers` are lines, each with its end."""
        data = body.encode() if isinstance(body, str) else body
        await self.send(f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    async def open_events(self, headers: str = "") -> None:
        """Begin an event stream."""
        await self.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{headers}\r\n".encode())

    async def until_closed(self) -> None:
        """Wait until the client has closed its end."""
        with suppress(*GONE):
            while await self.stream.receive():
                pass

    async def reset(self) -> None:
        """End the connection the hard way."""
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(self.stream)


class RawServer:
    """What a scripted server has seen.

    Attributes:
        requests: Each request, as it came.
        connections: How many were made.
        open: How many are there now.

    """

    def __init__(self, handle: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.port = 0
        self._handle = handle
        self._tls = tls
        self._changed = anyio.Event()

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}/api/v1"

    async def until(self, is_so: Callable[[RawServer], bool]) -> None:
        """Wait until a connection has come or gone and something holds."""
        while not is_so(self):
            await self._changed.wait()

    async def serve(self, stream: SocketStream) -> None:
        """Serve one connection."""
        self.connections += 1
        self._tell(1)
        wrapped: SocketStream | TLSStream = stream
        try:
            if self._tls is not None:
                wrapped = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=self._tls, standard_compatible=False
                )
            await self._handle(Peer(self, wrapped, self.connections))
        except GONE:
            pass
        finally:
            with anyio.CancelScope(shield=True), suppress(*GONE):
                await anyio.aclose_forcefully(stream)
            self._tell(-1)

    def _tell(self, change: int) -> None:
        self.open += change
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def raw_server(
    handle: Callable[[Peer], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Run a server whose every connection is served by `handle`, for as long as this is open."""
    server = RawServer(handle, tls)
    failures: list[Exception] = []
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        server.port = listener.extra(SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, server.serve)
            try:
                yield server
            except Exception as error:  # noqa: BLE001 - raised again below, outside of an exception group
                failures.append(error)
            finally:
                group.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def always_answer(peer: Peer) -> None:
    """Answer each request with a task."""
    while True:
        await peer.request()
        await peer.answer()


@asynccontextmanager
async def proxy_to(server: RawServer) -> AsyncIterator[RawServer]:
    """Run a proxy that takes every host for the one server."""

    async def serve(peer: Peer) -> None:
        head = await peer.request()
        async with await anyio.connect_tcp("127.0.0.1", server.port) as upstream:
            if head.startswith(b"CONNECT "):
                await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                await upstream.send(head)
            async with anyio.create_task_group() as group:
                for source, sink in ((peer.stream, upstream), (upstream, peer.stream)):
                    group.start_soon(_pump, source, sink, group.cancel_scope)

    async with raw_server(serve) as proxy:
        yield proxy


async def _pump(source: AnyByteStream, sink: AnyByteStream, scope: anyio.CancelScope) -> None:
    with suppress(*GONE):
        while True:
            await sink.send(await source.receive())
    scope.cancel()


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
