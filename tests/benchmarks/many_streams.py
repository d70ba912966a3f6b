"""Hold many streams open on one client, and print how late their events come and what they cost.

A program of its own, so that what one contestant leaves behind does not slow the next one down.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from benchmarks.contestants import HTTPX, KEY, UNLIMITED, bare, sdk
from benchmarks.harness import OURS
from httpx_sse import aconnect_sse

from cyberun_async import CompletedEvent, Limits, ProgressEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Read = Callable[[str], AsyncIterator[int]]

AIOHTTP = "aiohttp"
OPENING = 50


async def read_ours(client: object, task_id: str) -> AsyncIterator[int]:
    """Give the moment at which each event was written; 0 for the one that says that the stream is there."""
    async with client.events(task_id) as events:
        async for event in events:
            match event:
                case ProgressEvent(message=written):
                    yield int(written)
                case CompletedEvent(source="stream", output=output):
                    yield output["written"]
                case _:
                    yield 0


async def read_httpx(client: object, task_id: str) -> AsyncIterator[int]:
    """Likewise."""
    async with aconnect_sse(client, "GET", f"/api/v1/r/tasks/{task_id}/events") as source:
        # The server ends the stream, as the documentation says.
        async for event in source.aiter_sse():
            yield written_in(event.event, event.data)


async def read_aiohttp(session: object, task_id: str) -> AsyncIterator[int]:
    """Likewise; aiohttp knows no events, so this knows only ours."""
    name = ""
    async with session.get(f"/api/v1/r/tasks/{task_id}/events") as response:
        async for line in response.content:
            if line.startswith(b"event: "):
                name = line[7:-1].decode()
            elif line.startswith(b"data: "):
                yield written_in(name, line[6:])


def written_in(name: str, data: str | bytes) -> int:
    """Find the moment in an event."""
    fields = json.loads(data)
    return int(fields.get("message", 0)) if name != "completed" else fields["output"]["written"]


def reader(contestant: str, server: str) -> Read:
    """Give a contestant's way to read a stream, on one client."""
    if contestant == OURS:
        return partial(read_ours, sdk(server, limits=Limits(max_streams=5000)))
    if contestant == HTTPX:
        return partial(read_httpx, bare(server, limits=UNLIMITED, timeout=None))
    connector, headers = aiohttp.TCPConnector(limit=0), {"Authorization": f"Bearer {KEY}"}
    return partial(read_aiohttp, aiohttp.ClientSession(server, connector=connector, headers=headers))


class Streams:
    """Many streams of one client."""

    def __init__(self, read: Read) -> None:
        """Open none yet."""
        self._read = read
        self._tasks: list[asyncio.Task[None]] = []
        self._opening = asyncio.Semaphore(OPENING)
        self._expected = 0
        self._all_in_progress = asyncio.Event()
        self.delays: list[float] = []
        self.cpu_at_end = 0.0

    async def open(self, count: int) -> None:
        """Open so many more, a few at a time, and come back once all are there."""
        there = [asyncio.Event() for _ in range(count)]
        number = len(self._tasks)
        self._tasks += [asyncio.ensure_future(self._follow(f"x-{n}", event)) for n, event in enumerate(there, number)]
        for event in there:
            await event.wait()

    async def _follow(self, task_id: str, there: asyncio.Event) -> None:
        await self._opening.acquire()
        async for written in self._read(task_id):
            if written:
                self.delays.append((time.monotonic_ns() - written) / 1e6)
                if len(self.delays) == self._expected:
                    self.cpu_at_end = time.process_time()
            elif not there.is_set():
                self._opening.release()
                there.set()

    async def cpu_of_an_event(self, server: str, interval: float, count: int) -> float:
        """Let the server write `count` events to each, and give the milliseconds of CPU for one."""
        self._expected = count * len(self._tasks)
        async with aiohttp.ClientSession(server) as session:
            before = time.process_time()
            await session.get("/go", params={"interval": interval, "count": count})
            await asyncio.gather(*self._tasks)
        return (self.cpu_at_end - before) * 1000 / self._expected

    async def delay(self, number: int, spread: float, count: int) -> float:
        """Follow so many tasks of `count` seconds, started within `spread` seconds, and give the 99th percentile delay in ms."""
        self._opening = asyncio.Semaphore(number)
        for started in range(number):
            self._tasks.append(asyncio.ensure_future(self._follow(f"ticks-1-{count}-{started}", asyncio.Event())))
            if spread:
                await asyncio.sleep(spread / number)
        await asyncio.gather(*self._tasks)
        return statistics.quantiles(self.delays, n=100)[98]


async def main(contestant: str, server: str, figure: str, *numbers: str) -> None:
    """Print a figure, and be gone."""
    streams = Streams(reader(contestant, server))
    number, seconds, count = map(float, numbers)
    if figure == "cpu":
        await streams.open(int(number))
        await asyncio.sleep(0.5)
        print(await streams.cpu_of_an_event(server, seconds, int(count)), flush=True)
    else:
        if figure == "undisturbed":
            gc.disable()
        print(await streams.delay(int(number), seconds, int(count)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
