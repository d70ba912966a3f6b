"""A batch in a process that can be killed; for each line on stdin it forks one, and says how that ended.

A line is an object: where the server is, what to run, and `kill_at`, the instant at which the process kills itself. An instant
is the moment before a statement of SQL, before a request, or after the head of its response: in between, nothing changes that
outlives the process. With `full`, a seed, the disk is full from instant to instant, at random: files do not grow.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401
import gc
import json
import os
import random
import resource
import signal
import sqlite3
import sys
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

# What is loaded late is imported here, so that not every fork has to do it.
import anyio._backends._asyncio
import httpcore  # noqa: F401
import httpx

import cyberun_async._batch.batch
import cyberun_async._wait.list_poller  # noqa: F401
from cyberun_async import AsyncClient, ConfigurationError, Journal, Limits, Polling, Retries

LIMITS, POLLING, RETRIES = Limits(max_streams=0, max_connections=8), Polling(interval=0.02), Retries(budget=2)


class Disk:
    """Is full at random: no file of this process grows beyond some size that it has, or had."""

    def __init__(self, journal: str, seed: int | None) -> None:
        """Have room, for good where there is no seed."""
        self._dice = None if seed is None else random.Random(seed)
        self._files = [Path(journal), Path(f"{journal}-wal")]
        self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        self._is_full = False

    def change(self) -> None:
        """Fill up in one instant of ten, and have room again in one of five."""
        if self._dice is None or self._dice.random() > (0.2 if self._is_full else 0.1):
            return
        if self._is_full:
            self.empty()
            return
        size = max((path.stat().st_size for path in self._files if path.exists()), default=0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._dice.choice([size, size // 2, 100]), self._hard))
        self._is_full = True

    def empty(self) -> None:
        """Have room."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._hard, self._hard))
        self._is_full = False


class Instants:
    """Counts instants, and kills the process at one of them."""

    def __init__(self, kill_at: int | None, disk: Disk) -> None:
        """Begin before the first one."""
        self._left = kill_at
        self._disk = disk

    def passes(self, *event: object) -> None:
        """Let one pass, or be killed."""
        self._disk.change()
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
    *,
    base_url: str,
    key: str,
    workflow: str,
    journal: str,
    items: int,
    max_in_flight: int,
    kill_at: int | None,
    full: int | None,
) -> None:
    """Take all items through, and write down what became of them."""
    disk = Disk(journal, full)
    instants = Instants(kill_at, disk)
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
    disk.empty()
    Path(f"{journal}.outcomes").write_text(json.dumps(outcomes), encoding="utf-8")


def main() -> None:
    """Fork for each line, and wait for the end of it."""
    gc.freeze()  # So that no fork looks through, and copies, what is there already.
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            order = json.loads(line)
            # A disk that is full when the journal is opened is an error of its own, before anything is submitted.
            with suppress(ConfigurationError) if order["full"] is not None else nullcontext():
                anyio.run(partial(run, **order))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
