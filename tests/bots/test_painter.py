"""What the bots have in common, without a platform: orders that come twice, and cancellations that were interrupted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import bots.conftest  # noqa: F401 - for the path of the examples
import pytest

from cyberun_async import AsyncClient, RateLimiter
from cyberun_async.local import LocalCyberun

if TYPE_CHECKING:
    from painter import Painter
    from unfinished import Order, Unfinished


class Platform:
    """A chat in memory.

    Attributes:
        said: What each message says.
        files: How many were sent.

    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.files = 0
        self.changed = anyio.Event()

    async def send(self, _: Order, text: str) -> int:
        self.said.append(text)
        return len(self.said) - 1

    async def edit(self, order: Order, text: str) -> None:
        self.said[order.message or 0] = text
        self.changed.set()
        self.changed = anyio.Event()

    async def send_file(self, *_: object) -> None:
        self.files += 1

    async def until(self, text: str, *, times: int = 1) -> None:
        while self.said.count(text) < times:
            await self.changed.wait()


@asynccontextmanager
async def painting(server: LocalCyberun, unfinished: Unfinished, platform: Platform) -> AsyncIterator[Painter]:
    from painter import Painter

    async with (
        AsyncClient(server.api_key, base_url=server.base_url) as client,
        Painter(client, unfinished, platform, lambda _: RateLimiter(1e-3)) as painter,
    ):
        yield painter


def count(server: LocalCyberun, operation: str) -> int:
    return sum(exchange.operation == operation for exchange in server.requests)


async def test_a_command_that_comes_twice(tmp_path: Path) -> None:
    """A platform that sends a command again, which the last start has taken in, gets one picture for it."""
    from unfinished import Order, Unfinished

    unfinished, platform = Unfinished(tmp_path / "orders.db"), Platform()
    await unfinished.put(Order(1, 2, 3, "a lighthouse"))
    async with LocalCyberun(clock="held") as server, painting(server, unfinished, platform) as painter:
        await painter.resume()
        await painter.accept(Order(1, 2, 3, "a lighthouse"))
        await platform.until("⏳ pending")
        await painter.accept(Order(1, 2, 3, "a lighthouse"))
        await server.clock.advance(60)
        await platform.until("✅ Done")
    assert (platform.said, platform.files, count(server, "workflows.run")) == (["✅ Done"], 1, 1)


async def test_a_cancellation_that_was_interrupted(tmp_path: Path) -> None:
    """A bot that was stopped between a command to cancel and the request for it makes the request after the next start."""
    from unfinished import Order, Unfinished

    unfinished, platform = Unfinished(tmp_path / "orders.db"), Platform()
    platform.said.append("✏️ Asking …")
    async with LocalCyberun(clock="held") as server:
        async with AsyncClient(server.api_key, base_url=server.base_url) as client:
            task_id = await client.submit("text-to-image", {"prompt": "a lake"})
        await unfinished.put(Order(1, 2, 3, "a lake", 0, is_asked=True, task_id=task_id, is_cancelled=True))
        async with painting(server, unfinished, platform) as painter:
            await painter.resume()
            await platform.until("🛑 Stopped.")
    assert (platform.files, count(server, "tasks.cancel")) == (0, 1)


async def test_a_cancellation_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one task cannot be cancelled, the user is told, and the others are cancelled all the same."""
    from unfinished import Order, Unfinished

    unfinished, platform = Unfinished(tmp_path / "orders.db"), Platform()
    async with LocalCyberun(clock="held") as server, painting(server, unfinished, platform) as painter:
        for command in (1, 2):
            await painter.accept(Order(1, command, 3, "a lake"))
            await platform.until("⏳ pending", times=command)
        server.faults.status(403, on="tasks.cancel")
        assert "no pictures to be had" in await painter.cancel(3, 1)
        await platform.until("🛑 Stopped.")
    assert count(server, "tasks.cancel") == 2
