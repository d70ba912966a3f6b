"""What says again and again that a task has ended has its result fetched, and does not become a flood of requests."""

from __future__ import annotations

import anyio
import pytest
from support.scripted import SSE_HEAD, TASK, Exchange, Remote, answer, event, status_event
from support.tables import table
from support.virtual import served, virtual


@virtual
async def test_an_end_in_an_event_that_is_no_news_otherwise() -> None:
    """The result is fetched at once, though the same progress was reported before."""
    remote = Remote("running")

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD + event("progress", progress=1.0, status="running"))
        await anyio.sleep(5)
        remote.status = "completed"
        await exchange.send(event("progress", progress=1.0, status="completed"))
        await exchange.gone()

    async with served() as (server, client):
        remote.on(server)
        server.on("events", events)
        began = anyio.current_time()
        await client.wait_for_result(TASK)

    assert anyio.current_time() - began == pytest.approx(5, abs=0.2)


@table("every", [0.05, 0.5])
@virtual
async def test_nodes_that_end(every: float) -> None:
    """A status that is about a part of the task, in event after event, is asked about ever more rarely."""

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for number in range(100_000):
            await exchange.send(event("progress", current_node=str(number), status="completed"))
            await anyio.sleep(every)

    async with served() as (server, client):
        Remote("running").on(server)
        server.on("events", events)
        with anyio.move_on_after(20):
            await client.wait_for_result(TASK)

    assert len(server.requests) <= 30


@table("again", [event("error", message="?"), status_event("failed")], ids=["errors", "ends"])
@virtual
async def test_a_result_that_cannot_be_read_yet(again: bytes) -> None:
    """It is fetched once in a second at most, however many events call for it."""

    async def events(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD + status_event("completed"))
        for _ in range(100_000):
            await exchange.send(again)
            await exchange.send(event("progress", progress=0.1))
            await anyio.sleep(0.1)

    async with served() as (server, client):
        Remote("running").on(server)
        server.on("result", answer(502))
        server.on("events", events)
        with anyio.move_on_after(20):
            await client.wait_for_result(TASK)

    assert len(server.requests) <= 30
