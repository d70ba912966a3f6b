"""A local Cyberun whose tasks do as their parameters say, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

from cyberun_async import AsyncClient, Limits, Polling, Retries
from cyberun_async.local import Job, LocalCyberun, LocalParameter
from cyberun_async.local.scripts import Step, after, complete, fail, status

Connect = Callable[..., AbstractAsyncContextManager[AsyncClient]]

FAST = Polling(interval=0.01, interval_while_streaming=0.01, unavailable_timeout=5)


def life(job: Job) -> Sequence[Step]:
    """End as the task's parameters say, after as many seconds."""
    ends = {"fail": fail("out of memory"), "stay": status("running")}
    return [
        status("running"),
        after(job.number("seconds")),
        ends.get(job.text("end"), complete({"n": job.number("n")})),
    ]


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Run a Cyberun whose clock stands still."""
    with LocalCyberun(clock="held") as server:
        parameters = [LocalParameter("n", "number"), LocalParameter("seconds", "number"), LocalParameter("end")]
        server.workflow("work", parameters=parameters, script=life)(lambda _: b"")
        yield server


@pytest.fixture
def connect(server: LocalCyberun) -> Connect:
    """Give clients that look often, and follow no streams unless they are asked to."""

    @asynccontextmanager
    async def connected(*, streams: int = 0, **settings: object) -> AsyncIterator[AsyncClient]:
        usual = {"limits": Limits(max_streams=streams), "polling": FAST, "retries": Retries(budget=2, initial=0.01)}
        async with AsyncClient(server.api_key, base_url=server.base_url, **(usual | settings)) as client:
            yield client

    return connected


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that happens in the server, which no event of this loop tells.

    A client that looks all the time is never blocked as a whole, which `wait_all_tasks_blocked` waits for.
    """
    with anyio.fail_after(15):
        while not condition():  # noqa: ASYNC110 - see above
            await anyio.sleep(0.01)


def submitted(server: LocalCyberun) -> list[str]:
    """Give the tasks that the server has, in order: its own count of what was billed."""
    ids = [each.task_id for each in server.requests if each.operation == "workflows.run" and each.task_id]
    assert len(ids) == len(set(ids))
    return ids
