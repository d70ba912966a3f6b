"""What the job of the queue example makes of what can happen while it waits."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from arq import Retry
from support.web import load_example

from cyberun_async import AsyncClient, NotFoundError, Retries, TaskFailed
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import fail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

pytestmark = pytest.mark.slow

WORKFLOW, PARAMETERS = "text-to-image", {"prompt": "a harbour", "width": 64, "height": 64}


@pytest.fixture
def worker(tmp_path: Path) -> ModuleType:
    """Load the worker, with turns that are over at once."""
    module = load_example("queue/worker.py")
    module.PICTURES = tmp_path
    module.TURN = 0.05
    return module


@pytest.fixture
def held() -> Iterator[LocalCyberun]:
    """Run a server on which no time passes."""
    with LocalCyberun(clock="held") as server:
        yield server


def context_of(client: AsyncClient, age: timedelta = timedelta(0)) -> dict[str, Any]:
    """Give what arq gives a job that was left in the queue some time ago."""
    return {"client": client, "enqueue_time": datetime.now(timezone.utc) - age}


async def test_a_turn_is_over(worker: ModuleType, held: LocalCyberun) -> None:
    """The job goes back into the queue at once, and the task goes on."""
    async with AsyncClient(held.api_key, base_url=held.base_url) as client:
        task_id = await client.submit(WORKFLOW, PARAMETERS)
        with pytest.raises(Retry) as caught:
            await worker.collect(context_of(client), task_id)
        assert caught.value.defer_score in {None, 0}
        assert not (await client.tasks.get(task_id)).status.is_terminal


async def test_the_deadline_has_passed(worker: ModuleType, held: LocalCyberun) -> None:
    """The job ends with a TimeoutError, and the task goes on."""
    async with AsyncClient(held.api_key, base_url=held.base_url) as client:
        task_id = await client.submit(WORKFLOW, PARAMETERS)
        with pytest.raises(TimeoutError):
            await worker.collect(context_of(client, worker.DEADLINE + timedelta(seconds=1)), task_id)
        assert not (await client.tasks.get(task_id)).status.is_terminal


async def test_storage_fails(worker: ModuleType, tmp_path: Path) -> None:
    """The job comes again a little later, and brings the file then."""
    worker.TURN = 30
    with LocalCyberun() as server:
        never = Retries(budget=0)
        async with AsyncClient(server.api_key, base_url=server.base_url, retries=never) as client:
            server.faults.status(503, on="storage.get")
            task_id = await client.submit(WORKFLOW, PARAMETERS)
            with pytest.raises(Retry) as caught:
                await worker.collect(context_of(client), task_id)
            assert caught.value.defer_score == 10_000
            await worker.collect(context_of(client), task_id)
            # It may come once more, too.
            await worker.collect(context_of(client), task_id)
    assert len([*tmp_path.glob(f"{task_id}/*.png")]) == 1


async def test_what_the_task_says_ends_the_job(worker: ModuleType) -> None:
    """A task that failed or does not exist is not waited for again."""
    worker.TURN = 30
    with LocalCyberun() as server:
        async with AsyncClient(server.api_key, base_url=server.base_url) as client:
            server.script(WORKFLOW, [fail("out of memory")])
            task_id = await client.submit(WORKFLOW, PARAMETERS)
            with pytest.raises(TaskFailed):
                await worker.collect(context_of(client), task_id)
            with pytest.raises(NotFoundError):
                await worker.collect(context_of(client), "00000000-0000-4000-8000-000000000000")
