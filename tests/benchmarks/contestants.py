"""The SDK, the bare parts that it stands on, and the peers: each as somebody would write who reads its manual.

The peers speak to APIs of their own, so each gets an answer of its own API, of about the same size.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from benchmarks.harness import OURS
from benchmarks.server import TASK_ID

from cyberun_async import AsyncClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Get = Callable[[], Awaitable[object]]

KEY = "sk-0123456789abcdef"
HTTPX = "bare httpx"
UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)


def sdk(server: str, **options: object) -> AsyncClient:
    """Give a client of ours."""
    return AsyncClient(KEY, base_url=f"{server}/api/v1", **options)


def bare(server: str, **options: object) -> httpx.AsyncClient:
    """Give a client of httpx, used directly."""
    return httpx.AsyncClient(base_url=server, headers={"Authorization": f"Bearer {KEY}"}, **options)


@asynccontextmanager
async def getters(server: str, **httpx_options: object) -> AsyncIterator[dict[str, Get]]:
    """Give each contestant's way to ask how a task stands, on a client that stays open."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(sdk(server))
        theirs = await stack.enter_async_context(bare(server, **httpx_options))

        async def get_by_httpx() -> object:
            return (await theirs.get(f"/api/v1/r/tasks/{TASK_ID}")).json()

        yield {
            OURS: lambda: ours.tasks.get(TASK_ID),
            HTTPX: get_by_httpx,
            **await peers(server, stack),
        }


async def peers(server: str, stack: AsyncExitStack) -> dict[str, Get]:
    """Give the peers' ways to ask, pointed at the local server as far as they let one."""
    import comfy_sdk
    import fal_client
    import replicate
    import runwayml

    os.environ["COMFY_BASE_URL"] = server
    comfy = await stack.enter_async_context(comfy_sdk.AsyncComfy(api_key=KEY))
    # It would insist on https.
    fal_client.client.QUEUE_URL_FORMAT = f"{server}/"
    fal = fal_client.AsyncClient(key=KEY)
    predictions = replicate.Client(api_token=KEY, base_url=server).predictions
    runway = await stack.enter_async_context(runwayml.AsyncRunwayML(api_key=KEY, base_url=server))
    return {
        "comfy-sdk": lambda: comfy.jobs.get(TASK_ID),
        "fal-client": lambda: fal.status("owner/app", TASK_ID),
        "replicate": lambda: predictions.async_get(TASK_ID),
        "runwayml": lambda: runway.tasks.retrieve(TASK_ID),
    }


async def repeat(get: Get, count: int, *, at_once: int = 1) -> None:
    """Ask `count` times, so many at a time."""
    turns = iter(range(count))

    async def ask() -> None:
        for _ in turns:
            await get()

    await asyncio.gather(*(ask() for _ in range(at_once)))
