"""How a wait ends other than with a result: flat errors that say what to do, and no trace left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from support.scripted import (
    COMPLETED,
    END,
    SSE_HEAD,
    TASK,
    Exchange,
    Handler,
    Remote,
    answer,
    connected,
    event,
    hold,
    scripted,
    send,
    status_event,
)
from support.tables import table
from support.virtual import simulated, virtual

from cyberun_async import (
    APIError,
    AsyncClient,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DecodeError,
    InvalidParameters,
    NotFoundError,
    PermissionDeniedError,
    Polling,
    RateLimitError,
    ServerError,
    SignInRequired,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskStatus,
    Timeouts,
    TransportError,
    WaitTimeout,
)

MUTE = hold(SSE_HEAD)


@virtual
@table("stream", [True, False], ids=["told by the stream", "told by a poll"])
@table(
    ("status", "kind", "reason"),
    [
        pytest.param("failed", TaskFailed, "out of memory", id="failed"),
        pytest.param("cancelled", TaskCancelled, None, id="cancelled by somebody else"),
    ],
)
async def test_a_task_that_ends_without_a_result(
    status: str, kind: type[TaskFailed | TaskCancelled], reason: str | None, stream: bool
) -> None:
    """The error has the id, the status, the server's reason and the whole result."""
    remote = Remote(status)
    told = event(status, status=status, error="out of memory") if status == "failed" else event(status, status=status)
    async with simulated() as server, connected(server) as client:
        remote.on(server)
        server.on("task", remote.look if not stream else Remote("running").look)
        server.on("events", send(SSE_HEAD, told, END) if stream else MUTE)

        with pytest.raises(kind) as caught:
            await client.wait_for_result(TASK)

    assert (caught.value.task_id, caught.value.status, caught.value.error) == (TASK, status, reason)
    assert caught.value.result.status == status


@virtual
@table(
    ("status", "kind"),
    [
        pytest.param(400, BadRequestError, id="400"),
        pytest.param(401, AuthenticationError, id="401"),
        pytest.param(403, PermissionDeniedError, id="403"),
        pytest.param(404, NotFoundError, id="404"),
    ],
)
async def test_a_refusal_ends_the_wait_at_once(status: int, kind: type[APIError]) -> None:
    """A task that does not exist, or a key that may not see it: the first poll says so, whatever the stream does."""
    for stream in (answer(status), MUTE):
        async with simulated() as server, connected(server, polling=Polling()) as client:
            server.on("events", stream)
            server.on("task", answer(status, {"error_message": "not for you"}))

            with pytest.raises(kind, match="not for you") as caught:
                await client.wait_for_result(TASK)

        assert (caught.value.task_id, caught.value.status) == (TASK, status)
        assert server.kinds() == ["events", "task"]


@virtual
async def test_a_key_revoked_half_way() -> None:
    """A poll that is refused ends a wait that went well so far, though its stream is open."""
    seen: list[TaskEvent] = []
    async with simulated() as server, connected(server) as client:
        server.on("events", hold(SSE_HEAD, status_event("running")))
        server.on("task", Remote().look, Remote().look, answer(401))

        with pytest.raises(AuthenticationError):
            await client.wait_for_result(TASK, on_event=seen.append)

    assert [each.name for each in seen] == ["status"]


@virtual
async def test_a_result_that_is_refused() -> None:
    """A refusal of the result ends the wait, too."""
    async with simulated() as server, connected(server) as client:
        server.on("events", send(SSE_HEAD, COMPLETED, END))
        server.on("task", Remote().look)
        server.on("result", answer(403))

        with pytest.raises(PermissionDeniedError):
            await client.wait_for_result(TASK)


