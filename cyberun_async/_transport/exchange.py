"""Running one exchange with a server so that cancelling it leaves nothing behind.

httpcore cleans up under a shield of its own, but asyncio cancels a task once, wherever it stands, also
inside of that clean-up, and then the connection is lost for good (encode/httpcore#1093). A task group turns
the caller's one-shot cancellation into one that lasts and that shields are a match for, so each exchange
is the one child of a group.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import anyio

from cyberun_async._transport.flat_group import FlatTaskGroup

T = TypeVar("T")


class CutOff(Exception):
    """The client was closed in the middle of an exchange."""

    def __str__(self) -> str:
        """Say so."""
        return "the client was closed meanwhile"


class InFlight:
    """The exchanges of a client that are going on, so that closing it ends them, and none goes on by itself.

    Attributes:
        is_closed: Whether no exchange may begin any more.

    """

    def __init__(self) -> None:
        """Know of no exchange yet."""
        self.is_closed = False
        self._scopes: set[anyio.CancelScope] = set()
        self._is_empty: anyio.Event | None = None

    @contextmanager
    def counting(self, scope: "anyio.CancelScope") -> Iterator[None]:
        """Count an exchange in for as long as it goes on.

        Raises:
            CutOff: It came too late.

        """
        if self.is_closed:
            raise CutOff
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)
            if self._is_empty is not None and not self._scopes:
                self._is_empty.set()

    async def aclose(self) -> None:
        """End every exchange, and wait until each has cleaned up; safe to call twice."""
        self.is_closed = True
        for scope in tuple(self._scopes):
            scope.cancel()
        if self._scopes:
            self._is_empty = self._is_empty or anyio.Event()
            await self._is_empty.wait()


async def as_child(
    work: Callable[[], Awaitable[T]], *, timeout: float | None = None, among: InFlight | None = None
) -> T:
    """Run an exchange as a child task, and give its result or raise its error, flat.

    Args:
        work: The exchange.
        timeout: Seconds that it may take.
        among: The client's other exchanges.

    Raises:
        TimeoutError: It did not end within `timeout` seconds.
        CutOff: The client was closed meanwhile.

    """
    outcomes: list[T] = []

    async def child() -> None:
        with nullcontext() if among is None else among.counting(group.cancel_scope):
            outcomes.append(await work())

    async with FlatTaskGroup() as group:
        if timeout is not None:
            group.cancel_scope.deadline = anyio.current_time() + timeout
        group.start_soon(child)
    if outcomes:
        return outcomes[0]
    if timeout is None or (among is not None and among.is_closed):
        raise CutOff
    message = f"not done within {timeout:g} s"
    raise TimeoutError(message)


async def finish(work: Callable[[], Awaitable[object]], *, within: float) -> bool:
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
        await as_child(bounded)
    return done


class Flight:
    """A request that must not be lost once it has left.

    Attributes:
        is_begun: Whether it may have left.
        shield: What keeps cancellation away from then on.

    """

    __slots__ = ("is_begun", "shield")

    def __init__(self) -> None:
        """Nothing has left."""
        self.is_begun: bool = False
        self.shield: anyio.CancelScope | None = None

    def begin(self) -> None:
        """Note that it is about to leave."""
        self._set(True)

    def reset(self) -> None:
        """Note that it did not arrive, or was refused without being acted on, and will be sent again."""
        self._set(False)

    def _set(self, is_begun: bool) -> None:
        self.is_begun = is_begun
        if self.shield is not None:
            self.shield.shield = is_begun


async def see_through(work: Callable[[], Awaitable[object]], flight: Flight, *, within: float) -> None:
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
