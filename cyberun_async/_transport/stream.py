"""One open event stream."""

from collections.abc import Callable

import httpx
from httpx_sse import ServerSentEvent

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.call import Call
from cyberun_async._transport.cancel_safe import CancelSafeBody
from cyberun_async._transport.error_mapping import map_error
from cyberun_async._transport.sse import EventDecoder, EventTooLarge


class Connection:
    """An event stream that was opened, with 200 and the right content type.

    It must be closed, while nothing but its owner waits for it.

    Args:
        call: What was asked.
        response: Its body unread.
        max_event_bytes: Bytes of one event.
        silence: Seconds without a byte after which the stream counts as dead.
        cleanup: Seconds that closing may take.
        on_close: Called once it is closed.

    Attributes:
        decoder: Knows the last `id:` and `retry:` of the stream.

    """

    def __init__(
        self,
        call: Call[None],
        response: httpx.Response,
        *,
        max_event_bytes: int,
        silence: float,
        cleanup: float,
        on_close: Callable[[], None],
    ) -> None:
        self._call = call
        self._body = CancelSafeBody(response, silence=silence)
        self.decoder = EventDecoder(max_event_bytes)
        self._cleanup = cleanup
        self._on_close: Callable[[], None] | None = on_close

    def __repr__(self) -> str:
        """Show what it is of, and in which state it is."""
        return f"<{type(self).__name__} {self._call.path}: {'closed' if self._on_close is None else repr(self._body)}>"

    @property
    def is_cancel_safe(self) -> bool:
        """Whether waiting for it can be cancelled without losing the stream."""
        return self._body.is_cancel_safe

    async def receive(self, *, caller_timeout: float = float("inf")) -> list[ServerSentEvent] | None:
        """Wait for the next bytes, and give the events that they complete: often one, none for a keep-alive.

        Args:
            caller_timeout: Seconds after which the caller cancels the read; for a longer silence no timer is set.

        Returns:
            `None` once the server has ended the stream.

        Raises:
            TransportError: The stream broke.
            DecodeError: An event is larger than the limit.

        """
        try:
            # A helper for it would cost each event more than all that is done here.
            return self.decoder.feed(await self._body.next(caller_timeout=caller_timeout))
        except StopAsyncIteration:
            return None
        except EventTooLarge as error:
            failure: Exception = self._decode_error(str(error))
        except Exception as error:  # noqa: BLE001 - raised again, below
            failure = map_error(self._call, error)
        raise failure

    def _decode_error(self, problem: str) -> DecodeError:
        """Give the error for something on the stream that is not as promised."""
        return DecodeError(problem, method=self._call.method, path=self._call.path, task_id=self._call.task_id)

    async def aclose(self) -> None:
        """Close the stream, under cancellation too; safe to call twice."""
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        try:
            await self._body.aclose(within=self._cleanup)
        finally:
            on_close()
