"""The event loop for code that it did not call: background tasks, calls from other threads and from signal handlers."""

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from anyio.lowlevel import current_token


class LoopHandle:
    """The event loop on which this was made, asyncio's or trio's."""

    def __init__(self) -> None:
        # asyncio's loop, or trio's token; and what anyio knows the loop by, which another thread has not.
        self._native: Any = current_token().native_token
        self._context = copy_context()
        self._tasks: set[object] = set()

    def __repr__(self) -> str:
        """Show how many tasks it holds."""
        return f"<{type(self).__name__} with {len(self._tasks)} tasks>"

    def call_soon(self, work: Callable[[], object]) -> None:
        """Call a function in the loop, from any thread or signal handler; nothing happens where the loop has ended."""
        schedule = getattr(self._native, "call_soon_threadsafe", None) or self._native.run_sync_soon
        with suppress(RuntimeError):
            schedule(self._context.run, work)

    def start(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Start a task that is nobody's child, so that no task has to stay for it; it must not raise.

        A task group would have to be left in the task that entered it, which fixtures and test clients do not do.
        """
        if hasattr(self._native, "create_task"):
            task = self._native.create_task(work(*args))
            # asyncio itself holds its tasks by weak references only.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            # trio is no dependency, and is loaded where it runs.
            sys.modules["trio"].lowlevel.spawn_system_task(work, *args, context=copy_context())
