"""Streams whose tokens take their time: they are not counted, so that other keys have them meanwhile."""

from __future__ import annotations

import anyio
import httpx
import pytest
from support.tables import table
from trio.testing import MockClock

from cyberun_async import AsyncClient, Limits, RateLimitError
from cyberun_async._protocol.endpoints import stream_task_events

pytestmark = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
CALL = stream_task_events("t-1")
TEAM = "019abc12-4567-7890-abcd-ef1234567891"


async def api(request: httpx.Request) -> httpx.Response:
    if request.headers["Authorization"] == "Bearer eyJ-old":
        return httpx.Response(401, json={})
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=b": hello\n\n")


@table("is_taken", [False, True])
@table("tokens", [["eyJ-new"], ["eyJ-old", "eyJ-new"]], ids=["at first", "after a 401"])
async def test_slow_provider(tokens: list[str], is_taken: bool) -> None:
    """The only stream is free while a token is asked for; who comes too late goes without, and nothing is miscounted."""
    left = list(tokens)

    async def provide() -> str:
        await anyio.sleep(0 if len(left) == 2 else 30)
        return left.pop(0)

    http = httpx.AsyncClient(transport=httpx.MockTransport(api))
    async with AsyncClient(
        "sk-root", base_url="http://localhost", http_client=http, limits=Limits(max_streams=1)
    ) as client:
        slow = client.with_options(api_key=provide, team_id=TEAM)._core.transport
        outcomes: list[object] = []

        async def open_slowly() -> None:
            try:
                connection = await slow.open_stream(CALL)
            except RateLimitError as error:
                outcomes.append(error)
            else:
                outcomes.append(connection)
                await connection.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(open_slowly)
            await anyio.sleep(15)
            assert client._core.transport.has_free_stream
            connection = await client._core.transport.open_stream(CALL)
            if not is_taken:
                await connection.aclose()
            await anyio.sleep(30)
        assert [isinstance(each, RateLimitError) for each in outcomes] == [is_taken]
        await connection.aclose()
        assert client._core.transport.connections.free_streams == 1
