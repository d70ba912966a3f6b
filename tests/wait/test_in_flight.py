"""A submission is seen through once it is in flight; before that, a caller who leaves takes it along."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from support.raw import Peer, RawServer, raw_server
from trio.testing import MockClock

from cyberun_async import AsyncClient, Journal, Limits, Retries, WaitTimeout
from cyberun_async._transport.rate_limit import RateLimitPause

VIRTUAL_TIME = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)

Submit = Callable[[AsyncClient], Awaitable[object]]


async def submit(client: AsyncClient) -> None:
    await client.submit("w", validate=False, on_submitted=lambda _: None)


async def run(client: AsyncClient) -> None:
    await client.run("w", validate=False, on_cancel="cancel")


async def batch(client: AsyncClient) -> None:
    await client.map("w", [{}], validate=False).gather()


EACH = pytest.mark.parametrize("call", [submit, run, batch], ids=lambda call: call.__name__)


@asynccontextmanager
async def paused(seconds: float, *, status: int = 202) -> AsyncIterator[tuple[AsyncClient, list[str]]]:
    """Open a client that is to pause, and note the requests that it sends."""
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        return httpx.Response(status, json={"task_id": "t-1"}, headers={"Retry-After": "2"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with AsyncClient(
        "sk-test", base_url="http://localhost", http_client=http, retries=Retries(initial=0.01)
    ) as client:
        client._core.transport.credential.rate_limit.begin(seconds)
        yield client, sent


@VIRTUAL_TIME
@EACH
async def test_within_a_pause(call: Submit) -> None:
    """A submission that waits for the end of a rate limit's pause is not sent once its caller has left."""
    async with paused(2) as (client, sent):
        with anyio.move_on_after(1):
            await call(client)
        await anyio.sleep(10)
    assert sent == []


@VIRTUAL_TIME
@EACH
async def test_before_a_retry(call: Submit) -> None:
    """Nor is one that the server has refused for its rate, and that waits for its next attempt."""
    async with paused(0, status=429) as (client, sent):
        with anyio.move_on_after(1):
            await call(client)
        await anyio.sleep(10)
    assert len(sent) == 1


@VIRTUAL_TIME
@pytest.mark.parametrize(("on_timeout", "remote"), [("leave", "left"), ("cancel", "cancelled")])
async def test_deadline(on_timeout: Any, remote: str) -> None:
    """A deadline that passes before anything has left says so, and there is nothing to cancel."""
    async with paused(20) as (client, sent):
        with pytest.raises(WaitTimeout, match="it was not submitted: submit it again") as caught:
            await client.run("w", validate=False, timeout=1, on_timeout=on_timeout)
    assert (caught.value.may_have_been_sent, caught.value.remote, sent) == (False, remote, [])


@asynccontextmanager
async def silent_proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawServer]:
    async def ignore(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    async with raw_server(ignore) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        yield proxy


@EACH
async def test_while_connecting(call: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the connection is made, a caller who leaves does so at once."""
    async with silent_proxy(monkeypatch) as proxy, AsyncClient("sk-test", base_url="https://cyberun.test") as client:
        with anyio.fail_after(3):
            async with anyio.create_task_group() as group:
                group.start_soon(call, client)
                await proxy.until(lambda proxy: bool(proxy.open))
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()


@EACH
async def test_in_flight(call: Submit) -> None:
    """Once its bytes have left, the response is waited for."""
    is_sent, may_answer = anyio.Event(), anyio.Event()
    requests: list[bytes] = []

    async def serve(peer: Peer) -> None:
        requests.append(await peer.request())
        is_sent.set()
        await may_answer.wait()
        await peer.answer('{"task_id": "t-1"}', status=202)
        requests.append(await peer.request())
        await peer.answer("{}")

    async with raw_server(serve) as server, AsyncClient("sk-test", base_url=server.url) as client:
        noted: list[str] = []
        if call is submit:
            call = partial(client.submit, "w", validate=False, on_submitted=noted.append)  # type: ignore[assignment]
        async with anyio.create_task_group() as group:
            group.start_soon(*((call,) if isinstance(call, partial) else (call, client)))
            await is_sent.wait()
            group.cancel_scope.cancel()
            may_answer.set()
    if isinstance(call, partial):
        assert noted == ["t-1"]
    assert (len(requests) == 2) == (call is run)


@pytest.mark.parametrize("is_single", [False, True])
async def test_journal(is_single: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item whose submission has not left is as it was before, and not uncertain."""
    is_held_back = anyio.Event()

    async def hold_back(_: object) -> None:
        is_held_back.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(RateLimitPause, "is_on", True)
    monkeypatch.setattr(RateLimitPause, "wait", hold_back)
    journal = Journal(tmp_path / "journal")
    async with AsyncClient("sk-test", base_url="http://localhost") as client, anyio.create_task_group() as group:
        if is_single:
            group.start_soon(partial(client.submit_once, "k", "w", {}, journal=journal, validate=False))
        else:
            group.start_soon(client.map("w", [("k", {})], journal=journal, validate=False).gather)
        await is_held_back.wait()
        group.cancel_scope.cancel()
    [entry] = [entry async for entry in journal]
    assert (entry.state, entry.is_uncertain, entry.attempts) == ("new", False, 0)


async def test_own_client() -> None:
    """A client of the user's shows no bytes, so a submission counts as in flight from when it is handed over."""
    handed_over, noted = anyio.Event(), []

    async def answer(_: httpx.Request) -> httpx.Response:
        handed_over.set()
        await anyio.sleep(0.01)
        return httpx.Response(202, json={"task_id": "t-1"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    limits = Limits(max_connections=1)
    async with AsyncClient("sk-test", base_url="http://localhost", http_client=http, limits=limits) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(client.submit, "w", validate=False, on_submitted=noted.append))
            await handed_over.wait()
            group.cancel_scope.cancel()
    assert noted == ["t-1"]
