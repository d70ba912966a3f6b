"""What a test must not leave behind on its loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fail what leaves a task behind: the runner would cancel it without a word."""
    before = set(anyio.get_running_tasks())
    yield
    # Cancelled tasks and the closers of async generators need a few turns of the loop.
    for _ in range(100):
        left = [t for t in anyio.get_running_tasks() if t not in before]
        if not left:
            return
        await checkpoint()
    pytest.fail("left behind: " + ", ".join(f"task {t.name}" for t in left), pytrace=False)
