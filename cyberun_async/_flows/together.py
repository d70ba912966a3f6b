"""Several pieces of work side by side, with flat errors."""

from collections.abc import Awaitable, Callable

from cyberun_async._transport.flat_group import FlatTaskGroup


async def side_by_side(*works: Callable[[], Awaitable[object]]) -> None:
    """Run all to their end; the first failure cancels the others, and is raised as it is."""
    async with FlatTaskGroup() as group:
        for work in works:
            group.start_soon(work)