@virtual
@table(
    ("look", "kind"),
    [
        pytest.param(answer(502), ServerError, id="bad gateway"),
        pytest.param(send(), TransportError, id="no answer"),
        pytest.param(answer(200, b"<html>"), DecodeError, id="a web page"),
    ],
)
async def test_a_server_that_never_answers_well(look: Handler, kind: type[Exception]) -> None:
    """After `Polling.unavailable_timeout` without one good answer, the last failure is raised."""
    polling = Polling(interval=0.01, unavailable_timeout=0.4)
    async with simulated() as server, connected(server, polling=polling) as client:
        server.on("events", answer(502))
        server.on("task", look)

        with pytest.raises(kind) as caught:
            await client.wait_for_result(TASK)

    assert getattr(caught.value, "task_id", None) == TASK
    assert server.kinds().count("task") > 1


@virtual
async def test_a_server_that_asks_for_an_hour() -> None:
    """A `Retry-After` of more than a minute on a poll is an error, not a sleep."""
    async with simulated() as server, connected(server) as client:
        server.on("events", MUTE)
        server.on("task", answer(429, None, "Retry-After: 3600"))

        with pytest.raises(RateLimitError) as caught:
            await client.wait_for_result(TASK)

    assert caught.value.retry_after == 3600


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.gone()


CANCELS = [
    pytest.param(None, "cancelled", id="confirmed"),
    pytest.param(answer(500), "cancel_failed", id="refused"),
    pytest.param(send(), "cancel_failed", id="no answer"),
    pytest.param(hang, "cancel_failed", id="hanging"),
]


@virtual
async def test_the_deadline_passes_and_the_task_is_left() -> None:
    """The error has the id, the deadline and the last status; nothing is cancelled."""
    async with simulated() as server, connected(server) as client:
        Remote("queued").on(server)
        server.on("events", MUTE)

        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result(TASK, timeout=0.4)

    error = caught.value
    assert (error.task_id, error.status, error.remote, error.timeout) == (TASK, TaskStatus.QUEUED, "left", 0.4)
    assert isinstance(error, TimeoutError)
    assert "cancel" not in server.kinds()


@virtual
@table(("cancel", "remote"), CANCELS)
async def test_the_deadline_passes_and_the_task_is_cancelled(cancel: Handler | None, remote: str) -> None:
    """What became of the task is on the error, also where cancelling it fails or hangs."""
    async with simulated() as server, connected(server, timeouts=Timeouts(cleanup=0.1)) as client:
        Remote().on(server)
        server.on("events", MUTE)
        if cancel is not None:
            server.on("cancel", cancel)

        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result(TASK, timeout=0.4, on_timeout="cancel", on_cancel="leave")

    assert (caught.value.task_id, caught.value.remote) == (TASK, remote)
    assert server.kinds().count("cancel") == 1


@virtual
async def test_the_deadline_passes_while_the_result_lags() -> None:
    """The last status is that of the terminal event."""
    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", send(SSE_HEAD, COMPLETED, END))

        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result(TASK, timeout=0.4)

    assert caught.value.status == TaskStatus.COMPLETED


@virtual
@table("where", ["definition", "run", "events", "task", "result"])
@table("policy", ["leave", "cancel"])
async def test_the_deadline_passes_while_an_answer_is_due(where: str, policy: Any) -> None:
    """Whatever the wait hangs on, the deadline ends it, and a submission that no answer confirms is not forgotten."""
    known = where not in {"definition", "run"}
    # A submission that hangs is seen through for as long, so that is short; a cancellation needs its time.
    timeouts = Timeouts() if known else Timeouts(cleanup=0.05)
    async with simulated() as server, connected(server, timeouts=timeouts) as client:
        Remote("completed").on(server)
        server.on("definition", answer(200, {"id": "1", "workflow_slug": "demo", "parameters": []}))
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("events", MUTE)
        server.on(where, hang)
        if where == "events":
            server.on("task", hang)

        with pytest.raises(WaitTimeout) as caught:
            await client.run("demo", timeout=0.4, on_timeout=policy)

    assert caught.value.task_id == (TASK if known else None)
    # Where the submission has not left there is nothing to cancel.
    cancelled = "cancel_failed" if where == "run" else "cancelled"
    assert caught.value.remote == {"leave": "left", "cancel": cancelled}[policy]
    assert caught.value.may_have_been_sent == (where != "definition")
    assert server.kinds().count("cancel") == (known and policy == "cancel")


