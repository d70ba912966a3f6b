"""Several pieces of work side by side, with flat errors."""

from collections.abc import Awaitable, Callable

import anyio


async def side_by_side(*works: Callable[[], Awaitable[object]]) -> None:
    """Run all to their end; the first failure cancels the others, and is raised as it is."""
    failures: list[Exception] = []

    async def guarded(work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised again below, outside of an exception group
            failures.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for work in works:
            group.start_soon(guarded, work)
    if failures:
        raise failures[0]
