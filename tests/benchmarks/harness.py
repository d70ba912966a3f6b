"""Measuring contestants side by side: in turn, in one run, and compared pair by pair.

A machine is never quite idle, so a figure alone says little. Its ratio to the figure taken right beside it says more, and the
median of many such ratios, with the quartiles around it, is what the table shows.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

TESTS = Path(__file__).parents[1]

OURS = "cyberun-async"


class Spread(NamedTuple):
    """A median, and the quartiles below and above it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise values; a single one is its own spread."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high)

    def __str__(self) -> str:
        """Show the median, and the quartiles where they differ from it."""
        median, low, high = (f"{value:,.{self._decimals}f}" for value in self)
        return median if low == high else f"{median} ({low} to {high})"

    @property
    def _decimals(self) -> int:
        return next((places for limit, places in ((0.1, 3), (10, 2), (100, 1)) if abs(self.median) < limit), 0)


@attrs.frozen
class Goal:
    """What a figure has to reach."""

    sign: str
    limit: float

    def __str__(self) -> str:
        """Show it as in the issue."""
        return f"{self.sign} {self.limit:g}"

    def is_met_by(self, value: float) -> bool:
        """Whether a figure, as it is printed, reaches it."""
        value = round(value, 2)
        return value <= self.limit if self.sign == "≤" else value >= self.limit


def at_most(limit: float) -> Goal:
    """Ask for a figure of this size or a smaller one."""
    return Goal("≤", limit)


def at_least(limit: float) -> Goal:
    """Ask for a figure of this size or a larger one."""
    return Goal("≥", limit)


@attrs.frozen
class Figures:
    """What each contestant took in each round, in one unit for all."""

    taken: Mapping[str, list[float]]
    unit: str

    def ratios(self, name: str, to: str) -> Spread:
        """Compare two contestants, round by round."""
        return Spread.of([ours / theirs for ours, theirs in zip(self.taken[name], self.taken[to], strict=True)])

    def __str__(self) -> str:
        """Show the median of each contestant."""
        return ", ".join(f"{name} {Spread.of(taken).median:.3g} {self.unit}" for name, taken in self.taken.items())


if TYPE_CHECKING:
    Contestant = Callable[[], Awaitable[float]]


async def in_turn(contestants: Mapping[str, Contestant], *, rounds: int, unit: str, warm_up: bool = True) -> Figures:
    """Let each contestant give a figure in each round, after one round to warm up; the order changes from round to round."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(-warm_up, rounds):
        for name in reversed(names) if number % 2 else names:
            gc.collect()
            figure = await contestants[name]()
            if number >= 0:
                taken[name].append(figure)
    return Figures(taken, unit)


async def cpu_of(work: Callable[[], Awaitable[object]], count: int) -> float:
    """Give the CPU time of this process for one of the `count` things that `work` does, in milliseconds."""
    started = time.process_time()
    await work()
    return (time.process_time() - started) * 1000 / count


@attrs.frozen
class Row:
    """One line of the table."""

    section: str
    measure: str
    ours: str
    goal: Goal | None
    is_met: bool | None
    others: str
    figures: str

    @property
    def verdict(self) -> str:
        """Say whether the goal is met."""
        return {True: "met", False: "**missed**", None: ""}[self.is_met]


class Table:
    """Takes the rows of one section of the page: the title is the first sentence of the test module."""

    def __init__(self, section: str, rows: list[Row]) -> None:
        """Add to `rows`."""
        self._section = section
        self._rows = rows

    def compare(self, measure: str, figures: Figures, *, to: str, goal: Goal | None = None) -> None:
        """Add a row of ratios: ours, and every other contestant's, to the contestant `to`."""
        ours = figures.ratios(OURS, to)
        others = [f"{name} {figures.ratios(name, to)}" for name in figures.taken if name not in {OURS, to}]
        self.add(measure, ours, goal=goal, others="; ".join(others), figures=str(figures))

    def add(
        self,
        measure: str,
        ours: Spread,
        *,
        unit: str = "",
        goal: Goal | None = None,
        others: str = "",
        figures: str = "",
    ) -> None:
        """Add a row with a figure of ours that is no ratio, or a ratio that was computed elsewhere.

        Args:
            measure: What was measured, and against what.
            ours: The figure.
            unit: Its unit; none for a ratio.
            goal: In the same unit.
            others: The same for the peers.
            figures: What the ratios are made of, with units.

        """
        is_met = None if goal is None else goal.is_met_by(ours.median)
        self._rows.append(Row(self._section, measure, f"{ours} {unit}".strip(), goal, is_met, others, figures))


@contextmanager
def running(module: str, *arguments: str) -> Iterator[str]:
    """Run a program of this folder in a process of its own, and give the first line that it prints: its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments], cwd=TESTS, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def in_fresh_process(module: str, *arguments: str) -> str:
    """Run a program of this folder in a process of its own, and give what it prints: for memory, and for imports."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=TESTS,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
