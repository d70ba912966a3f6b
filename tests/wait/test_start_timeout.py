"""A task that does not start in time is left or cancelled; one that has started is waited for."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone
from typing import Any

import anyio
import attrs
import pytest
from support.scripted import COMPLETED, END, SSE_HEAD, TASK, Exchange, Remote, answer, connected, event, hold, send
from support.tables import table
from support.virtual import simulated, virtual

from cyberun_async import (
    AuthenticationError,
    CancelledEvent,
    ConfigurationError,
    ErrorEvent,
    NotFoundError,
    Polling,
    ProgressEvent,
    StartTimeout,
    StatusEvent,
    Task,
    TaskEvent,
    TaskStatus,
    UnknownEvent,
    WaitTimeout,
)
from cyberun_async._wait.start_deadline import BoundedStart, is_started, says_started

MUTE = hold(SSE_HEAD)
SLOW = Polling(interval=30, interval_while_streaming=60)
EACH_SECOND = Polling(interval=1, interval_while_streaming=1)


@virtual
@table(("policy", "remote"), [("leave", "left"), ("cancel", "cancelled")])
async def test_a_task_that_does_not_start(policy: Any, remote: str) -> None:
    """The error says how long was waited, in which status the task is, and what became of it."""
    async with simulated() as server, connected(server, polling=EACH_SECOND) as client:
        Remote("waiting").on(server)
        server.on("events", MUTE)

        started = anyio.current_time()
        with pytest.raises(StartTimeout) as caught:
            await client.wait_for_result(TASK, start_timeout=7, timeout=60, on_timeout=policy)
        assert anyio.current_time() - started == pytest.approx(7, abs=0.5)

    error = caught.value
    assert isinstance(error, WaitTimeout)
    assert (error.task_id, error.timeout, error.status, error.remote) == (TASK, 7, TaskStatus.WAITING, remote)
    assert str(error).startswith(f"task {TASK} did not start within 7 s (last status: waiting); it was ")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert server.kinds().count("cancel") == (policy == "cancel")


@virtual
async def test_of_a_submission() -> None:
    """With `run()` it counts from the submission, not from the upload and the checks before it."""
    async with simulated() as server, connected(server, polling=EACH_SECOND) as client:
        Remote("queued").on(server)
        server.on("events", MUTE)

        async def slowly(exchange: Exchange) -> None:
            await anyio.sleep(5)
            await exchange.answer(200, {"id": "1", "workflow_slug": "demo", "parameters": []})

        server.on("definition", slowly)
        server.on("run", answer(202, {"task_id": TASK}))
        started = anyio.current_time()
        with pytest.raises(StartTimeout):
            await client.run("demo", start_timeout=2)
        assert anyio.current_time() - started == pytest.approx(7, abs=0.5)


@virtual
async def test_an_item_of_a_batch() -> None:
    """It is the error of its item."""
    async with simulated() as server, connected(server, polling=EACH_SECOND) as client:
        Remote("pending").on(server)
        server.on("events", MUTE)
        server.on("run", answer(202, {"task_id": TASK}))
        (outcome,) = await client.map("demo", [{}], validate=False, start_timeout=1, on_timeout="cancel").gather()
    assert isinstance(outcome.error, StartTimeout)
    assert outcome.error.remote == "cancelled"


@virtual
@table("says", ["status", "progress"])
async def test_an_event_lifts_it(says: str) -> None:
    """Once an event says that the task runs, it may take as long as it likes."""
    async with simulated() as server, connected(server, polling=SLOW) as client:
        remote = Remote("running")
        remote.on(server)
        # The polls say nothing new: only the event has it.
        server.on("task", answer(200, {"id": TASK, "task_status": "waiting"}), remote.look)
        first = event("status", status="running") if says == "status" else event("progress", progress=0.1)
        server.on("events", hold(SSE_HEAD, first))
        async with anyio.create_task_group() as group:

            async def complete() -> None:
                await anyio.sleep(100)
                remote.status = "completed"

            group.start_soon(complete)
            result = await client.wait_for_result(TASK, start_timeout=1)
    assert result.status == TaskStatus.COMPLETED


@virtual
async def test_a_start_that_no_poll_has_seen() -> None:
    """When the deadline passes the task is polled once more: one that runs by then is neither left nor cancelled."""
    async with simulated() as server, connected(server, polling=SLOW) as client:
        remote = Remote("waiting")
        remote.on(server)
        server.on("events", MUTE)
        async with anyio.create_task_group() as group:

            async def go_on() -> None:
                await anyio.sleep(5)
                remote.status = "running"
                await anyio.sleep(100)
                remote.status = "completed"

            group.start_soon(go_on)
            result = await client.wait_for_result(TASK, start_timeout=6, on_timeout="cancel")
    assert result.status == TaskStatus.COMPLETED
    assert "cancel" not in server.kinds()


@virtual
@table(
    ("last", "expected"),
    [
        pytest.param(answer(503), StartTimeout, id="failing"),
        pytest.param(hold(), StartTimeout, id="hanging"),
        pytest.param(answer(401), AuthenticationError, id="refused"),
    ],
)
async def test_the_last_poll_is_not_answered(last: Any, expected: type[Exception]) -> None:
    """Then the last status seen counts; a refusal is raised as it is."""
    async with simulated() as server, connected(server, polling=SLOW) as client:
        server.on("task", answer(200, {"id": TASK, "task_status": "waiting"}), last)
        server.on("events", MUTE)
        with pytest.raises(expected):
            await client.wait_for_result(TASK, start_timeout=6)


@virtual
async def test_beside_a_signal_and_a_deadline() -> None:
    """The deadline of the whole comes first where it is shorter, and a signal changes nothing."""
    async with simulated() as server, connected(server, polling=EACH_SECOND) as client:
        Remote("waiting").on(server)
        server.on("events", MUTE)
        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result(TASK, timeout=2, start_timeout=5, signal=anyio.sleep_forever)
        assert type(caught.value) is WaitTimeout
        with pytest.raises(StartTimeout):
            await client.wait_for_result(TASK, timeout=5, start_timeout=2, signal=anyio.sleep_forever)


@virtual
async def test_a_callback_is_not_cut_off() -> None:
    """What a caller does with an event is no part of the time that the task has."""
    done = []

    async def slowly(event: TaskEvent) -> None:
        await anyio.sleep(3)
        done.append(event)

    async with simulated() as server, connected(server) as client:
        remote = Remote("waiting")
        remote.on(server)
        server.on("events", MUTE)
        with pytest.raises(StartTimeout):
            await client.wait_for_result(TASK, start_timeout=1, on_event=slowly)
    assert len(done) == 1


@virtual
async def test_an_end_before_the_start() -> None:
    """A task that is over has started, however short it was."""
    async with simulated() as server, connected(server) as client:
        Remote("completed").on(server)
        server.on("events", send(SSE_HEAD, COMPLETED, END))
        assert (await client.wait_for_result(TASK, start_timeout=1)).status == TaskStatus.COMPLETED


@table("wrong", [0, -1, "5", True, float("nan")], ids=repr)
async def test_no_time(wrong: Any) -> None:
    """It is a number of seconds above zero."""
    async with simulated() as server, connected(server) as client:
        with pytest.raises(ConfigurationError, match="start_timeout must be a number of seconds above zero, or None"):
            await client.wait_for_result(TASK, start_timeout=wrong)


@table(
    ("status", "has_started"),
    [
        ("pending", False),
        ("waiting", False),
        ("provisioning", False),
        ("queued", False),
        ("TASK_QUEUED", False),
        ("running", True),
        ("completed", True),
        ("failed", True),
        ("canceled", True),
        ("Waiting To Dispatch", False),
        ("in-queue", False),
        ("paused", True),
        ("unknown", True),
    ],
)
def test_statuses(status: str, has_started: bool) -> None:
    """An unknown status counts as started, unless it is a word for waiting."""
    assert TaskStatus(status).has_started == has_started


@table(
    ("event", "expected"),
    [
        (StatusEvent(task_id="t", status=TaskStatus("queued")), False),
        (StatusEvent(task_id="t", status=TaskStatus("running")), True),
        (ProgressEvent(task_id="t"), True),
        (CancelledEvent(task_id="t"), True),
        (ErrorEvent(task_id="t", message="x"), False),
        (UnknownEvent(task_id="t", name="x", data=""), False),
    ],
)
def test_events(event: TaskEvent, expected: bool) -> None:
    """Progress and an end say that a task has started, as a status may."""
    assert says_started(event) == expected


def test_a_task_that_was_queued_again() -> None:
    """One that has started once is not given up for being queued again."""
    task = Task(id="t", workflow_id="w", status=TaskStatus("queued"))
    assert not is_started(task)
    assert is_started(attrs.evolve(task, started_at=datetime(2026, 1, 1, tzinfo=timezone.utc)))
    assert is_started(attrs.evolve(task, status=TaskStatus("running")))


@virtual
async def test_repr() -> None:
    """It shows what it follows, and whether the task has started."""
    async with simulated() as server, connected(server) as client:
        Remote("completed").on(server)
        server.on("events", MUTE)
        core = client._core
        follower = BoundedStart(core.follow(TASK), core.transport, TASK, 5, 1)
        assert repr(follower).startswith(f"<BoundedStart of <TaskFollower of task {TASK}")
        await follower.next()
        assert repr(follower).endswith(", started>")
        await follower.aclose()


@virtual
@table(
    ("seconds", "expected"),
    [pytest.param(2, StartTimeout, id="a moment ago"), pytest.param(20, NotFoundError, id="long ago")],
)
async def test_not_known_yet(seconds: float, expected: type[Exception]) -> None:
    """A task that was submitted a moment ago, and is not known everywhere yet, is cancelled as any other."""
    async with simulated() as server, connected(server, polling=SLOW) as client:
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("events", MUTE)
        server.on("task", answer(404))
        server.on("cancel", answer(200, {}))
        with pytest.raises(expected):
            await client.run("demo", validate=False, start_timeout=seconds, on_timeout="cancel")
        assert server.kinds().count("cancel") == (expected is StartTimeout)
