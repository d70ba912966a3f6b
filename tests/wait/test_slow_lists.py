"""Many waits keep to the bound of one, where each round trip of a slow API is longer than the requests are dear."""

from __future__ import annotations

import anyio
from support.scripted import SSE_HEAD, Exchange, hold
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import Limits

LATENCY = 2.0


@table("streams", [0, 1])
@virtual
async def test_tasks_that_are_in_no_list(streams: int) -> None:
    """They have ended long ago: the lists are read, and then the results, within three round trips."""

    async def ended(exchange: Exchange) -> None:
        await anyio.sleep(LATENCY)
        await exchange.answer(200, {"id": exchange.id, "task_status": "completed", "task_output": {}})

    async def tasks(exchange: Exchange) -> None:
        await anyio.sleep(LATENCY)
        await exchange.answer(200, {"task_list": [], "page_meta": {"total_count": 0}})

    async with served(limits=Limits(max_streams=streams)) as (server, client):
        server.on("task", ended)
        server.on("tasks", tasks)
        server.on("result", ended)
        server.on("events", hold(SSE_HEAD))
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(client.wait_for_result, f"task-{number}")

    assert anyio.current_time() - began <= 3 * LATENCY + 3.6
    # The wait whose stream opens while it reads a list for all leaves that to another.
    assert 5 <= server.kinds().count("tasks") <= 5 + streams
