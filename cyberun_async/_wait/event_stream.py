"""The events of a task, as users iterate over them."""

import warnings
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import TYPE_CHECKING

from cyberun_async._protocol.events import TaskEvent
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._validators import explain_misuse
from cyberun_async._wait.follower import TaskFollower

if TYPE_CHECKING:
    from typing_extensions import Self


@explain_misuse(
    iterate="use 'async for event in client.events(...)'",
    enter="use 'async with client.events(...) as events:'",
    await_it="events are not awaited: use 'async for event in client.events(...)'",
)
class EventStream(AsyncGenerator[TaskEvent, None]):
    """The events of one task, from now to its end: an async generator, and an async context manager.

    It ends after a terminal event, or with an exception. It reconnects when the stream breaks, and goes on from
    polling where streams do not get through; `event.source` says which it was. The connection is closed before the
    terminal event is handed out. Leaving `async with` closes it at once, however that happens.

    ```python
    async with client.events(task_id) as events:
        async for event in events:
            print(event)
    ```

    A cancelled step can be taken again: the stream goes on where it was.

    Raises:
        APIError: The task does not exist, or the key may not see it.
        TransportError: The server has not answered for longer than `Polling.unavailable_timeout`.
        DecodeError: Likewise, with answers that are not what the API documents.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    """

    __reduce__ = refuse_copies

    def __init__(self, follower: TaskFollower) -> None:
        """Wrap a follower; nothing is sent before the first event is asked for."""
        self._follower = follower
        self._is_waiting = False
        self._is_over = False

    def __repr__(self) -> str:
        """Show whose events they are."""
        return f"<{type(self).__name__} of task {self._follower.task_id}>"

    def __aiter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __anext__(self) -> TaskEvent:
        """Wait for the next event."""
        self._check_nobody_waits()
        if self._is_over:
            raise StopAsyncIteration
        self._is_waiting = True
        try:
            event = await self._follower.next()
        except Exception:
            self._is_over = True
            raise
        finally:
            self._is_waiting = False
        self._is_over = event.is_terminal
        return event

    async def asend(self, value: None) -> TaskEvent:
        """Wait for the next event; there is nothing to send to the stream."""
        del value
        return await self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> TaskEvent:
        """Close the stream and raise the exception."""
        await self.aclose()
        return await super().athrow(typ, val, tb)  # type: ignore[arg-type]

    async def aclose(self) -> None:
        """Close the stream; safe to call twice."""
        self._check_nobody_waits()
        self._is_over = True
        await self._follower.aclose()

    def _check_nobody_waits(self) -> None:
        if self._is_waiting:
            message = (
                "another task is waiting for these events: give each task a stream of its own, and to close this one, "
                "cancel the task that waits"
            )
            raise RuntimeError(message)

    async def __aenter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream."""
        await self.aclose()

    def __del__(self) -> None:
        """Warn of a connection left open; closing it takes an event loop, which is not there any more."""
        if self._follower.is_connected:
            message = f"unclosed {type(self).__name__}: use 'async with client.events(...)'"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)
