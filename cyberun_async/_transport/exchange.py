"""Running one exchange with a server so that cancelling it leaves nothing behind.

httpcore cleans up under a shield of its own, but asyncio cancels a task once, wherever it stands, also
inside of that clean-up, and then the connection is lost for good (encode/httpcore#1093). A task group turns
the caller's one-shot cancellation into one that lasts and that shields are a match for, so each exchange
is the one child of a group.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def as_child(work: Callable[[], Awaitable[T]], *, timeout: float | None = None) -> T:
    """Run an exchange as a child task, and give its result or raise its error, flat.

    Raises:
        TimeoutError: It did not end within `timeout` seconds.

    """
    outcomes: list[T] = []
    failures: list[Exception] = []

    async def child() -> None:
        try:
            outcomes.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again below, outside of an exception group
            failures.append(error)

    async with anyio.create_task_group() as group:
        if timeout is not None:
            group.cancel_scope.deadline = anyio.current_time() + timeout
        group.start_soon(child)
    if failures:
        raise failures[0]
    if not outcomes:
        message = f"not done within {timeout:g} s"
        raise TimeoutError(message)
    return outcomes[0]


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


async def see_through(work: Callable[[], Awaitable[object]], *, within: float) -> None:
    """Run something that is better not cut off: when the caller is cancelled, it gets a few seconds more."""
    shield = anyio.CancelScope(shield=True)
    failures: list[Exception] = []

    async def shielded() -> None:
        with shield:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - raised again below, outside of an exception group
                failures.append(error)
        group.cancel_scope.cancel()

    async def limit_once_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            shield.deadline = anyio.current_time() + within

    async with anyio.create_task_group() as group:
        group.start_soon(shielded)
        group.start_soon(limit_once_cancelled)
    if failures:
        raise failures[0]
