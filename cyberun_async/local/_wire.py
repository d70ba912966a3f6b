"""Below HTTP: the one place that reaches a connection, to cut it or to send what no server would."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
from typing import Any, cast

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_EXTENSION = "cyberun.wire"


class Wire:
    """The connection under a request."""

    def __init__(self, transport: asyncio.Transport, gone: asyncio.Event) -> None:
        self._transport = transport
        # Waited for, since uvicorn complains of a reply that is not whole unless it knows of the end.
        self._gone = gone

    def write(self, data: bytes) -> None:
        """Send bytes past the HTTP server."""
        self._transport.write(data)

    async def close(self) -> None:
        """End the connection politely once what was written is gone."""
        self._transport.close()
        await self._gone.wait()

    async def reset(self) -> None:
        """Cut the connection (TCP reset) once what was written is gone."""
        # A transport does not report when its buffer is empty.
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        self.reset_now()
        await self._gone.wait()

    def reset_now(self) -> None:
        """Cut the connection (TCP reset)."""
        sock = self._transport.get_extra_info("socket")
        # Lingering for zero seconds turns the close into a reset; the socket may be gone already.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def wire_of(scope: Scope) -> Wire:
    """Find the connection of a request."""
    return cast(Wire, scope["extensions"][_EXTENSION])


class WireProtocol(H11Protocol):
    """uvicorn's own HTTP protocol, which also tells the application what connection a request came on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gone = asyncio.Event()
        self.app = functools.partial(self._call_with_wire, self.app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        super().connection_lost(exc)
        self._gone.set()

    async def _call_with_wire(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = {**scope.get("extensions", {}), _EXTENSION: Wire(self.transport, self._gone)}
        try:
            await app({**scope, "extensions": extensions}, receive, send)
        except asyncio.CancelledError:
            # The server stops. uvicorn would log that as an error of the application.
            if not self._gone.is_set():
                raise
