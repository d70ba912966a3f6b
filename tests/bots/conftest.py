"""The bots of the documentation, with stand-ins of their platforms and a Cyberun whose clock the tests move."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import pytest
from support.web import EXAMPLES

from cyberun_async import AsyncClient, RateLimiter
from cyberun_async.local import LocalCyberun
from cyberun_async.local._pictures import landscape
from cyberun_async.local.scripts import after, complete, progress, status

if TYPE_CHECKING:
    from room import Room, Shown
    from unfinished import Order, Unfinished

sys.path.append(str(EXAMPLES / "bots"))

LIFE = [after(1), status("running"), after(1), progress(5, 20), after(1), progress(10, 20), after(1), complete()]
"""The life of a task of which every second has its event."""


class Turns(RateLimiter):
    """A limiter whose turns take no time, and move the platform's clock: what is done without a turn is too soon.

    Attributes:
        now: That clock.
        holds: The seconds for which it was held.
        gate: While it is there and not set, nobody has a turn.

    """

    def __init__(self) -> None:
        """Begin at zero."""
        super().__init__(1)
        self.now = 0.0
        self.holds: list[float] = []
        self.gate: anyio.Event | None = None

    async def acquire(self) -> None:
        """Let the interval pass."""
        if self.gate is not None:
            await self.gate.wait()
        self.now += 1

    def hold(self, seconds: float) -> None:
        """Let so much more pass."""
        self.holds.append(seconds)
        self.now += seconds


class Place:
    """Where a person and a bot meet, and what is behind it.

    Attributes:
        server: Cyberun.
        messages: What the bot has said.
        database: Where the bot remembers what is unfinished.
        unfinished: What that is.

    """

    def __init__(self, server: LocalCyberun, room: Room, directory: Path) -> None:
        """Start no bot yet."""
        from unfinished import Unfinished

        self.server = server
        self.messages: dict[int, Shown] = room.messages
        self.database = directory / "unfinished.db"
        self.unfinished: Unfinished = Unfinished(self.database)
        self._room = room

    def client(self) -> AsyncClient:
        """Give a client of Cyberun."""
        return AsyncClient(self.server.api_key, base_url=self.server.base_url)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for what is to be seen."""
        with anyio.fail_after(20):
            await self._room.until(holds)

    async def says(self, number: int, text: str) -> Shown:
        """Wait until a message of the bot says something, now or on its way."""
        await self.until(lambda: number in self.messages and text in self.messages[number].texts)
        return self.messages[number]

    async def forgets(self) -> None:
        """Wait until the bot has nothing left to do."""
        await self.knows(lambda orders: not orders)

    async def knows(self, holds: Callable[[list[Order]], bool]) -> None:
        """Wait until something is to be found among what the bot remembers."""
        with anyio.fail_after(20):
            while not holds(await self.unfinished.all()):  # noqa: ASYNC110 - a file says nothing by itself
                await anyio.sleep(0.01)

    def count(self, operation: str) -> int:
        """Count the requests of a kind that Cyberun has received."""
        return sum(each.operation == operation for each in self.server.requests)


@pytest.fixture
def turns() -> Turns:
    """Give one limiter for all chats."""
    return Turns()


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Serve a Cyberun whose clock is held, and whose pictures are small: to draw a large one takes longer than a test."""

    def small(prompt: str, seed: int, *_: int, **options: Any) -> Any:
        return landscape(prompt, seed, 64, 64, **options)

    with mock.patch("cyberun_async.local._demo.landscape", small), LocalCyberun(clock="held") as server:
        yield server