class SlowRun:
    """A submission whose answer comes when the caller has left."""

    def __init__(self) -> None:
        self.arrived = anyio.Event()
        self.go_on = anyio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        self.arrived.set()
        await self.go_on.wait()
        await exchange.answer(202, {"task_id": TASK})


@virtual
@table("policy", ["leave", "cancel"])
async def test_leaving_in_the_middle_of_a_submission(policy: Any) -> None:
    """With "cancel" a submission in the air is seen through, so that its task can be cancelled."""
    run = SlowRun()
    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("run", run)
        async with anyio.create_task_group() as group:

            async def leave() -> None:
                await run.arrived.wait()
                scope.cancel()
                await anyio.wait_all_tasks_blocked()
                run.go_on.set()

            group.start_soon(leave)
            with anyio.CancelScope() as scope:
                await client.run("demo", validate=False, on_cancel=policy)

    assert scope.cancelled_caught
    assert server.kinds() == ["run", *(["cancel"] if policy == "cancel" else [])]


@virtual
async def test_the_deadline_passes_in_the_middle_of_a_submission() -> None:
    """The same for the deadline: the error has the id that came meanwhile."""
    run = SlowRun()
    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("run", run)
        async with anyio.create_task_group() as group:

            async def confirm() -> None:
                await run.arrived.wait()
                await anyio.sleep(0.1)
                run.go_on.set()

            group.start_soon(confirm)
            with pytest.raises(WaitTimeout) as caught:
                await client.run("demo", validate=False, timeout=0.05, on_timeout="cancel")

    assert (caught.value.task_id, caught.value.remote) == (TASK, "cancelled")


@virtual
async def test_nothing_is_submitted_for_a_caller_who_has_left() -> None:
    """Leaving while the parameters are checked does not submit a task only to cancel it."""
    asked, go_on = anyio.Event(), anyio.Event()

    async def definition(exchange: Exchange) -> None:
        asked.set()
        await go_on.wait()
        await exchange.answer(200, {"id": "1", "workflow_slug": "demo", "parameters": []})

    async with simulated() as server, connected(server) as client:
        server.on("definition", definition)
        async with anyio.create_task_group() as group:

            async def leave() -> None:
                await asked.wait()
                scope.cancel()
                go_on.set()

            group.start_soon(leave)
            with anyio.CancelScope() as scope:
                await client.run("demo", on_cancel="cancel", on_timeout="cancel")

    assert server.kinds() == ["definition"]


@virtual
async def test_run_is_submit_and_wait() -> None:
    """All goes well: submitted once, followed, and its result given."""
    async with simulated() as server, connected(server) as client:
        Remote("completed").on(server)
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("events", send(SSE_HEAD, COMPLETED, END))

        result = await client.run("demo", validate=False, on_cancel="cancel")

    assert result.id == TASK
    assert server.kinds().count("run") == 1
    assert "cancel" not in server.kinds()


@virtual
async def test_a_submission_that_is_refused_is_seen_through_to_its_error() -> None:
    """Under either policy its own error comes, flat."""
    for policy in ("leave", "cancel"):
        async with simulated() as server, connected(server) as client:
            server.on("run", answer(403))

            with pytest.raises(PermissionDeniedError):
                await client.run("demo", validate=False, on_cancel=policy)  # type: ignore[arg-type]


# The callback


class Refusal(Exception):
    """What a user's callback raises."""


def refuse(_: TaskEvent) -> None:
    raise Refusal


async def refuse_later(_: TaskEvent) -> None:
    await checkpoint()
    raise Refusal


@virtual
@table("callback", [refuse, refuse_later])
async def test_what_the_callback_raises_ends_the_wait(callback: Callable[[TaskEvent], Any]) -> None:
    """It comes out as it is, and the task is left alone: only a cancellation is one."""
    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", MUTE)

        with pytest.raises(Refusal):
            await client.wait_for_result(TASK, on_event=callback, on_cancel="cancel", on_timeout="cancel")

    assert "cancel" not in server.kinds()


