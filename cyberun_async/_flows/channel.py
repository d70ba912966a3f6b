"""What is told of one task to any number of readers, each of whom reads at their own pace."""

import math
import re
import secrets
from collections import deque
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import anyio
import attrs
from anyio.lowlevel import current_token

_LINE_END = re.compile(r"\r\n|\r|\n")
_EVENT_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})", re.ASCII)


@attrs.frozen
class Item:
    """One event, ready to be sent."""

    number: int
    text: bytes


class Channel:
    """What is known of one task: the events so far, and whoever waits for the next one."""

    def __init__(self, memory: int, linger: float) -> None:
        # Numbers of an earlier life of the backend must not pass for ours.
        self.name = secrets.token_hex(4)
        self.is_over = False
        # The readers' presence is this scope's deadline: what follows the task runs until some time after the last left.
        self.scope = anyio.CancelScope()
        self._items: deque[Item] = deque(maxlen=memory)
        self._linger = linger
        self._readers = 0
        self._count = 0
        self._changed = anyio.Event()
        # asyncio's loop, or trio's token; and what anyio knows the loop by, which another thread has not.
        self._loop: Any = current_token().native_token
        self._context = copy_context()

    @property
    def takes_readers(self) -> bool:
        """Whether a reader who comes now is in time."""
        return not self.scope.cancel_called

    def join(self) -> None:
        self._readers += 1
        self.scope.deadline = math.inf

    def leave(self) -> None:
        self._readers -= 1
        if not self._readers and not self.scope.cancel_called:
            self.scope.deadline = anyio.current_time() + self._linger

    def leave_from_anywhere(self) -> None:
        """Leave on behalf of a reader whom the garbage collector found, which may happen in any thread."""
        schedule = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        with suppress(RuntimeError):  # There is no loop any more, and nothing to leave.
            schedule(self._context.run, self.leave)

    def add(self, name: str, data: str) -> None:
        self._count += 1
        lines = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
        text = f"id: {self.name}-{self._count}\nevent: {name}\n{lines}\n"
        self._items.append(Item(self._count, text.encode()))
        self._wake()

    def end(self) -> None:
        self.is_over = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def after(self, number: int) -> Item | None:
        """Give the event after a number, or the oldest of those after it that is remembered."""
        behind = self._count - number
        if behind <= 0:
            return None
        return self._items[max(0, len(self._items) - behind)]

    def place_of(self, last_event_id: str | None) -> int:
        """Give the number that a reader has come to; one that comes from elsewhere starts over."""
        match = _EVENT_ID.fullmatch(last_event_id or "")
        return int(match[2]) if match and match[1] == self.name else 0

    async def changed(self, within: float) -> bool:
        """Wait for the next event, for a bounded time."""
        with anyio.move_on_after(within):
            await self._changed.wait()
            return True
        return False
