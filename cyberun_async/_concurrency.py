"""Structured concurrency: flat task groups, requests in child tasks, work that cancellation must not interrupt. (shield)

**Flat task groups.** anyio's own wraps whatever fails in it, a lone failure too, and on trio a `KeyboardInterrupt` may
strike at the group's own end, where no child and no body could keep it. On asyncio a `SystemExit` that leaves a child
goes right through the event loop, past every handler that has something to clean up. So children hand over what they
fail with, and the group raises the first failure in the task that opened it, once all have ended: no exception group
reaches a user. Cancellation is never handed over: it belongs to a scope further out, and passes through.

**Requests in child tasks** (`run_in_child_task`). httpcore cleans up under a shield of its own, but asyncio cancels a task
once, wherever it stands, also inside of that clean-up, and then the connection is lost for good (encode/httpcore#1093).
A task group turns the caller's one-shot cancellation into one that lasts and that shields are a match for, so each
request is the one child of a group. It ends in one of four ways: a result; its own failure; its timeout or the closing of
the client (`InFlight`), both of which cancel the group's scope, and differ in `is_closed`; or the caller's
cancellation, which passes through.

**Clean-up** (`run_shielded`). Two shields: a scope, against scopes further out, and a child task, against a second
one-shot cancellation of asyncio's. It is bounded in time, so that a peer that hangs keeps no caller for ever.

**Submissions** (`Flight`, `shield_with_grace`). A request that costs money goes through two states. Before it leaves, a
cancellation stops it, and nothing is lost. From `begin` on a shield keeps cancellation away for a bounded time, since its
response says which task to cancel or to report; `reset` takes the shield down again before a retry.
"""

import inspect
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.abc

if TYPE_CHECKING:
    from typing_extensions import Self

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup  # type: ignore[import-not-found, unused-ignore] # it comes with anyio

T = TypeVar("T")


