"""The device code of a pairing, which gets whoever has it the key: a server that quotes it tells nobody."""

from __future__ import annotations

import httpx
import pytest

from cyberun_async import APIError
from cyberun_async._protocol.sign_in import Pairing
from cyberun_async._transport.anonymous import anonymous_settings
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.transport import Transport
from cyberun_async.cli import _login

CODE = "device-code-0123456789"


async def test_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error response that repeats the request is shown without the code."""
    monkeypatch.setattr(_login, "_SHORTEST_INTERVAL", 0.001)

    def api(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"message": f"cannot read {request.content.decode()}"})

    settings = anonymous_settings("http://localhost")
    transport = Transport(settings, Connections(settings, httpx.AsyncClient(transport=httpx.MockTransport(api))))
    with pytest.raises(APIError) as caught:
        await _login._approved_key(transport, Pairing(device_code=CODE, user_code="AB", interval=0))
    assert "[key]" in str(caught.value)
    assert CODE not in f"{caught.value} {caught.value!r} {vars(caught.value)}"
