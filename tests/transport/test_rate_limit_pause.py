"""A 429 with `Retry-After` holds back what is queued, and not the clean-up that saves money."""

from __future__ import annotations

from functools import partial

import anyio
import httpx
import pytest
from support.scripted import Exchange
from support.virtual import served, virtual
from trio.testing import MockClock

from cyberun_async import AsyncClient, Limits, Retries, TokenProvider, WaitTimeout
from cyberun_async._protocol import endpoints

VIRTUAL_TIME = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)

TASK = {"id": "t-1", "task_status": "running", "workflow_id": "w-1"}


class Api:
    """Answers the first requests with a 429, and takes a while for each; notes the time of each request, by its path."""

    def __init__(self, *refused: str, takes: float = 0.1) -> None:
        self.refused = list(refused)
        self.takes = takes
        self.asked: list[tuple[float, str]] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append((anyio.current_time(), path))
        await anyio.sleep(self.takes)
        if self.refused and path.endswith(self.refused[0]):
            self.refused.pop(0)
            return httpx.Response(429, headers={"Retry-After": "20"})
        if path.endswith("/run"):
            return httpx.Response(202, json={"task_id": "t-1"})
        return httpx.Response(200, json={**TASK, "id": path.rpartition("/")[2]})

    def within(self, seconds: float, start: float) -> list[str]:
        return [path for moment, path in self.asked if moment < start + seconds]


def client_of(api: Api, *, connections: int = 4, key: str | TokenProvider = "sk-test") -> AsyncClient:
    return AsyncClient(
        key,
        team_id="019abc12-4567-7890-abcd-ef1234567891",
        base_url="http://localhost",
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(api)),
        limits=Limits(max_connections=connections),
        retries=Retries(initial=0.001),
    )


@VIRTUAL_TIME
async def test_what_is_queued() -> None:
    """Of two hundred calls by four connections, those in flight are all that is sent before the pause has passed."""
    api, start = Api("/t-1"), anyio.current_time()
    async with client_of(api) as client, anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(client.tasks.get, "t-1")
    assert len(api.within(20, start)) == 4
    assert len(api.asked) == 201


@VIRTUAL_TIME
async def test_submissions_that_are_queued() -> None:
    """So it is with submissions, none of which is sent twice."""
    api, start = Api("/run"), anyio.current_time()
    async with client_of(api, connections=1) as client, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(partial(client.submit, "w", validate=False))
    assert len(api.within(20, start)) == 1
    assert len(api.asked) == 6


@VIRTUAL_TIME
async def test_while_a_token_is_asked_for() -> None:
    """A pause that begins while the token provider is asked holds back the request, be it a call or a stream."""
    api, start = Api("/t-1"), anyio.current_time()
    waits = [0.0, 5.0, 5.0]

    async def token() -> str:
        await anyio.sleep(waits.pop(0) if waits else 0)
        return "eyJ.a.b"

    async with client_of(api, key=token) as client:

        async def stream() -> None:
            with pytest.raises(Exception, match="text/event-stream"):
                await client._core.transport.open_stream(endpoints.stream_task_events("t-2"))

        async with anyio.create_task_group() as group:
            group.start_soon(client.tasks.get, "t-1")
            await anyio.sleep(0.05)
            group.start_soon(client.tasks.get, "t-2")
            group.start_soon(stream)
    assert len(api.within(20, start)) == 1


@virtual
async def test_on_the_wire() -> None:
    """A server that says 429 once gets no other request until it is ready."""
    asked: list[float] = []

    async def poll(exchange: Exchange) -> None:
        asked.append(anyio.current_time())
        if len(asked) == 1:
            await exchange.answer(429, {}, "Retry-After: 20")
        else:
            await exchange.answer(200, TASK)

    async with served(retries=Retries(), limits=Limits(max_connections=1)) as (server, client):
        server.on("task", poll)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.tasks.get, "t-1")
    assert len(asked) == 21
    assert asked[1] - asked[0] >= 20


# The clean-up


@VIRTUAL_TIME
async def test_cancel_within_a_pause() -> None:
    """A task that is given up is cancelled at once, although everything else is to wait."""
    api, start = Api("/events", takes=0.01), anyio.current_time()
    async with client_of(api) as client:
        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result("t-1", timeout=1, on_timeout="cancel")
        assert caught.value.remote == "cancelled"
    assert anyio.current_time() - start < 2
    assert api.asked[-1][1] == "/r/tasks/t-1/cancel"


@VIRTUAL_TIME
async def test_cancel_without_a_slot() -> None:
    """Nor does it wait for a slot."""
    api, start = Api(), anyio.current_time()
    async with client_of(api, connections=1) as client, anyio.create_task_group() as group:
        api.takes = 50
        group.start_soon(client.tasks.get, "t-2")
        await anyio.sleep(1)
        api.takes = 0.01
        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result("t-1", timeout=1, on_timeout="cancel")
        assert caught.value.remote == "cancelled"
        assert anyio.current_time() - start < 3


@VIRTUAL_TIME
async def test_cancel_of_a_batch() -> None:
    """A batch that is left cancels its tasks within a pause, too."""
    api = Api(takes=0.01)
    async with client_of(api) as client:
        async with client.map("w", [{}], on_exit="cancel", validate=False):
            await anyio.sleep(5)
            client._core.transport.credential.rate_limit.begin(50)
    assert api.asked[-1][1] == "/r/tasks/t-1/cancel"
