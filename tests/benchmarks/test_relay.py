"""The relay: 200 browsers on 20 tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Spread, at_most, in_fresh_process
from benchmarks.relay_readers import BROWSERS, EARLY, EVENTS, TASKS

if TYPE_CHECKING:
    from benchmarks.harness import Table

ROUNDS = 3


def test_relay(table: Table, server: str) -> None:
    """Browsers cost one upstream stream a task and no memory that grows, however long the tasks last and some read."""
    printed = [[float(figure) for figure in in_fresh_process("relay_readers", server).split()] for _ in range(ROUNDS)]
    early, late, streams, spent = zip(*printed, strict=True)
    table.add(
        f"memory after {EVENTS} events a task, against after {EARLY}; one browser in ten takes nothing until the end",
        Spread.of([after / before for before, after in zip(early, late, strict=True)]),
        goal=at_most(1.02),
        figures=f"{Spread.of(late)} KiB",
    )
    table.add(
        f"upstream streams for {BROWSERS} browsers", Spread.of([max(streams)]), unit="streams", goal=at_most(TASKS)
    )
    table.add("CPU of an event that a browser reads, upstream included", Spread.of(spent), unit="ms")
