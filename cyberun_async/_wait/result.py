"""Waiting for a result, to a deadline, with a say in what becomes of the task."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Literal, Protocol

import anyio
import attrs

from cyberun_async._concurrency import FlatTaskGroup, Flight, call_back, run_shielded, shield_with_grace
from cyberun_async._errors import TaskCancelled, TaskFailed, WaitTimeout
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.events import TaskEvent
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Submitted, TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import SECONDS, check_above_zero, check_function, check_kind, check_one_of, validator
from cyberun_async._wait.follower import TaskFollower
from cyberun_async._wait.shared_poller import SharedPoller

log = logging.getLogger("cyberun_async.wait")

AbandonPolicy = Literal["leave", "cancel"]
"""What becomes of a task that is not waited for any more: it goes on, or it is cancelled."""

Remote = Literal["left", "cancelled", "cancel_failed"]
"""What became of a task that is not waited for any more."""

EventCallback = Callable[[TaskEvent], object | Awaitable[object]]
"""Called with each event; what it returns is awaited if it can be."""


Signal = Callable[[], Awaitable[object]]
"""Awaited once beside a wait; when it returns, the task is looked at."""


def check_on_submitted(value: Callable[..., object] | None, name: str = "on_submitted") -> None:
    """Refuse what cannot be called.

    Raises:
        ConfigurationError: It cannot.

    """
    if value is not None:
        check_function(value, name, "a function that takes the id of a task")


_a_policy = validator(check_one_of, "leave", "cancel")
_a_deadline = validator(check_above_zero, f"{SECONDS}, or None for no deadline")
_a_callback = validator(check_function, "a function that takes an event")


@attrs.frozen(kw_only=True, eq=False)
class Wait:
    """How somebody wants to wait.

    Raises:
        ConfigurationError: The timeout is not a number above zero, the callback cannot be called, or a policy is
            not one of the two.

    """

    timeout: float | None = attrs.field(validator=attrs.validators.optional(_a_deadline))
    on_event: EventCallback | None = attrs.field(validator=attrs.validators.optional(_a_callback))
    on_timeout: AbandonPolicy = attrs.field(validator=_a_policy)
    on_cancel: AbandonPolicy = attrs.field(validator=_a_policy)
    signal: Signal | None = None
    on_submitted: Callable[[str], object] | None = attrs.field(default=None, validator=validator(check_on_submitted))

    @property
    def needs_id(self) -> bool:
        """Whether the task's id must be known even when the caller leaves: to cancel it, or to report it."""
        return self.on_submitted is not None or "cancel" in {self.on_timeout, self.on_cancel}


class Follower(Protocol):
    """What a wait needs of whatever follows its task: a `TaskFollower`, or what stands in for one."""

    @property
    def status(self) -> TaskStatus | None:
        """The last status seen."""

    async def next(self) -> TaskEvent:
        """Wait for the next event."""

    async def settle(self) -> TaskResult:
        """Read the result of the task, which has ended."""

    async def aclose(self) -> None:
        """Stop following."""


class Submission:
    """The task of a wait, as far as it is known.

    Attributes:
        task_id: Its id, once the server has said it.
        flight: Its submission.

    """

    __slots__ = ("flight", "task_id")

    def __init__(self) -> None:
        """Know no id."""
        self.task_id: str | None = None
        self.flight: Flight = Flight()

    @property
    def may_exist(self) -> bool:
        """Whether there may be a task."""
        return self.task_id is not None or self.flight.is_begun


async def wait_for_result(
    transport: Transport,
    shared_poller: SharedPoller,
    settings: Settings,
    task_id: str,
    wait: Wait,
    *,
    is_new: bool = False,
    watch: Follower | None = None,
) -> TaskResult:
    """Wait until a task has ended and give its result; see `AsyncClient.wait_for_result`."""
    check_kind(task_id, str, "task_id", "a string")

    async def known(submission: Submission) -> None:
        submission.task_id = task_id

    return await _wait(transport, shared_poller, settings, known, wait, is_new=is_new, watch=watch)