@virtual
async def test_an_async_callback_is_awaited_event_by_event() -> None:
    """The next event comes only once the callback is done with the last."""
    log: list[str] = []

    async def note(event: TaskEvent) -> None:
        log.append(f"{event.name} begins")
        await anyio.sleep(0.001)
        log.append(f"{event.name} ends")

    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("result", Remote("completed").result)
        server.on("events", send(SSE_HEAD, status_event("running"), event("progress", progress=0.5), COMPLETED, END))
        await client.wait_for_result(TASK, on_event=note)

    assert log == [f"{name} {part}" for name in ("status", "progress", "completed") for part in ("begins", "ends")]


@virtual
async def test_a_slow_callback_takes_no_patience() -> None:
    """The time that a callback takes does not count as time without an answer: one bad poll is still nothing."""
    remote = Remote()

    async def slow(_: TaskEvent) -> None:
        await anyio.sleep(0.5)

    polling = Polling(interval=0.01, unavailable_timeout=0.4)
    async with simulated() as server, connected(server, polling=polling) as client:
        remote.on(server)
        server.on("task", remote.look, answer(502), remote.first("completed", remote.look))
        server.on("events", answer(502))

        result = await client.wait_for_result(TASK, on_event=slow)

    assert result.status == TaskStatus.COMPLETED


@virtual
@table("policy", ["leave", "cancel"])
async def test_a_callback_that_is_cancelled(policy: Any) -> None:
    """A deadline or a cancellation reaches into the callback."""

    async def for_ever(_: TaskEvent) -> None:
        await anyio.sleep_forever()

    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", MUTE)

        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result(TASK, on_event=for_ever, timeout=0.05, on_timeout=policy)

    assert caught.value.remote == {"leave": "left", "cancel": "cancelled"}[policy]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_callback_that_raises_a_cancellation_of_its_own(anyio_backend: str) -> None:
    """It counts as one: it comes out as it is, and `on_cancel` applies."""

    def give_up(_: TaskEvent) -> None:
        raise asyncio.CancelledError

    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", MUTE)

        with pytest.raises(asyncio.CancelledError):
            await client.wait_for_result(TASK, on_event=give_up, on_cancel="cancel")

    assert server.kinds().count("cancel") == 1


# What is refused before anything is sent


@virtual
@table(
    ("options", "kind"),
    [
        pytest.param({"timeout": 0}, ConfigurationError, id="timeout of zero"),
        pytest.param({"timeout": -1.0}, ConfigurationError, id="timeout below zero"),
        pytest.param({"timeout": float("nan")}, ConfigurationError, id="timeout not a number"),
        pytest.param({"timeout": True}, ConfigurationError, id="timeout of True"),
        pytest.param({"timeout": "5"}, ConfigurationError, id="timeout in words"),
        pytest.param({"on_timeout": "stop"}, ConfigurationError, id="unknown policy on timeout"),
        pytest.param({"on_cancel": None}, ConfigurationError, id="no policy on cancel"),
        pytest.param({"on_cancel": ["cancel"]}, ConfigurationError, id="policy in a list"),
        pytest.param({"on_event": "print"}, ConfigurationError, id="callback that cannot be called"),
    ],
)
async def test_options_that_cannot_work_are_refused(options: dict[str, Any], kind: type[Exception]) -> None:
    """For `wait_for_result` and `run` alike, and before anything is sent."""
    async with simulated() as server, connected(server) as client:
        starts: list[Callable[[], Awaitable[object]]] = [
            lambda: client.wait_for_result(TASK, **options),
            lambda: client.run("demo", **options),
        ]
        for start in starts:
            with pytest.raises(kind):
                await start()

    assert server.requests == []


@virtual
@table("task_id", ["", "../x", "a/b", 7], ids=repr)
async def test_an_id_that_cannot_be_one_is_refused(task_id: Any) -> None:
    """An id that would change the route, or is none, is refused before anything is sent."""
    async with simulated() as server, connected(server) as client:
        server.on("task", answer(404))
        server.on("events", answer(404))
        with pytest.raises((InvalidParameters, NotFoundError)):
            await client.wait_for_result(task_id)

    assert all(request.kind in {"task", "events"} for request in server.requests)


