"""Cancellation: what is left of calls that were cut off."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import HTTPX, UNLIMITED, bare, sdk
from benchmarks.harness import OURS, Spread, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.harness import Table

    Get = Callable[[], Awaitable[object]]

TURNS = range(1, 21)
CALLS = 200
AT_ONCE = 1.0
"""Seconds within which a call counts as working at once; an ordinary one takes some milliseconds."""


def test_cancelled_at_each_turn_of_the_loop(table: Table, server: str) -> None:
    """After calls that were cancelled early in their lives, the next one works at once."""

    async def next_call(get: Get, turn: int) -> float:
        tasks = [asyncio.ensure_future(get()) for _ in range(CALLS)]
        for _ in range(turn):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await seconds_of(get)

    async def measure() -> list[float]:
        taken = []
        for turn in TURNS:
            async with sdk(server) as ours:
                taken.append(await next_call(lambda client=ours: client.tasks.get("x"), turn))
        return taken

    taken = asyncio.run(measure())
    table.add(
        f"following calls that work at once, after {CALLS} calls cancelled at loop turn 1, 2, … {len(TURNS)}",
        Spread.of([sum(seconds < AT_ONCE for seconds in taken)]),
        unit=f"of {len(TURNS)}",
        goal=at_least(len(TURNS)),
        figures=f"the slowest took {max(taken) * 1000:.0f} ms",
    )


def test_cut_off_at_random(table: Table, server: str) -> None:
    """Calls that are cut off by their callers' timeouts leave no socket behind."""

    async def cut_off(get: Get) -> tuple[int, int, float]:
        before, calls, loop = sockets(), 0, asyncio.get_running_loop()
        end = loop.time() + 6

        async def worker() -> None:
            nonlocal calls
            while loop.time() < end:
                calls += 1
                try:
                    async with asyncio.timeout(random.uniform(0, 0.03)):
                        await get()
                except TimeoutError:
                    pass

        await asyncio.gather(*(worker() for _ in range(20)))
        await asyncio.sleep(0.2)
        return sockets() - before, calls, await seconds_of(get)

    async def measure() -> dict[str, tuple[int, int, float]]:
        left = {}
        async with sdk(server) as ours:
            left[OURS] = await cut_off(lambda: ours.tasks.get("x"))
        theirs = bare(server, limits=UNLIMITED)
        left[HTTPX] = await cut_off(lambda: theirs.get("/api/v1/r/tasks/x"))
        return left

    left = asyncio.run(measure())
    (ours, _, following), (theirs, _, _) = left[OURS], left[HTTPX]
    calls = ", ".join(f"{name} {calls:,} calls" for name, (_, calls, _) in left.items())
    table.add(
        "sockets left by 20 workers whose calls are cut off after 0 to 30 ms for 6 s",
        Spread.of([ours]),
        unit="sockets",
        goal=at_most(20),
        others=f"{HTTPX} {theirs}",
        figures=f"{calls}; the next call of ours took {following * 1000:.0f} ms",
    )


async def seconds_of(get: Get) -> float:
    """Time one call, which may take 10 s at most."""
    started = time.perf_counter()
    try:
        await asyncio.wait_for(get(), 10)
    except Exception:  # noqa: BLE001 - any failure is as bad as being late
        return float("inf")
    return time.perf_counter() - started


def sockets() -> int:
    """Count the sockets of this process."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += str(descriptor.readlink()).startswith("socket:")
        except OSError:
            continue
    return count
