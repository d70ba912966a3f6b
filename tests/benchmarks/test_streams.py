"""Streams: what one costs, and a thousand of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpx
from benchmarks.contestants import HTTPX, bare, sdk
from benchmarks.harness import OURS, Figures, Spread, at_most, cpu_of, in_fresh_process, in_turn
from benchmarks.many_streams import AIOHTTP, reader
from benchmarks.server import TASK_ID
from httpx_sse import aconnect_sse

from cyberun_async._protocol.endpoints import stream_task_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.harness import Contestant, Table

EVENTS = f"/api/v1/r/tasks/{TASK_ID}/events"
NO_KEEP_ALIVE = httpx.Limits(max_connections=None, max_keepalive_connections=0)


def in_process(*arguments: object) -> Contestant:
    """Run the program that holds many streams open, and give the figure that it prints."""

    async def run() -> float:
        return float(await asyncio.to_thread(in_fresh_process, "many_streams", *map(str, arguments)))

    return run


def test_cpu_of_an_event(table: Table, server: str) -> None:
    """An event costs the same, however many streams there are."""
    # A thousand events a second either way.
    contestants = {
        f"{name} {count}": in_process(name, server, "cpu", count, count / 1000, 4000 // count)
        for name in (OURS, AIOHTTP)
        for count in (10, 1000)
    }
    figures = asyncio.run(in_turn(contestants, rounds=2, unit="ms", warm_up=False))
    table.add(
        "CPU of an event with 1,000 open streams, against 10; a thousand events a second in all",
        figures.ratios(f"{OURS} 1000", f"{OURS} 10"),
        goal=at_most(1.3),
        others=f"{AIOHTTP} {figures.ratios(f'{AIOHTTP} 1000', f'{AIOHTTP} 10')}",
        figures=str(figures),
    )


def test_delay_in_step(table: Table, server: str) -> None:
    """A thousand streams whose events all come at once are not late."""
    contestants = {name: in_process(name, server, "delay", 1000, 0, 8) for name in (OURS, HTTPX)}
    figures = asyncio.run(in_turn(contestants, rounds=2, unit="ms", warm_up=False))
    measure = f"p99 from server write to client event, 1,000 streams opened at once, an event a second each, against {HTTPX} without limits"
    table.compare(measure, figures, to=HTTPX, goal=at_most(0.1))


def test_delay_spread(table: Table, server: str) -> None:
    """Nor those whose events come one by one."""
    measure = "the same with their starts spread over 10 s, against aiohttp"
    # A round takes 46 s. Without the collector two of them hardly differ.
    for figure, circumstances, goal, rounds in (
        ("delay", "", at_most(3), 2),
        ("undisturbed", ", both without the garbage collector", None, 1),
    ):
        contestants = {name: in_process(name, server, figure, 1000, 10, 12) for name in (OURS, AIOHTTP)}
        figures = asyncio.run(in_turn(contestants, rounds=rounds, unit="ms", warm_up=False))
        table.compare(measure + circumstances, figures, to=AIOHTTP, goal=goal)


def test_memory(table: Table, server: str) -> None:
    """An open stream takes little memory."""

    async def kibibytes(name: str) -> float:
        return float(await asyncio.to_thread(in_fresh_process, "stream_memory", name, server))

    contestants = {name: partial(kibibytes, name) for name in (OURS, HTTPX, AIOHTTP)}
    figures = asyncio.run(in_turn(contestants, rounds=2, unit="KiB", warm_up=False))
    above = [ours - theirs for ours, theirs in zip(figures.taken[OURS], figures.taken[HTTPX], strict=True)]
    measure = f"memory of an open stream, above {HTTPX}-sse's"
    table.add(measure, Spread.of(above), unit="KiB", goal=at_most(8), figures=str(figures))


def test_opening(table: Table, server: str) -> None:
    """Opening a stream costs little more than the bare parts."""

    async def measure() -> tuple[Figures, Figures]:
        async with sdk(server) as ours, bare(server, limits=NO_KEEP_ALIVE) as theirs:
            call = stream_task_events(TASK_ID)

            async def open_ours() -> None:
                connection = await ours._core.transport.open_stream(call)
                await connection.receive()
                await connection.aclose()

            async def open_theirs() -> None:
                async with aconnect_sse(theirs, "GET", EVENTS) as source:
                    await anext(source.aiter_sse())

            async def follow_ours() -> None:
                async with ours.events(TASK_ID) as events:
                    await anext(events)

            async def follow_theirs() -> None:
                async with aconnect_sse(theirs, "GET", EVENTS) as source:
                    (await theirs.get(f"/api/v1/r/tasks/{TASK_ID}")).json()
                    await anext(source.aiter_sse())

            return (
                await in_turn({OURS: opening(open_ours), HTTPX: opening(open_theirs)}, rounds=15, unit="ms"),
                await in_turn({OURS: opening(follow_ours), HTTPX: opening(follow_theirs)}, rounds=9, unit="ms"),
            )

    opened, followed = asyncio.run(measure())
    table.compare(
        "CPU to open a stream, to its first event, against bare `aconnect_sse`", opened, to=HTTPX, goal=at_most(1.15)
    )
    table.compare(
        "the same with `client.events()`, which looks the task up, too, against both by hand", followed, to=HTTPX
    )


def opening(work: Callable[[], Awaitable[None]], count: int = 60) -> Contestant:
    """Give the CPU time of opening one stream, one after the other."""

    async def repeat() -> None:
        for _ in range(count):
            await work()

    return lambda: cpu_of(repeat, count)


def test_cancelling(table: Table, server: str) -> None:
    """Many streams are cancelled as quickly as bare ones, and nothing is left of them."""
    left: list[int] = []

    async def cancel(name: str) -> float:
        read, there = reader(name, server), 0
        all_there = anyio.Event()

        async def follow() -> None:
            nonlocal there
            async for _ in read("x"):
                there += 1
                if there == 500:
                    all_there.set()

        async with anyio.create_task_group() as group:
            for _ in range(500):
                group.start_soon(follow)
            await all_there.wait()
            started = time.perf_counter()
            group.cancel_scope.cancel()
        taken = time.perf_counter() - started
        await anyio.sleep(0.2)
        if name == OURS:
            left.append((await connections(server))["streams"])
        await read.args[0].aclose()
        return taken * 1000

    contestants = {name: partial(cancel, name) for name in (OURS, HTTPX)}
    figures = asyncio.run(in_turn(contestants, rounds=3, unit="ms"))
    table.compare(f"500 streams cancelled by one scope, time against {HTTPX}-sse", figures, to=HTTPX, goal=at_most(1.5))
    table.add("streams left of those 500", Spread.of([max(left)]), unit="streams", goal=at_most(0))


async def connections(server: str) -> dict[str, int]:
    """Ask the server how many connections it has."""
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{server}/open")).json()


def test_from_completion_to_result(table: Table, server: str) -> None:
    """A result is there soon after the task has completed."""

    async def measure() -> Figures:
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(sdk(server))
            theirs = await stack.enter_async_context(bare(server))

            async def waited() -> float:
                return p99([await from_completion(ours) for _ in range(40)])

            async def asked() -> float:
                return p99([await asking(theirs) for _ in range(40)])

            return await in_turn({OURS: waited, HTTPX: asked}, rounds=5, unit="ms")

    figures = asyncio.run(measure())
    measure_name = "from the server's `completed` to the result in hand, p99, against a warm GET of the result"
    table.compare(measure_name, figures, to=HTTPX, goal=at_most(3))


async def from_completion(client: object) -> float:
    """Wait for a result, and give the milliseconds since the server wrote the event."""
    events: list[object] = []
    await client.wait_for_result("soon-x", on_event=events.append)
    return (time.monotonic_ns() - events[-1].output["written"]) / 1e6


async def asking(client: httpx.AsyncClient) -> float:
    """Ask for a result, and give the milliseconds that it took."""
    # As long as a wait, so that both find the machine in the same state.
    await asyncio.sleep(0.03)
    started = time.monotonic_ns()
    (await client.get("/api/v1/r/tasks/soon-x/result")).json()
    return (time.monotonic_ns() - started) / 1e6


def p99(values: list[float]) -> float:
    """Give the 99th percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]
