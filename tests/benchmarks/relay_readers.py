"""Let 200 browsers read 20 tasks, and print memory (KiB, early and late), streams at the server, and the CPU of an event read (ms).

One browser of each task is so slow that it takes nothing before the end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

import aiohttp
from benchmarks.contestants import sdk
from benchmarks.stream_memory import resident

from cyberun_async.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TASKS, BROWSERS = 20, 200
EVENTS, EARLY = 200, 120
MEMORY = 100
"""Events a task that the relay keeps: fewer than `EARLY`, so that it has as many as it ever will."""


async def read(stream: AsyncIterator[object], there: asyncio.Event, *, on_event: Callable[[], None]) -> None:
    """Be a browser."""
    async for _ in stream:
        there.set()
        on_event()


async def main(server: str) -> None:
    """Print the figures, and be gone."""
    client = sdk(server)
    taken, early = 0, 0

    def count() -> None:
        nonlocal taken, early
        taken += 1
        if taken == EARLY * (BROWSERS - TASKS):
            early = resident()

    async with Relay(client, history=MEMORY) as relay:
        there = [asyncio.Event() for _ in range(BROWSERS)]
        readers = []
        slow = []
        for number, event in enumerate(there):
            task_id = f"x-{number % TASKS}"
            if number < TASKS:
                slow.append(relay.stream(task_id))
                await anext(slow[-1])
                event.set()
                continue
            readers.append(asyncio.ensure_future(read(relay.stream(task_id), event, on_event=count)))
        for event in there:
            await event.wait()
        async with aiohttp.ClientSession(server) as session:
            # The relay's readers are there before its upstream streams are.
            while (streams := (await (await session.get("/open")).json())["streams"]) < TASKS:  # noqa: ASYNC110 - it is the server that is asked
                await asyncio.sleep(0.01)
            before = time.process_time()
            await session.get("/go", params={"interval": 0.02, "count": EVENTS})
            await asyncio.gather(*readers)
        spent = (time.process_time() - before) * 1000 / taken
        late = resident()
        for stream in slow:
            assert b"completed" in [chunk async for chunk in stream][-1]
    print(early / 1024, late / 1024, streams, spent, flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
