"""The HTTP server below a local Cyberun: uvicorn, started and stopped without its tenths of a second of waiting."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from ._operations import Recorder
from ._wire import WireProtocol


class Runner(uvicorn.Server):
    """uvicorn, started and stopped without its tenths of a second of waiting."""

    def __init__(self, app: Recorder) -> None:
        config = uvicorn.Config(
            app,
            http=WireProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
        )
        super().__init__(config)
        self.stop_requested = asyncio.Event()

    async def main_loop(self) -> None:
        """Keep the Date header right until the server stops."""
        stopping = asyncio.ensure_future(self.stop_requested.wait())
        while not stopping.done():
            await self.on_tick(0)
            await asyncio.wait([stopping], timeout=1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - as uvicorn calls it
        """Stop at once: open streams are cut, and handlers that take their time are cancelled."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # The loop tells each protocol in its next turn that its connection is gone.
        await asyncio.sleep(0)
        for handler in self.server_state.tasks:
            handler.cancel()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=1)
        for server in self.servers:
            await server.wait_closed()
