"""Passing on events no faster than somebody may tell them."""

from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.events import TaskEvent

if TYPE_CHECKING:
    from typing_extensions import Self


class throttle:  # noqa: N801 - used as a function
    """Pass on the latest of a task's events, never two within `interval` seconds; the last event always comes.

    For bots, whose platforms allow only so many edits of a message. What happens faster is left out, so that each event
    passed on is news at that moment.

    ```python
    async with throttle(client.events(task_id), 1.0) as updates:
        async for event in updates:
            await message.edit_text(describe(event))
    ```

    Args:
        events: The events to pass on; errors of theirs are raised here, flat.
        interval: Seconds.

    Raises:
        ConfigurationError: The interval is not above zero.

    """

    def __init__(self, events: AsyncIterable[TaskEvent], interval: float) -> None:
        """Read nothing yet."""
        if not interval > 0:
            message = f"interval must be a number of seconds above zero, not {interval!r}"
            raise ConfigurationError(message)
        self._events = events
        self._interval = interval
        self._latest: TaskEvent | None = None
        self._failure: Exception | None = None
        self._is_over = False
        self._news = anyio.Event()
        self._not_before = float("-inf")
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> "Self":
        """Begin to read the events in the background."""
        self._group = await anyio.create_task_group().__aenter__()
        self._group.start_soon(self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop reading; what is raised inside comes out as it is."""
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.cancel()
            # Told of an exception, a group would wrap it in a group of exceptions.
            await group.__aexit__(None, None, None)

    def __aiter__(self) -> "Self":
        """Give the updates themselves."""
        return self

    async def __anext__(self) -> TaskEvent:
        """Wait until there is news and it may be told."""
        if self._group is None:
            message = "use 'async with throttle(...) as updates'"
            raise ConfigurationError(message)
        await self._news.wait()
        await anyio.sleep_until(self._not_before)
        self._news = anyio.Event() if not self._is_over else self._news
        event, self._latest = self._latest, None
        if event is not None:
            self._not_before = anyio.current_time() + self._interval
            return event
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    async def _read(self) -> None:
        try:
            async for event in self._events:
                self._latest = event
                self._news.set()
        except Exception as failure:  # noqa: BLE001 - raised again where the events are read
            self._failure = failure
        finally:
            if isinstance(self._events, AsyncGenerator):
                await self._events.aclose()
        self._is_over = True
        self._news.set()