# A token provider


class Provider:
    """Gives a token until it is spent."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.is_spent = False
        self._refusal = Refusal("none") if refusal is None else refusal

    async def __call__(self) -> str:
        if self.is_spent:
            raise self._refusal
        return "eyJ.a.b"


@virtual
async def test_a_failing_token_provider_does_not_take_the_place_of_a_timeout() -> None:
    """The task cannot be cancelled, and the error says so."""
    provider = Provider()

    def spend(_: TaskEvent) -> None:
        provider.is_spent = True

    async with simulated() as server, connected_by(server.base_url, provider) as client:
        Remote().on(server)
        server.on("events", MUTE)
        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for_result(TASK, on_event=spend, timeout=0.4, on_timeout="cancel")

    assert caught.value.remote == "cancel_failed"


@virtual
async def test_a_failing_token_provider_does_not_take_the_place_of_a_cancellation() -> None:
    """The caller is cancelled, whatever becomes of the task."""
    provider = Provider()

    def leave(_: TaskEvent) -> None:
        provider.is_spent = True
        scope.cancel()

    async with simulated() as server, connected_by(server.base_url, provider) as client:
        Remote().on(server)
        server.on("events", MUTE)
        with anyio.CancelScope() as scope:
            await client.wait_for_result(TASK, on_event=leave, on_cancel="cancel")

    assert scope.cancelled_caught


def connected_by(base_url: str, token: Callable[[], Awaitable[str]]) -> AsyncClient:
    """Make a client that signs in by a provider."""
    return AsyncClient(token, team_id="019abc12-4567-7890-abcd-ef1234567891", base_url=base_url)


@virtual
async def test_a_client_that_is_closed_meanwhile() -> None:
    """The wait ends with an error of ours, and nothing is left open."""
    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", MUTE)

        async def close(_: TaskEvent) -> None:
            await client.aclose()

        with pytest.raises((ConfigurationError, TransportError), match=r"\bclosed\b"):
            await client.wait_for_result(TASK, on_event=close)


@virtual
async def test_a_client_that_is_closed_by_another_task() -> None:
    """The same in the middle of a step."""
    async with simulated() as server, connected(server) as client:
        Remote().on(server)
        server.on("events", MUTE)
        waiting = anyio.Event()

        async def close() -> None:
            await waiting.wait()
            await client.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            with pytest.raises((ConfigurationError, TransportError), match=r"\bclosed\b"):
                await client.wait_for_result(TASK, on_event=lambda _: waiting.set())


@virtual
@table("how", ["closed", "token", "refused"])
async def test_what_ends_a_run_has_its_task(how: str) -> None:
    """Once a task exists, each error of `run()` names it, and says that to run it again makes another one.

    An error that others may be raising, too, as that of a token provider, is not changed.
    """
    provider = Provider(refusal := SignInRequired("has expired"))

    async def fail(_: TaskEvent) -> None:
        if how == "closed":
            await client.aclose()
        provider.is_spent = how == "token"

    async with simulated() as server, connected_by(server.base_url, provider) as client:
        Remote().on(server)
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("events", MUTE)
        if how == "refused":
            server.on("task", answer(401))
        with pytest.raises((ConfigurationError, SignInRequired, AuthenticationError)) as caught:
            await client.run("demo", validate=False, on_event=fail)

    assert (caught.value.task_id, caught.value.may_have_been_sent) == (TASK, True)
    assert refusal.task_id is None


@virtual
async def test_a_failed_task_beside_a_signal() -> None:
    """With a `signal`, too, the error comes flat, and nothing goes on listening."""
    async with simulated() as server, connected(server) as client:
        Remote("failed").on(server)
        server.on("events", MUTE)

        with pytest.raises(TaskFailed):
            await client.wait_for_result(TASK, signal=anyio.sleep_forever)
