"""Deadlines: how late a wait ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.contestants import sdk
from benchmarks.harness import Spread, at_most

from cyberun_async import WaitTimeout

if TYPE_CHECKING:
    from benchmarks.harness import Table

TIMEOUT = 0.3
WAITS = 30


def test_deadline(table: Table, server: str) -> None:
    """A wait ends soon after its deadline, on a loop that has nothing else to do."""

    async def measure() -> list[float]:
        late = []
        async with sdk(server) as client:
            for _ in range(WAITS):
                started = time.perf_counter()
                try:
                    await client.wait_for_result("x", timeout=TIMEOUT)
                except WaitTimeout:
                    late.append((time.perf_counter() - started - TIMEOUT) * 1000)
        return late

    late = asyncio.run(measure())
    assert len(late) == WAITS
    figures = f"{WAITS} waits of {TIMEOUT:g} s; median {Spread.of(late)} ms"
    table.add(
        "the latest end of a wait after its deadline",
        Spread.of([max(late)]),
        unit="ms",
        goal=at_most(50),
        figures=figures,
    )
