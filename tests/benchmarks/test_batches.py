"""Batches: thousands of waits, and a bad day.

Each figure is taken in a process of its own, against a local Cyberun in another one. What is counted rather than timed, and
waits most of its time, is taken at once: requests of a few, bytes, and what became of a bad day.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from benchmarks.harness import Spread, at_most, in_fresh_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from benchmarks.harness import Table


def figures(*arguments: object) -> list[float]:
    """Run one measurement."""
    return [float(each) for each in in_fresh_process("many_waits", *map(str, arguments)).split()]


@pytest.fixture(scope="module")
def aside() -> Iterator[ThreadPoolExecutor]:
    """Give what runs measurements beside each other."""
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture(scope="module")
def counted(aside: ThreadPoolExecutor) -> dict[str, Future[list[float]]]:
    """Begin to count what is counted and waits most of its time."""
    begun = {f"memory {bare}": aside.submit(figures, "memory", 3000, bare) for bare in (0, 1)}
    return begun | {"requests": aside.submit(figures, "requests", 10)}


@pytest.mark.timeout(1200)
def test_a_bad_day(table: Table, counted: object) -> None:
    """With failing tasks, failing calls, cut streams and a storm of 429, nothing is lost or submitted twice."""
    verdict = in_fresh_process("many_waits", "day", "10000")
    wrong = Spread.of([float(not verdict.startswith("right"))])
    table.add("10,000 items on a bad day: wrong outcomes", wrong, goal=at_most(0), figures=verdict)


@pytest.mark.parametrize(("count", "goal"), [(10, 1), (10_000, 0.03)])
def test_requests(table: Table, counted: dict[str, Future[list[float]]], count: int, goal: float) -> None:
    """Requests grow far slower than the waits."""
    measure = f"requests per waiting task and polling interval, {count:,} waits"
    taken = counted["requests"].result() if count == 10 else figures("requests", count)
    table.add(measure, Spread.of(taken), goal=at_most(goal))


def test_memory(table: Table, counted: dict[str, Future[list[float]]]) -> None:
    """A wait without a stream costs little more than its coroutine."""
    measure = "memory of a wait without a stream, above a coroutine of its depth, 3,000 waits"
    (ours,), (bare,) = counted["memory 0"].result(), counted["memory 1"].result()
    shown = f"the wait {ours:.3g} KiB, the coroutine {bare:.3g} KiB"
    table.add(measure, Spread.of([ours - bare]), unit="KiB", goal=at_most(4), figures=shown)


@pytest.mark.timeout(1200)
def test_ten_thousand_tasks(table: Table, aside: ThreadPoolExecutor) -> None:
    """A task costs as much among ten thousand as among a hundred, and is heard of as soon."""
    # A hundred tasks take a third of a second of CPU in a quarter of a minute.
    few = [each.result() for each in [aside.submit(figures, "batch", 100, 5, 10) for _ in range(3)]]
    (many, delay) = figures("batch", 10_000, 60, 40)
    ratios = Spread.of([many / cpu for cpu, _ in few])
    shown = f"100: {Spread.of([cpu for cpu, _ in few]).median:.3g} ms, 10,000: {many:.3g} ms"
    table.add("client CPU per finished task, 10,000 tasks against 100", ratios, goal=at_most(1.3), figures=shown)
    measure = "from the server finishing a task to its outcome, p99, 10,000 in flight, no streams"
    table.add(measure, Spread.of([delay]), unit="intervals", goal=at_most(1.5))
