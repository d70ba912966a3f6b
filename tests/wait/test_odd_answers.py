"""Whole waits, batches and relays against a server that answers otherwise than its pages say: each ends right."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from support.relaying import names, rest
from support.sampling import seeds

from cyberun_async import AsyncClient, Limits, Polling, Retries, TaskCancelled, TaskFailed, TaskStatus
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, cancel, fail, progress, status
from cyberun_async.relay import Relay

QUICK = Polling(interval=0.05, interval_while_streaming=0.1)
SMALL = {"prompt": "a lighthouse", "width": 64, "height": 64}
LIFE = [status("running"), after(1), progress(1, 2), after(1)]
WITHOUT_STREAMS = Limits(max_streams=0)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalCyberun]:
    """Run one server for all seeds."""
    with LocalCyberun() as running:
        yield running


def client_of(server: LocalCyberun, limits: Limits = Limits()) -> AsyncClient:
    return AsyncClient(
        server.api_key, base_url=server.base_url, polling=QUICK, retries=Retries(initial=0.01), limits=limits
    )


async def completes(client: AsyncClient) -> None:
    result = await client.run("text-to-image", SMALL, timeout=60)

    assert result.status == TaskStatus.COMPLETED
    assert len(result.files) == 1


async def completes_with_several_files(client: AsyncClient) -> None:
    result = await client.run("image-set", {**SMALL, "count": 3}, timeout=60)

    assert result.status == TaskStatus.COMPLETED
    assert len(result.files) == 3


async def fails(client: AsyncClient, server: LocalCyberun) -> None:
    server.script("nerfstudio-train", [*LIFE, fail("out of memory")])
    with pytest.raises(TaskFailed) as caught:
        await client.run("nerfstudio-train", {}, timeout=60)

    assert caught.value.error == "out of memory"


async def is_cancelled(client: AsyncClient, server: LocalCyberun) -> None:
    server.script("img2img", [*LIFE, cancel()])
    with pytest.raises(TaskCancelled):
        await client.run("img2img", {"image": "inputs/x"}, validate=False, timeout=60)


async def is_relayed(client: AsyncClient) -> None:
    async with Relay(client) as relay:
        task_id = await client.submit("text-to-image", SMALL)
        with anyio.fail_after(60):
            told = names(await rest(relay.stream(task_id)))

    assert told[-1] == "completed"
    assert set(told) <= {"status", "progress", "completed"}


async def all_of_a_batch_complete(client: AsyncClient) -> None:
    async with client.map("text-to-image", [SMALL] * 5) as batch:
        outcomes = [outcome async for outcome in batch]

    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert {outcome.result.status for outcome in outcomes if outcome.result} == {TaskStatus.COMPLETED}


@pytest.mark.soak
@pytest.mark.parametrize("limits", [Limits(), WITHOUT_STREAMS], ids=["with streams", "without streams"])
@pytest.mark.parametrize("seed", seeds(sample=2, soak=500))
async def test_everything_ends_right(server: LocalCyberun, seed: int, limits: Limits) -> None:
    """Each wait, batch and relay ends with the right status, whatever the answers are like."""
    server.faults.clear()
    server.faults.odd_answers(seed=seed)
    async with client_of(server, limits) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(completes, client)
            group.start_soon(completes_with_several_files, client)
            group.start_soon(fails, client, server)
            group.start_soon(is_cancelled, client, server)
            group.start_soon(is_relayed, client)
            group.start_soon(all_of_a_batch_complete, client)
