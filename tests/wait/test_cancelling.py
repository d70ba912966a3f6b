"""Cancelling the caller of a wait anywhere, in every way that its loop has, leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint
from support.cancelling import CancelledAt, ClientClosed
from support.sampling import count
from support.scripted import (
    COMPLETED,
    END,
    SSE_HEAD,
    TASK,
    Exchange,
    Remote,
    Scripted,
    answer,
    connected,
    event,
    hold,
    scripted,
    status_event,
)
from support.virtual import Clock, run_virtually, simulated, virtual

from cyberun_async import AsyncClient, Polling, TaskEvent

PROGRESS = [event("progress", progress=step / 10) for step in range(1, 4)]
LIFE = [SSE_HEAD, status_event("running"), *PROGRESS, COMPLETED, END]


async def tell_one_by_one(exchange: Exchange) -> None:
    """Send one event after the other, so that the caller stops to wait more often."""
    for part in LIFE:
        await exchange.send(part)
        for _ in range(10):
            await checkpoint()


# The ways of waiting that are cut off


async def wait(client: AsyncClient) -> None:
    """Wait for a result, and leave the task."""
    await client.wait_for_result(TASK)


async def wait_and_cancel(client: AsyncClient) -> None:
    """Wait for a result with a deadline and an async callback, and cancel the task when cut off."""

    async def callback(_: TaskEvent) -> None:
        await checkpoint()

    await client.wait_for_result(TASK, timeout=60, on_event=callback, on_cancel="cancel", on_timeout="cancel")


async def run(client: AsyncClient) -> None:
    """Submit and wait, and cancel the task when cut off."""
    await client.run("demo", on_cancel="cancel")


async def follow(client: AsyncClient) -> None:
    """Iterate over events, with something to do for each."""
    async with client.events(TASK) as events:
        async for _ in events:
            await checkpoint()


async def follow_bare(client: AsyncClient) -> None:
    """Iterate over events without `async with`."""
    async for _ in client.events(TASK):
        pass


WAYS = [wait, wait_and_cancel, run, follow, follow_bare]


def play(server: Scripted, *, stream: str) -> None:
    """Write the scripts of a task that ends, as told by its stream or by a poll at it."""
    remote = Remote()
    remote.on(server)
    server.on("definition", answer(200, {"id": "1", "workflow_slug": "demo", "parameters": []}))
    server.on("run", answer(202, {"task_id": TASK}))
    server.on("events", {"told": tell_one_by_one, "mute": hold(SSE_HEAD), "refused": answer(500)}[stream])
    if stream == "told":
        server.on("result", Remote("completed").result)
    else:
        server.on("task", remote.look, remote.first("completed", remote.look))


class Attempt:
    """One wait that is to be cut off.

    Attributes:
        is_over: Whether it came to its own end instead.

    """

    def __init__(self) -> None:
        self.is_over = False

    async def make(self, way: Callable[[AsyncClient], Awaitable[None]], client: AsyncClient) -> None:
        """Wait in one of the ways."""
        await way(client)
        self.is_over = True


async def nothing_is_left(server: Scripted, client: AsyncClient, way: object, attempt: Attempt) -> None:
    """See that no stream is open, that the client works, and that the task was cancelled as asked."""
    await server.closed("events")
    assert client._core.transport.connections.in_flight._scopes == set()
    assert not client._core.shared_poller.registry
    ran, cancelled = server.kinds().count("run"), server.kinds().count("cancel")
    if attempt.is_over or way in {wait, follow, follow_bare}:
        assert cancelled == 0
    elif way is run:
        assert cancelled == ran
    else:
        assert cancelled == 1
    assert (await client.tasks.get(TASK)).id == TASK
    server.requests.clear()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stream", ["told", "mute", "refused"])
@pytest.mark.parametrize("way", WAYS)
@virtual
async def test_cancelling_at_every_await_point(way: Callable[[AsyncClient], Awaitable[None]], stream: str) -> None:
    """A scope that is cancelled wherever the caller waits ends the wait there, without a trace."""
    attempt, turn = Attempt(), 0
    async with simulated() as server, connected(server, polling=Polling(interval=0.005)) as client:
        while not attempt.is_over:
            play(server, stream=stream)
            with anyio.CancelScope() as scope:
                await CancelledAt(attempt.make(way, client), turn, scope.cancel).run()
            assert scope.cancelled_caught or attempt.is_over
            await nothing_is_left(server, client, way, attempt)
            turn += 1

    assert turn > 5


@pytest.mark.timeout(180)
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("stream", ["told", "mute"])
@pytest.mark.parametrize("way", WAYS)
def test_asyncios_own_cancellation_at_every_await_point(
    way: Callable[[AsyncClient], Awaitable[None]], stream: str, times: int
) -> None:
    """The same for `task.cancel()`, also where it comes again in the middle of the clean-up."""

    async def cancel_everywhere(_: Clock) -> None:
        attempt, turn = Attempt(), 0
        async with simulated() as server, connected(server, polling=Polling(interval=0.005)) as client:
            while not attempt.is_over:
                play(server, stream=stream)

                cut_off = ClientClosed(times)
                driven = CancelledAt(attempt.make(way, client), turn, cut_off)
                task = cut_off.task = asyncio.ensure_future(_as_task(driven))
                await asyncio.wait([task])
                assert task.cancelled() or attempt.is_over
                await nothing_is_left(server, client, way, attempt)
                turn += 1

        assert turn > 5

    run_virtually("asyncio", cancel_everywhere)


async def _as_task(driven: CancelledAt) -> None:
    await driven.run()


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("stream", ["told", "mute"])
@pytest.mark.parametrize("way", [wait_and_cancel, run])
async def test_cancelling_at_every_turn_of_the_loop(way: Callable[[AsyncClient], Awaitable[None]], stream: str) -> None:
    """What the wait's own tasks are doing at that moment makes no difference either."""
    attempt, turn = Attempt(), 0

    async def cancel_later() -> None:
        for _ in range(turn):
            await checkpoint()
        scope.cancel()

    async with scripted() as server, connected(server, polling=Polling(interval=0.005)) as client:
        while not attempt.is_over:
            play(server, stream=stream)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(cancel_later)
                    await attempt.make(way, client)
                    group.cancel_scope.cancel()
            await nothing_is_left(server, client, way, attempt)
            # On an idle loop turns are quick: the later ones fall into the same waits.
            turn += 1 + turn // count(sample=4, soak=20)

    assert turn > 10


async def test_many_callers_are_cut_off_at_once() -> None:
    """A hundred waits end together when their scope does, and the client works on."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", hold(SSE_HEAD))
        opened: list[Exchange] = server.requests
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(client.wait_for_result, TASK)
                while sum(each.kind == "task" for each in opened) < 50:  # noqa: ASYNC110 - of no single task
                    await anyio.sleep(0.005)
                scope.cancel()
        await server.closed("events")
        assert (await client.tasks.get(TASK)).id == TASK
