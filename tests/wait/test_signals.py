"""Waiting without holding a connection: webhooks and signals of one's own wake a wait at once."""

from __future__ import annotations

import anyio
import pytest

from cyberun_async import AsyncClient, Limits, NotFoundError, Polling, TaskFailed
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, complete, fail, status
from cyberun_async.webhooks import WebhookEvent, make_delivery, verify

RARELY = Polling(interval=3600, interval_while_streaming=3600)


async def looked_at(server: LocalCyberun, times: int) -> None:
    """Wait until the task has been polled so often."""
    with anyio.fail_after(10):
        # The record of another thread's server has nothing to wait on.
        while sum(each.operation == "tasks.get" and each.status == 200 for each in server.requests) < times:  # noqa: ASYNC110
            await anyio.sleep(0.005)


def delivery(task_id: str) -> WebhookEvent:
    """Receive a webhook, as a web application does."""
    event = WebhookEvent(event_type="task.completed", task_id=task_id, status="completed")  # type: ignore[arg-type]
    body, headers = make_delivery(event, "whsec_x")
    return verify(body, headers, "whsec_x")


async def test_a_delivery_wakes_its_wait() -> None:
    """A wait that would poll again in an hour has its result as soon as the delivery is handed in."""
    async with LocalCyberun(clock="held") as server:
        server.faults.status(503, on="tasks.events", times=None)
        server.script("text-to-image", [status("running"), after(5), complete({"n": 1})])
        server.script("text-to-image", [status("running")])
        async with AsyncClient(server.api_key, base_url=server.base_url, polling=RARELY) as client:
            task_id = await client.submit("text-to-image", {"prompt": "x"})
            other = await client.submit("text-to-image", {"prompt": "y"})
            results = []

            async def wait() -> None:
                results.append(await client.wait_for_result(task_id))
                group.cancel_scope.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                group.start_soon(client.wait_for_result, other)
                await looked_at(server, 2)
                await server.clock.advance(5)
                client.wake(delivery(task_id))
            assert results[0].output == {"n": 1}


async def test_a_delivery_ahead_of_its_wait_is_remembered() -> None:
    """A delivery that comes before the wait begins makes its first poll immediate, and is forgotten with it."""
    async with LocalCyberun(clock="held") as server:
        server.script("text-to-image", [complete({"n": 1})])
        client = AsyncClient(server.api_key, base_url=server.base_url, polling=RARELY, limits=Limits(max_streams=1))
        async with client:
            task_id = await client.submit("text-to-image", {"prompt": "x"})
            await server.clock.advance(0)
            client.wake(delivery(task_id))
            assert (await client.wait_for_result(task_id)).output == {"n": 1}


async def test_a_signal_of_ones_own_wakes_the_wait() -> None:
    """An event that the user's own messaging sets makes the wait poll."""
    async with LocalCyberun(clock="held") as server:
        server.faults.status(503, on="tasks.events", times=None)
        server.script("text-to-image", [status("running"), after(5), fail("oom")])
        async with AsyncClient(server.api_key, base_url=server.base_url, polling=RARELY) as client:
            task_id = await client.submit("text-to-image", {"prompt": "x"})
            told = anyio.Event()
            failures = []

            async def wait() -> None:
                try:
                    await client.wait_for_result(task_id, signal=told.wait)
                except TaskFailed as failure:
                    failures.append(failure)

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await looked_at(server, 1)
                await server.clock.advance(5)
                told.set()
            assert failures[0].error == "oom"


async def test_a_signal_that_fails_leaves_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """A broken signal is logged, and the wait ends by its own means; a signal that never comes is stopped."""

    async def broken() -> None:
        raise OSError("no broker")

    async with LocalCyberun(pace=0.001) as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        for signal in (broken, anyio.sleep_forever):
            task_id = await client.submit("text-to-image", {"prompt": "x", "width": 64, "height": 64})
            assert (await client.wait_for_result(task_id, signal=signal)).files
    assert "goes on without it" in caplog.text


async def test_a_refusal_beside_a_signal_comes_flat() -> None:
    """A wait that is refused raises the refusal itself though it listens for a signal, which it stops doing."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        with pytest.raises(NotFoundError):
            await client.wait_for_result("00000000-0000-0000-0000-000000000000", signal=anyio.sleep_forever)
