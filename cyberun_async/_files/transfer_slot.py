"""The slot of one transfer, of `Limits.max_transfers`, which is everybody's: given back while one key has to wait.

A transfer in a pause may have its file open, and of a download that is a lock as well, so it is not closed meanwhile. So
that any number of them does not reach the system's limit of open files, `MAX_PAUSED` transfers at most have begun beyond
those that hold a slot; all others begin when one of these ends.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_PAUSED = 64
"""Transfers in a pause beside those that hold a slot; some systems have 256 open files for a process."""


class TransferGate:
    """All slots of a client.

    Args:
        number: How many there are.

    Attributes:
        begun: Taken by a transfer until it ends.
        slots: Taken by a transfer while it is in no pause.

    """

    def __init__(self, number: int) -> None:
        self.begun: anyio.Semaphore = anyio.Semaphore(number + MAX_PAUSED, fast_acquire=True)
        self.slots: anyio.Semaphore = anyio.Semaphore(number, fast_acquire=True)

    def __repr__(self) -> str:
        """Show how many are free."""
        return f"<{type(self).__name__}: {self.slots.value} free>"


class TransferSlot:
    """Held while a file is transferred: an async context manager.

    Args:
        gate: All of the slots.

    """

    def __init__(self, gate: TransferGate) -> None:
        self._gate = gate
        self._is_held = False

    def __repr__(self) -> str:
        """Show whether it is held."""
        return f"<{type(self).__name__}{'' if self._is_held else ' not'} held>"

    async def __aenter__(self) -> "Self":
        """Wait for one."""
        await self._gate.begun.acquire()
        try:
            await self._take()
        except BaseException:
            self._gate.begun.release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back, unless that was done."""
        if self._is_held:
            self._release()
        self._gate.begun.release()

    async def _take(self) -> None:
        await self._gate.slots.acquire()
        self._is_held = True

    def _release(self) -> None:
        self._is_held = False
        self._gate.slots.release()

    @asynccontextmanager
    async def given_back(self) -> AsyncIterator[None]:
        """Release the slot meanwhile, and wait for one again afterwards; a transfer that is cancelled meanwhile ends without one."""
        self._release()
        yield
        await self._take()