class FlatTaskGroup:
    """A task group that raises the first failure of its children or its body as it is, once all have ended."""

    __slots__ = ("_failures", "_group")

    def __init__(self) -> None:
        self._group: anyio.abc.TaskGroup = anyio.create_task_group()
        self._failures: list[BaseException] = []

    def __repr__(self) -> str:
        """Show what has failed so far."""
        return f"<{type(self).__name__}: {', '.join(type(error).__name__ for error in self._failures) or 'no failure'}>"

    @property
    def cancel_scope(self) -> "anyio.CancelScope":
        """The scope of the children and the body."""
        return self._group.cancel_scope

    def start_soon(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Run something in the background; where it fails, it cancels the rest."""
        self._group.start_soon(self._guarded, work, arguments, None)

    def start_collecting(
        self, results: list[T], work: Callable[..., Awaitable[T]], arguments: tuple[object, ...] = ()
    ) -> None:
        """Run something in the background, and add what it returns to a list."""
        self._group.start_soon(self._guarded, work, arguments, results)

    async def _guarded(
        self, work: Callable[..., Awaitable[T]], arguments: tuple[object, ...], results: list[T] | None
    ) -> None:
        try:
            result = await work(*arguments)
            if results is not None:
                results.append(result)
        except BaseException as error:
            if isinstance(error, GeneratorExit) or _is_cancellation(error):
                raise
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        self._group.cancel_scope.cancel()

    async def __aenter__(self) -> "Self":
        """Open it."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Wait for the children, and raise the first failure."""
        if error is not None and not _is_cancellation(error):
            # The group would wrap it in a group of its own.
            self._fail(error)
            kind = error = traceback = None
        try:
            is_caught = await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as several:
            is_caught = None
            self._failures.append(_first_of(several))
        if self._failures:
            raise self._failures[0]
        return is_caught


def _is_cancellation(error: BaseException) -> bool:
    """Whether this is for a scope further out; trio's nurseries may have it come in groups, and its scopes take them apart."""
    cancelled = anyio.get_cancelled_exc_class()
    return isinstance(error, cancelled) or (isinstance(error, BaseExceptionGroup) and error.split(cancelled)[1] is None)


def _first_of(group: BaseException) -> BaseException:
    """Give the first failure in a group that is no cancellation, or else the first cancellation."""
    while isinstance(group, BaseExceptionGroup):
        _, others = group.split(anyio.get_cancelled_exc_class())
        group = (others or group).exceptions[0]
    return group


async def run_all(*works: Callable[[], Awaitable[object]]) -> None:
    """Run all to their end; the first failure cancels the others, and is raised as it is."""
    async with FlatTaskGroup() as group:
        for work in works:
            group.start_soon(work)


class ClientClosed(Exception):
    """The client was closed in the middle of a request."""

    def __str__(self) -> str:
        """Say so."""
        return "the client was closed meanwhile"


class InFlight:
    """The requests of a client that are in flight, so that closing it ends them, and none goes on by itself.

    Attributes:
        is_closed: Whether no request may begin any more.

    """

    def __init__(self) -> None:
        self.is_closed: bool = False
        self._scopes: set[anyio.CancelScope] = set()
        self._is_empty: anyio.Event | None = None

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<{type(self).__name__}: {len(self._scopes)} requests{', closed' if self.is_closed else ''}>"

    def add(self, scope: "anyio.CancelScope") -> None:
        """Count a request in until it is discarded.

        Raises:
            ClientClosed: It came too late.

        """
        if self.is_closed:
            raise ClientClosed
        self._scopes.add(scope)

    def discard(self, scope: "anyio.CancelScope") -> None:
        """Note that a request has ended, and has cleaned up."""
        self._scopes.discard(scope)
        if self._is_empty is not None and not self._scopes:
            self._is_empty.set()

    async def aclose(self) -> None:
        """End every request, and wait until each has cleaned up; safe to call twice."""
        self.is_closed = True
        for scope in tuple(self._scopes):
            scope.cancel()
        if self._scopes:
            self._is_empty = self._is_empty or anyio.Event()
            await self._is_empty.wait()


async def run_in_child_task(
    work: Callable[..., Awaitable[T]], *arguments: object, timeout: float | None = None, among: InFlight | None = None
) -> T:
    """Run a request as a child task, and give its result or raise its error, flat.

    Args:
        work: The request.
        arguments: What it is called with.
        timeout: Seconds that it may take.
        among: The client's other requests.

    Raises:
        TimeoutError: It did not end within `timeout` seconds.
        ClientClosed: The client was closed meanwhile.

    """
    results: list[T] = []
    group = FlatTaskGroup()
    try:
        async with group:
            if among is not None:
                among.add(group.cancel_scope)
            if timeout is not None:
                group.cancel_scope.deadline = anyio.current_time() + timeout
            group.start_collecting(results, work, arguments)
    finally:
        if among is not None:
            among.discard(group.cancel_scope)
    if results:
        return results[0]
    if timeout is None or (among is not None and among.is_closed):
        raise ClientClosed
    message = f"not done within {timeout:g} s"
    raise TimeoutError(message)


async def run_shielded(work: Callable[[], Awaitable[object]], *, within: float) -> bool:
    """Run a clean-up to its end although the caller is being cancelled, for a bounded time.

    Returns:
        Whether it ended in time.

    """
    done = False

    async def bounded() -> None:
        nonlocal done
        with anyio.move_on_after(within, shield=True):
            await work()
            done = True

    # Both shields are needed: this one against a scope, the child's against a second one-shot cancellation.
    with anyio.CancelScope(shield=True):
        await run_in_child_task(bounded)
    return done


class Flight:
    """A request that must not be lost once it has left.

    Attributes:
        is_begun: Whether it may have left.
        shield: What keeps cancellation away from then on.
        rate_limits: How often the server has said 429 to it.

    """

    __slots__ = ("is_begun", "rate_limits", "shield")

    def __init__(self) -> None:
        self.is_begun: bool = False
        self.rate_limits: int = 0
        self.shield: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        """Show whether it may have left."""
        return f"<{type(self).__name__}: {'may have left' if self.is_begun else 'has not left'}>"

    def begin(self) -> None:
        """Note that it is about to leave."""
        self._set(True)

    def reset(self) -> None:
        """Note that it did not arrive, or was refused without being acted on, and will be sent again."""
        self._set(False)

    def rate_limited(self) -> None:
        """Note a 429."""
        self.rate_limits += 1

    def _set(self, is_begun: bool) -> None:
        self.is_begun = is_begun
        if self.shield is not None:
            self.shield.shield = is_begun


async def shield_with_grace(work: Callable[[], Awaitable[object]], flight: Flight, *, within: float) -> None:
    """Run the sending of a request: a caller that is cancelled while it is in flight is kept for a few seconds more.

    Before it has left there is nothing to lose, and it must not leave any more.
    """
    flight.shield = shield = anyio.CancelScope(shield=flight.is_begun)

    async def shielded() -> None:
        with shield:
            await work()
        group.cancel_scope.cancel()

    async def limit_once_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            shield.deadline = anyio.current_time() + within

    async with FlatTaskGroup() as group:
        group.start_soon(shielded)
        group.start_soon(limit_once_cancelled)


async def call_back(callback: Callable[..., object], *args: object) -> None:
    """Call a function of the user's, which may be async."""
    outcome = callback(*args)
    if inspect.isawaitable(outcome):
        await outcome
