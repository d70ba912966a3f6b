"""Ask without end, a thousand at a time, and print the answers per second.

A program of its own, since it ends without cleaning up: a thousand requests take a bare client's pool a minute to let go of.
"""

from __future__ import annotations

import asyncio
import os
import sys

from benchmarks.contestants import bare, sdk
from benchmarks.harness import OURS

AT_ONCE = 1000
SECONDS = 4.0
PATIENCE = 120.0
"""Seconds until the first answer: a bare client may take longer than the measurement."""


async def main(contestant: str, server: str, task_id: str) -> None:
    """Print the rate, and be gone."""
    answered = 0
    ours, theirs = sdk(server), bare(server, timeout=None)

    async def ask() -> None:
        nonlocal answered
        while True:
            if contestant == OURS:
                await ours.tasks.get(task_id)
            else:
                (await theirs.get(f"/api/v1/r/tasks/{task_id}")).json()
            answered += 1

    loop = asyncio.get_running_loop()
    started = loop.time()
    tasks = [asyncio.ensure_future(ask()) for _ in range(AT_ONCE)]
    await asyncio.sleep(SECONDS)
    while not answered and loop.time() - started < PATIENCE:  # noqa: ASYNC110 - an event would cost each answer
        await asyncio.sleep(1)
    print(answered / (loop.time() - started), len(tasks), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
