"""Events and messages at a limited rate: `throttle` and `RateLimiter`. (rate limit, coalesce)"""

from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING

import anyio

from cyberun_async._concurrency import FlatTaskGroup
from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.events import TaskEvent
from cyberun_async._validators import SECONDS, check_above_zero, check_finite, check_kind, explain_misuse

if TYPE_CHECKING:
    from typing_extensions import Self


class RateLimiter:
    """A rate limit: turns for all that share it, each `interval` seconds after the end of the one before.

    A platform counts what a bot does in a chat, not in a message: so the messages of a chat share a limiter. A turn
    lasts until its call has returned, since requests that set out in time may still arrive too close together.

    ```python
    limiter = RateLimiter(1.0)  # one for each chat
    async with throttle(client.events(task_id), limiter) as updates:
        async for event in updates:
            await message.edit_text(describe(event))
    async with limiter:
        await message.reply("Done")
    ```

    Args:
        interval: Seconds.

    Raises:
        ConfigurationError: The interval is not a finite number above zero.

    """

    def __init__(self, interval: float) -> None:
        """Have the first turn free."""
        check_above_zero(interval, "interval", SECONDS)
        check_finite(interval, "interval", SECONDS)
        self._interval = interval
        self._not_before = float("-inf")
        self._line = anyio.Lock()
        # The task whose turn it is, which may take another one meanwhile, and how many it has.
        self._holder: int | None = None
        self._turns = 0
        self._is_free = anyio.Event()

    def __repr__(self) -> str:
        """Show the interval, and whether a turn is taken."""
        state = "free" if self._holder is None else "taken"
        return f"<{type(self).__name__} of {self._interval:g} s, {state}>"

    async def __aenter__(self) -> "Self":
        """Wait for a turn, and keep it until the block is left; first come, first served."""
        await self.acquire()
        self._hold_turn()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the turn."""
        self._end_turn()

    async def acquire(self) -> None:
        """Wait for a turn, and end it at once: for a call that is not waited for; first come, first served."""
        if self._holder == anyio.get_current_task().id:
            # Those in the line wait for this very task.
            await self._until_due()
            return
        async with self._line:
            while self._holder is not None:
                await self._is_free.wait()
            await self._until_due()

    async def _until_due(self) -> None:
        while anyio.current_time() < self._not_before:  # noqa: ASYNC110 - a hold may come meanwhile
            await anyio.sleep_until(self._not_before)
        self._not_before = anyio.current_time() + self._interval

    def hold(self, seconds: float) -> None:
        """Give no turn for so many seconds, as the `retry_after` of a platform's 429 asks.

        Raises:
            ConfigurationError: They are not a finite number.

        """
        check_finite(seconds, "seconds")
        self._not_before = max(self._not_before, anyio.current_time() + seconds)

    def _hold_turn(self) -> None:
        self._holder = anyio.get_current_task().id
        self._turns += 1

    def _end_turn(self) -> None:
        self._not_before = max(self._not_before, anyio.current_time() + self._interval)
        self._turns -= 1
        if not self._turns:
            self._holder = None
            self._is_free.set()
            self._is_free = anyio.Event()


@explain_misuse(
    iterate="use 'async for event in updates' inside of 'async with throttle(...) as updates:'",
    enter="use 'async with throttle(...) as updates:'",
)
class throttle:  # noqa: N801 - used as a function
    """Pass on the latest of a task's events, never two within `interval` seconds; the last event always comes.

    For bots, whose platforms allow only so many edits of a message. What happens faster is left out, so that each event
    passed on is the latest one at that moment. The turn of an event lasts until the next one is asked for, or the block is left.

    ```python
    async with throttle(client.events(task_id), 1.0) as updates:
        async for event in updates:
            await message.edit_text(describe(event))
    ```

    Args:
        events: The events to pass on; errors of theirs are raised here, flat.
        interval: Seconds; or a `RateLimiter`, which others share.

    Raises:
        ConfigurationError: The interval is not above zero.

    """

    def __init__(self, events: AsyncIterable[TaskEvent], interval: float | RateLimiter) -> None:
        """Read nothing yet."""
        check_kind(events, AsyncIterable, "events", "an async iterable of events, such as client.events(task_id)")
        self._events = events
        self._limiter = interval if isinstance(interval, RateLimiter) else RateLimiter(interval)
        self._latest: TaskEvent | None = None
        self._failure: Exception | None = None
        self._is_over = False
        self._has_turn = False
        self._update = anyio.Event()
        self._group: FlatTaskGroup | None = None

    def __repr__(self) -> str:
        """Show what it passes on, and whether there is an update."""
        state = "over" if self._is_over else "an update" if self._latest is not None else "no update"
        return f"<{type(self).__name__} of {self._events!r} by {self._limiter!r}: {state}>"

    async def __aenter__(self) -> "Self":
        """Begin to read the events in the background."""
        self._group = await FlatTaskGroup().__aenter__()
        self._group.start_soon(self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop reading; what is raised inside comes out as it is."""
        self._end_turn()
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.cancel()
            # Told of an exception, a group would wrap it in a group of exceptions.
            await group.__aexit__(None, None, None)

    def __aiter__(self) -> "Self":
        """Give the updates themselves."""
        return self

    async def __anext__(self) -> TaskEvent:
        """Wait for an update, and for a turn to pass it on."""
        if self._group is None:
            message = "use 'async with throttle(...) as updates'"
            raise ConfigurationError(message)
        self._end_turn()
        await self._update.wait()
        if self._latest is None and self._failure is None:
            raise StopAsyncIteration  # It takes no turn.
        await self._limiter.acquire()
        self._update = anyio.Event() if not self._is_over else self._update
        event, self._latest = self._latest, None
        if event is None:
            assert self._failure is not None
            raise self._failure
        self._limiter._hold_turn()  # noqa: SLF001 - the other half of this module
        self._has_turn = True
        return event

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._limiter._end_turn()  # noqa: SLF001 - the other half of this module

    async def _read(self) -> None:
        try:
            async for event in self._events:
                self._latest = event
                self._update.set()
        except Exception as failure:  # noqa: BLE001 - raised again where the events are read
            self._failure = failure
        finally:
            if isinstance(self._events, AsyncGenerator):
                await self._events.aclose()
        self._is_over = True
        self._update.set()
