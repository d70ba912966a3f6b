"""Ask without end, a thousand at a time, and print the answers per second.

A program of its own, since it ends without cleaning up: a thousand requests take a bare client's pool a minute to let go of.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from benchmarks.contestants import bare, sdk
from benchmarks.harness import OURS

AT_ONCE = 1000
SECONDS = 4.0


async def main(contestant: str, server: str, task_id: str) -> None:
    """Print the rate, and be gone."""
    answers = itertools.count()
    ours, theirs = sdk(server), bare(server, timeout=None)

    async def ask() -> None:
        while True:
            if contestant == OURS:
                await ours.tasks.get(task_id)
            else:
                (await theirs.get(f"/api/v1/r/tasks/{task_id}")).json()
            next(answers)

    loop = asyncio.get_running_loop()
    started = loop.time()
    tasks = [asyncio.ensure_future(ask()) for _ in range(AT_ONCE)]
    await asyncio.sleep(SECONDS)
    print(next(answers) / (loop.time() - started), len(tasks), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