async def run(
    transport: Transport,
    shared_poller: SharedPoller,
    settings: Settings,
    prepare: Callable[[], Awaitable[Call[Submitted]]],
    wait: Wait,
) -> TaskResult:
    """Submit a task, wait until it has ended and give its result; see `AsyncClient.run`."""

    async def submitted(submission: Submission) -> None:
        call = await prepare()
        await submit(transport, settings, call, submission, wait.on_submitted, is_id_needed=wait.needs_id)

    return await _wait(transport, shared_poller, settings, submitted, wait, is_new=True)


async def submit(
    transport: Transport,
    settings: Settings,
    call: Call[Submitted],
    submission: Submission,
    on_submitted: Callable[[str], object] | None,
    *,
    is_id_needed: bool,
) -> None:
    """Submit a task, and report its id before anything else is done.

    Args:
        transport: Where to.
        settings: The client's.
        call: The prepared submission.
        submission: Gets the id.
        on_submitted: Is called with the id.
        is_id_needed: Whether the submission is seen through although the caller is cancelled.

    """

    async def send() -> None:
        submission.task_id = (await transport.send(call, flight=submission.flight)).task_id
        if on_submitted is not None:
            await report_submitted(on_submitted, submission.task_id)

    if is_id_needed:
        await shield_with_grace(send, submission.flight, within=settings.timeouts.cleanup)
    else:
        await send()


async def report_submitted(callback: Callable[..., object], *args: str) -> None:
    """Call back with the id of a new task, the last argument; what that raises has the id on it."""
    try:
        await call_back(callback, *args)
    except Exception as error:
        # It is the user's, and may be frozen.
        with suppress(AttributeError):
            error.task_id = args[-1]  # type: ignore[attr-defined]
        raise


async def _wait(
    transport: Transport,
    shared_poller: SharedPoller,
    settings: Settings,
    start: Callable[[Submission], Awaitable[None]],
    wait: Wait,
    *,
    is_new: bool,
    watch: Follower | None = None,
) -> TaskResult:
    """Wait for the task whose id `start` finds out, and see to it when the caller leaves."""
    submission = Submission()
    try:
        # A scope without a deadline would be a tenth of what a wait takes up.
        with nullcontext() if wait.timeout is None else anyio.move_on_after(wait.timeout):
            await start(submission)
            task_id = submission.task_id or ""
            if watch is None:
                watch = TaskFollower(transport, shared_poller, task_id, settings.polling, is_new=is_new)
            seen = watch
            with _told(settings, task_id, lambda: seen.status, wait.on_event) as on_event:
                if wait.signal is None:
                    return ensure_completed(await _follow(watch, on_event))
                return ensure_completed(
                    await _follow_beside(watch, on_event, wait.signal, lambda: shared_poller.wake(task_id))
                )
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
    raise WaitTimeout(
        wait.timeout or 0.0,
        task_id=submission.task_id,
        status=watch.status if watch is not None else None,
        remote=remote,
        may_have_been_sent=submission.may_exist,
    )


def _told(
    settings: Settings, task_id: str, status: Callable[[], str | None], on_event: EventCallback | None
) -> AbstractContextManager[EventCallback | None]:
    """Have the observer, if there is one, told of a wait; gives what to call with each event."""
    return (
        nullcontext(on_event)
        if settings.instrumentation is None
        else settings.instrumentation.wait(task_id, status, on_event)
    )


async def _follow(watch: Follower, on_event: EventCallback | None) -> TaskResult:
    try:
        is_over = False
        while not is_over:
            event = await watch.next()
            is_over = event.is_terminal
            if on_event is not None:
                await call_back(on_event, event)
        result = await watch.settle()
        log.info("task %s: %s", result.id, result.status)
        return result
    finally:
        await watch.aclose()


async def _follow_beside(
    watch: Follower, on_event: EventCallback | None, signal: Signal, wake: Callable[[], None]
) -> TaskResult:
    """Follow a task and listen for a signal; one that fails leaves quietly, since the race goes on without it."""
    results: list[TaskResult] = []

    async def listen() -> None:
        try:
            await signal()
        except Exception:
            log.warning("the signal of a wait failed, so the wait goes on without it", exc_info=True)
        else:
            wake()

    async with FlatTaskGroup() as group:
        group.start_soon(listen)
        results.append(await _follow(watch, on_event))
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
