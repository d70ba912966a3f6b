"""Wait for tasks that another process has submitted, and download their files: `arq worker.WorkerSettings`."""

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
from arq import Retry
from arq.connections import RedisSettings

from cyberun_async import AsyncClient, ServerError, StorageError, TransportError

QUEUE = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://localhost"))
PICTURES = Path(os.environ.get("PICTURES", "pictures"))

TURN = 60
"""Seconds until a job goes back into the queue, for itself or another worker to go on with."""
DEADLINE = timedelta(hours=6)
"""How long a task is waited for in all; arq itself forgets a job after a day."""


async def collect(context: dict[str, Any], task_id: str) -> None:
    """Wait for a task, and put its files where they belong; doing it twice does no more than doing it once."""
    client: AsyncClient = context["client"]
    folder = PICTURES / task_id
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with anyio.fail_after(TURN):
            result = await client.wait_for_result(task_id, on_cancel="leave")
            await client.download(result, folder)
    except (TimeoutError, TransportError, ServerError, StorageError) as error:
        # These say nothing of the task. What does (it failed, or is not there) ends the job.
        if datetime.now(timezone.utc) - context["enqueue_time"] > DEADLINE:
            raise
        raise Retry(defer=0 if isinstance(error, TimeoutError) else 10) from error


async def open_client(context: dict[str, Any]) -> None:
    """Open one client for all jobs of this worker."""
    context["client"] = AsyncClient()


async def close_client(context: dict[str, Any]) -> None:
    """Close it."""
    await context["client"].aclose()


class WorkerSettings:
    """What `arq` reads."""

    functions = (collect,)
    redis_settings = QUEUE
    on_startup = open_client
    on_shutdown = close_client
    max_jobs = 500  # A wait costs little, and all of them share their polls.
    job_timeout = TURN + 10  # A job that arq times out is gone, so it has to come second.
    max_tries = 1_000_000  # Each turn is one; the deadline ends them.
    keep_result = 0  # A task can be left in the queue again at any time.
