"""A batch in a process that can be killed; for each line on stdin it forks one, and says how that ended.

A line is an object: where the server is, what to run, and `kill_at`, the instant at which the process kills itself. An instant
is the moment before a statement of SQL, before a request, or after the head of its response: in between, nothing changes that
outlives the process.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from functools import partial
from pathlib import Path
from typing import Any

# What is loaded late is imported here, so that not every fork has to do it.
import anyio._backends._asyncio
import httpcore  # noqa: F401
import httpx

import cyberun_async._flows.batching  # noqa: F401
from cyberun_async import AsyncClient, Journal, Limits, Polling, Retries

LIMITS, POLLING, RETRIES = Limits(max_streams=0, max_connections=8), Polling(interval=0.02), Retries(budget=2)


class Instants:
    """Counts instants, and kills the process at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        """Begin before the first one."""
        self._left = kill_at

    def passes(self, *event: object) -> None:
        """Let one pass, or be killed."""
        if self._left is not None:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1


class Watched(httpx.AsyncHTTPTransport):
    """The network, with an instant before each request and after the head of its response."""

    def __init__(self, instants: Instants) -> None:
        """Verify nothing: there is no TLS."""
        super().__init__(verify=False)
        self._instants = instants

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        self._instants.passes(request)
        response = await super().handle_async_request(request)
        self._instants.passes(response)
        return response


def watch_statements(instants: Instants) -> None:
    """Let an instant pass before each statement of each database."""
    connect = sqlite3.connect

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*args, **options)
        db.set_trace_callback(instants.passes)
        return db

    sqlite3.connect = watched


async def run(
    *, base_url: str, key: str, workflow: str, journal: str, items: int, max_in_flight: int, kill_at: int | None
) -> None:
    """Take all items through, and write down what became of them."""
    instants = Instants(kill_at)
    watch_statements(instants)
    async with (
        httpx.AsyncClient(transport=Watched(instants)) as http_client,
        AsyncClient(
            key, base_url=base_url, limits=LIMITS, polling=POLLING, retries=RETRIES, http_client=http_client
        ) as client,
    ):
        each = ((f"item {n}", {"n": n}) for n in range(items))
        async with client.map(workflow, each, max_in_flight=max_in_flight, journal=Journal(journal)) as batch:
            outcomes = [
                [each.index, each.task_id, each.is_uncertain, each.is_matched, each.succeeded] async for each in batch
            ]
    Path(f"{journal}.outcomes").write_text(json.dumps(outcomes), encoding="utf-8")


def main() -> None:
    """Fork for each line, and wait for the end of it."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            anyio.run(partial(run, **json.loads(line)))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
