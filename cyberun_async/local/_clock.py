"""The one clock of a local Cyberun: everything that takes time there waits on it, so a test can move it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Coroutine
from datetime import datetime, timezone

import anyio.to_thread

LATEST = datetime(2999, 1, 1, tzinfo=timezone.utc).timestamp()
"""How far the clock goes: not every system can say a later date, and links and tokens reach beyond it."""


class Clock:
    """Time as the local server sees it.

    A running clock follows the machine's; a held one (``LocalCyberun(clock="held")``) stands still until it is advanced.
    Both can be advanced: tasks, link expiry, and webhook retries then find that the time has passed.

    Faults are the exception: latency, trickles and heartbeats take real time, because a client's time limits do.
    """

    def __init__(self, *, held: bool = False) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held_at = time.time() if held else None
        self._offset = 0.0
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        # Lives that are doing something now, rather than waiting for the clock: advance() has to let these get on.
        self._busy = 0
        self._all_waiting = asyncio.Event()
        self._all_waiting.set()

    def __repr__(self) -> str:
        """Show whether it runs, and the time."""
        return f"<{type(self).__name__} {'held' if self.is_held else 'running'} at {self.now().isoformat()}>"

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop that the server runs on."""
        self._loop = loop

    @property
    def is_held(self) -> bool:
        """Whether time passes only by `advance`."""
        return self._held_at is not None

    def time(self) -> float:
        """Seconds since 1970, as `time.time` gives them."""
        return time.time() + self._offset if self._held_at is None else self._held_at

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.fromtimestamp(self.time(), timezone.utc)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once, and return when everything due in them has happened.

        Works under asyncio and trio. What becomes due happens in its order, each at its own moment.

        Raises:
            ValueError: if `seconds` is negative, no number, or would lead beyond the year 2998.
            RuntimeError: if the server is not running.
        """
        await anyio.to_thread.run_sync(self.advance_blocking, seconds, abandon_on_cancel=True)

    def advance_blocking(self, seconds: float) -> None:
        """Do what `advance` does, for programs without an event loop."""
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= LATEST:
            raise ValueError(
                f"time on a local Cyberun does not run backwards: seconds must be a number from 0 to {LATEST:.0f}"
            )
        if self._loop is None or self._loop.is_closed():
            raise RuntimeError("the local Cyberun is not running")
        asyncio.run_coroutine_threadsafe(self._advance(seconds), self._loop).result()

    async def sleep(self, seconds: float) -> None:
        """Wait inside a life: a coroutine that `live` runs."""
        await self.sleep_until(self.time() + seconds)

    async def sleep_until(self, when: float) -> None:
        """Wait inside a life until `when`, in seconds since 1970."""
        if when <= self.time():
            return
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (when, next(self._order), timer))
        self._set_alarm()
        self._change_busy(-1)
        try:
            await timer
        finally:
            # A timer that rang was counted when it rang, so that advance() cannot overlook the life it woke.
            if timer.cancelled():
                self._change_busy(+1)

    def live(self, life: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a coroutine whose waits are on this clock. Call it on the server's loop."""
        self._change_busy(+1)
        task = asyncio.get_running_loop().create_task(life)
        task.add_done_callback(lambda _: self._change_busy(-1))
        return task

    def _change_busy(self, by: int) -> None:
        self._busy += by
        if self._busy:
            self._all_waiting.clear()
        else:
            self._all_waiting.set()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._timers and self._held_at is None:
            delay = max(0.0, self._timers[0][0] - self.time())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._ring_due)

    def _ring_due(self) -> None:
        while self._timers and self._timers[0][0] <= self.time():
            self._ring_next()
        self._set_alarm()

    def _ring_next(self) -> None:
        timer = heapq.heappop(self._timers)[2]
        if not timer.done():
            self._change_busy(+1)
            timer.set_result(None)

    def _move_to(self, when: float) -> None:
        if self._held_at is None:
            self._offset += max(0.0, when - self.time())
        else:
            self._held_at = max(self._held_at, when)

    async def _advance(self, seconds: float) -> None:
        target = self.time() + seconds
        if target > LATEST:
            raise ValueError("time on a local Cyberun ends with the year 2998")
        await self._all_waiting.wait()
        while self._timers and self._timers[0][0] <= target:
            self._move_to(self._timers[0][0])
            self._ring_next()
            await self._all_waiting.wait()
        self._move_to(target)
        self._set_alarm()
