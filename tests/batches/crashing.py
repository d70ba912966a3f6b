"""A batch in a process that can be killed at any instant; for each line on stdin it forks one, and says how it ended."""

from __future__ import annotations

import json
import os
import sys

import anyio

from cyberun_async import AsyncClient, Journal, Limits, Polling, Retries


async def run(base_url: str, key: str, journal: str, count: int) -> None:
    """Take all items through, and write down what became of them."""
    limits, polling = Limits(max_streams=0, max_connections=8), Polling(interval=0.05)
    async with AsyncClient(key, base_url=base_url, limits=limits, polling=polling, retries=Retries(budget=2)) as client:
        items = ((f"item {n}", {"n": n}) for n in range(count))
        async with client.map("work", items, max_in_flight=12, journal=Journal(journal)) as batch:
            outcomes = [[each.index, each.task_id, each.is_uncertain, each.succeeded] async for each in batch]
    with open(f"{journal}.outcomes", "w", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - the last thing it does
        json.dump(outcomes, file)


def main(base_url: str, key: str, journal: str, count: str) -> None:
    """Fork for each line, and wait for the end of it."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            anyio.run(run, base_url, key, journal, int(count))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
