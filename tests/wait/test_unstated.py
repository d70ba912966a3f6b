"""Results and polls that do not say how a task stands: each is asked about the other before the wait ends."""

from __future__ import annotations

import pytest
from support.scripted import TASK, answer, connected
from support.tables import table
from support.virtual import simulated, virtual

from cyberun_async import TaskCancelled, TaskFailed

ENDED = {"id": TASK, "completed_at": "2025-02-10T14:01:30Z"}
COMPLETED = answer(200, {**ENDED, "download_urls": {"9": "https://s3.example.com/a.png"}})
UNSTATED = answer(200, {"id": TASK})


@virtual
async def test_a_result_without_a_status_of_a_task_that_was_cancelled() -> None:
    """The task itself knows, so that nobody takes it for one that failed."""
    async with simulated() as server, connected(server) as client:
        server.on("events", answer(404))
        server.on("task", UNSTATED, answer(502), answer(200, {"id": TASK, "task_status": "cancelled"}))
        server.on("result", answer(200, ENDED))

        with pytest.raises(TaskCancelled):
            await client.wait_for_result(TASK)


@virtual
async def test_a_result_without_a_status_of_a_task_that_was_restarted() -> None:
    """An old time of the end ends nothing while the task runs."""
    async with simulated() as server, connected(server) as client:
        server.on("events", answer(404))
        server.on("task", UNSTATED, answer(200, {"id": TASK, "task_status": "running"}), UNSTATED)
        server.on("result", answer(200, ENDED), COMPLETED)

        result = await client.wait_for_result(TASK)

    assert (result.status, len(result.files)) == ("completed", 1)


@virtual
async def test_a_task_of_which_nobody_knows_more() -> None:
    """Where neither says how the task ended, it failed for a reason that nobody knows."""
    async with simulated() as server, connected(server) as client:
        server.on("events", answer(404))
        server.on("task", UNSTATED)
        server.on("result", answer(200, ENDED))

        with pytest.raises(TaskFailed, match="the server gives no reason"):
            await client.wait_for_result(TASK)


@table("status", ["DONE", "timed out"])
@virtual
async def test_a_poll_that_has_only_a_word_for_the_end(status: str) -> None:
    """The result is read, since such a word may be terminal, and the wait would never end."""
    async with simulated() as server, connected(server) as client:
        server.on("events", answer(404))
        server.on("task", answer(200, {"id": TASK, "task_status": status}))
        server.on("result", answer(200, {"id": TASK, "task_status": status}), COMPLETED)

        result = await client.wait_for_result(TASK)

    assert (result.status, len(result.files)) == ("completed", 1)
