"""A server in memory, below httpcore: it takes the bytes of a request and gives the bytes of whatever it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpcore
import httpx

Answering = Callable[[bytes], bytes]
"""Gives the bytes that answer a request, of which the head is there, and maybe some of the body."""


class Wire(httpcore.AsyncNetworkBackend):
    """Connects to the one server there is, whatever the host.

    Attributes:
        open: How many connections there are.

    """

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.open = 0

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.open += 1
        return _Stream(self)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    def client(self) -> httpx.AsyncClient:
        """Make a client of httpx whose every connection leads here."""
        transport = httpx.AsyncHTTPTransport()
        transport._pool._network_backend = self
        return httpx.AsyncClient(transport=transport)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._request = b""
        self._answer: list[bytes] | None = None
        self._is_open = True

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self._answer is None:
            whole = self._wire.answering(self._request)
            # In two pieces, as a network may cut it.
            self._answer = [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
        while self._answer:
            piece = self._answer.pop(0)
            if piece:
                return piece
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await anyio.lowlevel.checkpoint()
        if self._answer is not None:
            self._request, self._answer = b"", None
        self._request += buffer

    async def aclose(self) -> None:
        self._wire.open -= self._is_open
        self._is_open = False

    async def start_tls(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return None
