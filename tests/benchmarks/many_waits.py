"""Many waits of one client: `requests N`, `memory N BARE`, `batch N SECONDS SPREAD` or `day N`; prints the figures."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cyberun_async import AsyncClient, Limits, Polling, TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL = 3.0
"""Seconds between two looks: the default."""


DEPTH = 11
"""Coroutines that await each other in a wait."""


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, str, list[str]]]:
    """Run the server, and give its address, its key, and its tasks."""
    program = [sys.executable, "-m", "benchmarks.batch_server", *arguments]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        base_url, key, path = process.stdout.readline().split()
        ids = json.loads(Path(path).read_text())
        Path(path).unlink()
        yield base_url, key, ids
        process.kill()


def client_of(base_url: str, key: str, streams: int = 0) -> AsyncClient:
    """Give a client that follows no stream, unless it is asked to."""
    return AsyncClient(key, base_url=base_url, limits=Limits(max_streams=streams), polling=Polling(interval=INTERVAL))


async def requests(count: int) -> float:
    """Give the requests for each wait and interval, once all are waiting."""
    with serving(str(count)) as (base_url, key, ids):
        async with client_of(base_url, key) as client:
            sent = 0
            fetch = client._core.transport.fetch

            async def counting(*call: object, **options: object) -> object:
                nonlocal sent
                sent += 1
                return await fetch(*call, **options)

            client._core.transport.fetch = counting
            waits = [asyncio.create_task(client.wait_for_result(each)) for each in ids]
            await asyncio.sleep(INTERVAL * 2)
            before, intervals = sent, 8
            await asyncio.sleep(INTERVAL * intervals)
            figure = (sent - before) / count / intervals
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            return figure


async def deep(depth: int, future: asyncio.Future[None]) -> None:
    """Be as deep a coroutine as a wait."""
    await (deep(depth - 1, future) if depth else future)


def depth_of(coroutine: object) -> int:
    """Count the coroutines that await each other."""
    depth = 0
    while hasattr(coroutine, "cr_await"):
        depth, coroutine = depth + 1, coroutine.cr_await
    return depth


async def memory(count: int, is_bare: int) -> float:
    """Give the KiB of a wait, or of a coroutine of its depth that waits for nothing else."""
    with serving(str(count)) as (base_url, key, ids):
        async with client_of(base_url, key) as client:
            await client.tasks.get(ids[0])
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            future = asyncio.get_running_loop().create_future
            waits = [deep(DEPTH - 1, future()) if is_bare else client.wait_for_result(each) for each in ids]
            tasks = [asyncio.create_task(each) for each in waits]
            await asyncio.sleep(INTERVAL * 3)
            assert depth_of(waits[5]) == DEPTH
            gc.collect()
            figure = (tracemalloc.get_traced_memory()[0] - before) / count / 1024
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return figure


async def batch(count: int, seconds: float, spread: float) -> tuple[float, float]:
    """Give the CPU of one finished task in ms, and the p99 from the server's end of a task to its outcome, in intervals."""
    dice = random.Random(4)
    items = [{"n": n, "seconds": round(seconds + dice.uniform(0, spread))} for n in range(count)]
    with serving("0") as (base_url, key, _):
        async with client_of(base_url, key) as client:
            started = time.process_time()
            async with client.map("work", items, max_in_flight=count) as running:
                delays = [time.time() - each.unwrap().completed_at.timestamp() async for each in running]
            cpu = time.process_time() - started
    return cpu * 1000 / count, statistics.quantiles(delays, n=100)[98] / INTERVAL


async def day(count: int) -> str:
    """Give what became of a batch on a bad day, and whether the server's own count agrees."""
    items = [{"n": n, "seconds": 4, "fail": n % 100 == 0} for n in range(count)]
    with serving("0", "bad") as (base_url, key, _):
        async with client_of(base_url, key, streams=30) as client:
            outcomes = await client.map("work", items, max_in_flight=2000).gather()
            tasks = {task.id: task.status async for task in client.tasks.list()}
    uncertain = [each for each in outcomes if each.is_uncertain]
    certain = [each for each in outcomes if not each.is_uncertain]
    wrong = [each for each in certain if (type(each.error) is TaskFailed) != (each.index % 100 == 0)]
    ids = {each.task_id for each in certain}
    right = not wrong and len(ids) == len(certain) and ids == set(tasks) and len(outcomes) == count
    return f"{'right' if right else 'WRONG'}: {len(outcomes)} outcomes, {len(uncertain)} uncertain, {len(tasks)} tasks, {len(wrong)} wrong"


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    measure = {"requests": requests, "memory": memory, "batch": batch, "day": day}[what]
    figure = asyncio.run(measure(*map(int, numbers)))
    print(*figure if isinstance(figure, tuple) else [figure])
