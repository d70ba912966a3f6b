"""The slot of one transfer, of `Limits.max_transfers`, which is everybody's: given back while one key has to pause."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from typing_extensions import Self


class TransferSlot:
    """Held while a file is transferred: an async context manager.

    Args:
        gate: All of the slots.

    """

    def __init__(self, gate: anyio.Semaphore) -> None:
        self._gate = gate
        self._is_held = False

    def __repr__(self) -> str:
        """Show whether it is held."""
        return f"<{type(self).__name__}{'' if self._is_held else ' not'} held>"

    async def __aenter__(self) -> "Self":
        """Wait for one."""
        await self._gate.acquire()
        self._is_held = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back, unless that was done."""
        if self._is_held:
            self._release()

    def _release(self) -> None:
        self._is_held = False
        self._gate.release()

    @asynccontextmanager
    async def given_back(self) -> AsyncIterator[None]:
        """Release the slot meanwhile, and wait for one again afterwards; a transfer that is cancelled meanwhile ends without one."""
        self._release()
        yield
        await self.__aenter__()
