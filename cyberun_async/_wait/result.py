"""Waiting for a result, to a deadline, with a say in what becomes of the task.

`wait_for_result` and `run` differ only in how they get to the task's id. From then on a `Follower` hands out the events,
up to the terminal one, and then fetches the result until that is final, too: the two may disagree for a moment.

One scope with the deadline is around all of it. Whatever ends a wait early leaves the task in a known state: the remote
cancel of `on_timeout` and `on_cancel` is shielded and bounded, and never takes the place of what ended the wait.
What ends a `run` whose task exists says so, whatever it is about: the caller has nothing else to know the task by.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import Literal

import anyio

from cyberun_async._concurrency import FlatTaskGroup, call_back, run_shielded
from cyberun_async._errors import CyberunError, StartTimeout, TaskCancelled, TaskFailed, WaitTimeout
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Submitted, TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_kind
from cyberun_async._wait.follower import TaskFollower
from cyberun_async._wait.shared_poller import SharedPoller
from cyberun_async._wait.start_deadline import BoundedStart, Follower, NotStarted
from cyberun_async._wait.submission import Submission, submit
from cyberun_async._wait.wait_options import EventCallback, Signal, Wait

log = logging.getLogger("cyberun_async.wait")

Remote = Literal["left", "cancelled", "cancel_failed"]
"""What became of a task whose wait was left."""


async def wait_for_result(
    transport: Transport,
    shared_poller: SharedPoller,
    settings: Settings,
    task_id: str,
    wait: Wait,
    *,
    is_new: bool = False,
    follower: Follower | None = None,
) -> TaskResult:
    """Wait until a task has ended and give its result; see `AsyncClient.wait_for_result`."""
    check_kind(task_id, str, "task_id", "a string")
    submission = Submission(task_id)
    return await _wait(transport, shared_poller, settings, submission, wait, is_new=is_new, follower=follower)


async def run(
    transport: Transport,
    shared_poller: SharedPoller,
    settings: Settings,
    prepare: Callable[[], Awaitable[Call[Submitted]]],
    wait: Wait,
) -> TaskResult:
    """Submit a task, wait until it has ended and give its result; see `AsyncClient.run`."""
    submission = Submission()

    async def start() -> None:
        call = await prepare()
        await submit(transport, settings, call, submission, wait.on_submitted, is_id_needed=wait.needs_id)

    try:
        return await _wait(transport, shared_poller, settings, submission, wait, start=start, is_new=True)
    except CyberunError as error:
        if submission.task_id is None or (error.task_id is not None and error.may_have_been_sent):
            raise
        raise _with_task(error, submission.task_id) from error.__cause__


async def _wait(
    transport: Transport,
    shared_poller: SharedPoller,
    settings: Settings,
    submission: Submission,
    wait: Wait,
    *,
    is_new: bool,
    start: Callable[[], Awaitable[None]] | None = None,
    follower: Follower | None = None,
) -> TaskResult:
    """Wait for a task, which `start` submits where it has no id yet, and see to it when the caller leaves."""
    has_missed_start = False
    try:
        # A scope without a deadline would be a tenth of what a wait takes up.
        with nullcontext() if wait.timeout is None else anyio.move_on_after(wait.timeout):
            if start is not None:
                await start()
            task_id = submission.task_id or ""
            if follower is None:
                follower = TaskFollower(transport, shared_poller, task_id, settings.polling, is_new=is_new)
            if wait.start_timeout is not None:
                follower = BoundedStart(follower, transport, task_id, wait.start_timeout, settings.timeouts.cleanup)
            with _observed(settings, task_id, follower, wait.on_event) as on_event:
                if wait.signal is None:
                    return ensure_completed(await _follow(follower, on_event))
                return ensure_completed(await _follow_beside(follower, on_event, wait.signal, task_id, shared_poller))
    except NotStarted:
        has_missed_start = True
    except (anyio.get_cancelled_exc_class(), KeyboardInterrupt):
        # trio raises Ctrl-C where asyncio cancels the main task for it.
        if wait.on_cancel == "cancel" and submission.may_exist:
            await cancel_remote(transport, settings, submission.task_id)
        raise
    remote: Remote = "left"
    if wait.on_timeout == "cancel":
        remote = "cancelled"
        if submission.may_exist:
            remote = await cancel_remote(transport, settings, submission.task_id)
    passed = wait.start_timeout if has_missed_start else wait.timeout
    raise (StartTimeout if has_missed_start else WaitTimeout)(
        passed or 0.0,
        task_id=submission.task_id,
        status=follower.status if follower is not None else None,
        remote=remote,
        may_have_been_sent=submission.may_exist,
    )


def _with_task(error: CyberunError, task_id: str) -> CyberunError:
    """Give a copy of an error that says that a task exists; others may be raising the same, such as a token provider's."""
    named = copy(error).with_traceback(error.__traceback__)
    named.task_id = error.task_id or task_id
    named.may_have_been_sent = True
    return named


def _observed(
    settings: Settings, task_id: str, follower: Follower, on_event: EventCallback | None
) -> AbstractContextManager[EventCallback | None]:
    """Have a wait reported to the observer, if there is one; gives what to call with each event."""
    if settings.instrumentation is None:
        return nullcontext(on_event)
    return settings.instrumentation.wait(task_id, lambda: follower.status, on_event)


async def _follow(follower: Follower, on_event: EventCallback | None) -> TaskResult:
    try:
        is_over = False
        while not is_over:
            event = await follower.next()
            is_over = event.is_terminal
            if on_event is not None:
                await call_back(on_event, event)
        result = await follower.settle()
        log.info("task %s: %s", result.id, result.status)
        return result
    finally:
        await follower.aclose()


async def _follow_beside(
    follower: Follower, on_event: EventCallback | None, signal: Signal, task_id: str, shared_poller: SharedPoller
) -> TaskResult:
    """Follow a task and listen for a signal; one that fails leaves quietly, since the wait goes on without it."""
    results: list[TaskResult] = []

    async def listen() -> None:
        try:
            await signal()
        except Exception:
            log.warning("the signal of a wait failed, so the wait goes on without it", exc_info=True)
        else:
            shared_poller.wakes.wake(task_id)

    async with FlatTaskGroup() as group:
        group.start_soon(listen)
        results.append(await _follow(follower, on_event))
        group.cancel_scope.cancel()
    return results[0]


def ensure_completed(result: TaskResult) -> TaskResult:
    """Give a result, or raise where the task ended without one."""
    if result.status == TaskStatus.FAILED:
        raise TaskFailed(result)
    if result.status == TaskStatus.CANCELLED:
        raise TaskCancelled(result)
    return result


async def cancel_remote(transport: Transport, settings: Settings, task_id: str | None) -> Remote:
    """Cancel a task although the caller is leaving, for a bounded time, and say what became of that."""
    if task_id is None:
        # The server has not said whether there is one.
        return "cancel_failed"
    confirmed = False

    async def cancel() -> None:
        nonlocal confirmed
        try:
            await transport.send(endpoints.cancel_task(task_id), urgent=True)
        except Exception as failure:  # noqa: BLE001 - a token provider's, too: none may take the place of a cancellation
            log.warning("task %s: cancelling it failed: %s", task_id, failure)
        else:
            confirmed = True

    await run_shielded(cancel, within=settings.timeouts.cleanup)
    return "cancelled" if confirmed else "cancel_failed"
