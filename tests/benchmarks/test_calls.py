"""Calls: what one costs, and a thousand at once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contestants import HTTPX, UNLIMITED, getters, repeat
from benchmarks.harness import OURS, Figures, at_least, at_most, cpu_of, in_fresh_process, in_turn

if TYPE_CHECKING:
    from benchmarks.contestants import Get
    from benchmarks.harness import Contestant, Goal, Table


def cpu_of_calls(get: Get, count: int, at_once: int) -> Contestant:
    """Give the CPU time of one call."""
    return lambda: cpu_of(lambda: repeat(get, count, at_once=at_once), count)


def test_one_at_a_time(table: Table, server: str) -> None:
    """A call costs little more than the bare parts."""

    async def measure() -> Figures:
        async with getters(server) as gets:
            return await in_turn({name: cpu_of_calls(get, 100, 1) for name, get in gets.items()}, rounds=15, unit="ms")

    table.compare(
        f"CPU of `tasks.get`, one at a time, against {HTTPX}", asyncio.run(measure()), to=HTTPX, goal=at_most(1.1)
    )


def test_ten_at_once(table: Table, server: str) -> None:
    """So it does beside nine others."""

    async def measure() -> Figures:
        async with getters(server) as gets:
            return await in_turn({name: cpu_of_calls(get, 150, 10) for name, get in gets.items()}, rounds=9, unit="ms")

    table.compare(f"the same, 10 at once, against {HTTPX}", asyncio.run(measure()), to=HTTPX)


def test_many_at_once(table: Table, server: str) -> None:
    """What a call costs does not depend on how many others there are."""

    async def measure() -> dict[int, Figures]:
        figures = {}
        async with getters(server, limits=UNLIMITED, timeout=None) as gets:
            for at_once, rounds in ((100, 3), (1000, 9)):
                # A thousand at once take everybody else minutes.
                asked = {name: get for name, get in gets.items() if name == OURS or at_once == 100}
                contestants = {}
                for name, get in asked.items():
                    contestants[f"{name} {at_once}"] = cpu_of_calls(get, max(at_once, 200), at_once)
                    contestants[f"{name} 10"] = cpu_of_calls(get, 200, 10)
                figures[at_once] = await in_turn(contestants, rounds=rounds, unit="ms")
        return figures

    for at_once, figures in asyncio.run(measure()).items():
        names = [name.rpartition(" ")[0] for name in figures.taken if name.endswith(f" {at_once}")]
        ratios = {name: figures.ratios(f"{name} {at_once}", f"{name} 10") for name in names}
        table.add(
            f"CPU of `tasks.get`, {at_once:,} at once, against itself at 10 at once",
            ratios.pop(OURS),
            goal=at_most(1.3),
            others="; ".join(f"{name} {ratio}" for name, ratio in ratios.items()),
            figures=str(figures),
        )


def throughput(table: Table, server: str, task_id: str, measure: str, goal: Goal) -> None:
    """Compare how many calls get through when a thousand are made at once."""

    async def answers_per_second(contestant: str) -> float:
        printed = await asyncio.to_thread(in_fresh_process, "throughput", contestant, server, task_id)
        return float(printed.split()[0])

    # The ratio is some hundred times what the goal asks for, and a bare client takes a quarter of a minute.
    contestants = {name: partial(answers_per_second, name) for name in (OURS, HTTPX)}
    figures = asyncio.run(in_turn(contestants, rounds=1, unit="/s", warm_up=False))
    table.compare(measure, figures, to=HTTPX, goal=goal)


def test_throughput(table: Table, server: str) -> None:
    """A thousand at once get through."""
    throughput(table, server, "x", f"calls/s, 1,000 at once, against {HTTPX} with its own limits", at_least(15))


def test_throughput_over_distance(table: Table, server: str) -> None:
    """They do so over a network, too, where an answer takes its time."""
    throughput(table, server, "slow-x", "the same, from a server that answers after 100 ms", at_least(2))
