"""A streamed response whose caller leaves as it is opened."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cyberun_async import APIError
from cyberun_async._protocol.container_requests import container_request
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import Settings
from cyberun_async._transport.open_body import open_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Left(BaseException):
    """Stands for the cancellation of either loop."""


class Body(httpx.AsyncByteStream):
    is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b""

    async def aclose(self) -> None:
        self.is_closed = True


async def test_its_body_is_closed() -> None:
    """The head has come, and the cancellation with it: nobody gets the body, so it is closed here."""
    body = Body()

    async def run(send: object, call: object, token: object, make: object, keep: Callable[..., bool], **_: Any) -> None:
        request = httpx.Request("GET", "https://a.example")
        assert keep(httpx.Response(200, stream=body, request=request))
        raise Left

    async def at_once(*_: object) -> Key:
        return Key("sk-1")

    trips: Any = SimpleNamespace(run=run, keep_open=None)
    credential: Any = SimpleNamespace(
        sign_in=SimpleNamespace(has_provider=False, token=at_once), rate_limit=SimpleNamespace(wait=at_once)
    )
    with pytest.raises(Left):
        await open_body(
            trips,
            credential,
            Settings("https://a.example", Key("sk-1")),
            container_request("w", "GET", "/", content=None, headers=None),
            raise_for_status=True,
            api_error=lambda *_: APIError(500, "", method="GET", path="/"),
        )
    assert body.is_closed
