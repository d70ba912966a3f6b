"""The bots of the documentation, with stand-ins of their platforms and a Cyberun whose clock the tests move."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from support.web import EXAMPLES

from cyberun_async import RateLimiter
from cyberun_async.local import LocalCyberun

sys.path.append(str(EXAMPLES / "bots"))


class Turns(RateLimiter):
    """A limiter whose turns take no time, and move the platform's clock: what is done without a turn is too soon.

    Attributes:
        now: That clock.
        holds: The seconds for which it was held.

    """

    def __init__(self) -> None:
        """Begin at zero."""
        super().__init__(1)
        self.now = 0.0
        self.holds: list[float] = []

    async def acquire(self) -> None:
        """Let the interval pass."""
        self.now += 1

    def hold(self, seconds: float) -> None:
        """Let so much more pass."""
        self.holds.append(seconds)
        self.now += seconds


@pytest.fixture
def turns() -> Turns:
    """Give one limiter for all chats."""
    return Turns()


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Serve a Cyberun whose clock is held."""
    with LocalCyberun(clock="held") as server:
        yield server
