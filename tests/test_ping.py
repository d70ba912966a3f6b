"""The readiness check of a backend."""

from __future__ import annotations

import time
from email.utils import formatdate

import httpx
import pytest
from support.tables import table

from cyberun_async import (
    AsyncClient,
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    Ping,
    ServerError,
    TransportError,
    TransportTimeout,
)
from cyberun_async._protocol.http_dates import parse_http_date
from cyberun_async.local import LocalCyberun


@table(
    ("text", "seconds"),
    [
        pytest.param("Fri, 27 Nov 2026 15:00:00 GMT", 1795791600.0, id="as HTTP writes it"),
        pytest.param("Fri, 27 Nov 2026 15:00:00 -0000", 1795791600.0, id="without an offset it is UTC"),
        pytest.param("Fri, 27 Nov 2026 16:00:00 +0100", 1795791600.0, id="with an offset"),
        pytest.param("Fri, 27 Nov 2026 15:00:00 +9999", None, id="an offset that is none"),
        pytest.param("Fri, 27 Nov 2026 15:00:00 +99999999999999", None, id="an offset that is too large"),
        pytest.param("soon", None, id="no date"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="none"),
    ],
)
def test_dates(text: str | None, seconds: float | None) -> None:
    """A date that cannot be one is as if it were not there."""
    assert parse_http_date(text) == seconds


async def test_it_is_one_cheap_call() -> None:
    """It reads a list of one task, and measures how long that takes and how the clocks differ."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        ping = await client.ping()
        assert isinstance(ping, Ping)
        assert ping.seconds > 0
        (request,) = server.requests
        assert (request.operation, request.query["per_page"]) == ("tasks.list", "1")


@table("ahead", [-90, 0, 90])
async def test_the_clock(ahead: float) -> None:
    """The skew is this clock against the service's, to the second that the header has."""
    date = formatdate(time.time() - ahead, usegmt=True)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"task_list": []}, headers={"Date": date})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        ping = await AsyncClient("sk-0123456789abcdef", http_client=http).ping()
    assert ping.clock_skew == pytest.approx(ahead, abs=5)


@table(
    ("response", "error"),
    [
        pytest.param(httpx.Response(401), AuthenticationError, id="a wrong key"),
        pytest.param(httpx.Response(503), ServerError, id="a service that is down"),
        pytest.param(httpx.Response(200, html="<p>Welcome to the café</p>"), DecodeError, id="another site"),
        pytest.param(httpx.ConnectError("refused"), TransportError, id="no connection"),
    ],
)
async def test_what_is_wrong(response: httpx.Response | Exception, error: type[Exception]) -> None:
    """Each is an error of its own, after one request: whoever asks will ask again."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(error):
            await AsyncClient("sk-0123456789abcdef", http_client=http).ping()
    assert len(asked) == 1


async def test_a_service_that_does_not_say_what_time_it_is() -> None:
    """There is no skew then."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"task_list": []}, headers={"Date": "yesterday"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        assert (await AsyncClient("sk-0123456789abcdef", http_client=http).ping()).clock_skew is None


async def test_it_takes_no_longer_than_it_may() -> None:
    """A service that does not answer in time is a timeout; a limit that is none is refused."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        server.faults.latency(0.5, on="tasks.list")
        with pytest.raises(TransportTimeout, match=r"within 0.01 s"):
            await client.ping(timeout=0.01)
        for timeout in (0, -1, float("nan"), True, "5"):
            with pytest.raises(ConfigurationError, match="timeout"):
                await client.ping(timeout=timeout)  # type: ignore[arg-type]
