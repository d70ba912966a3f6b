"""One open event stream."""

from collections.abc import Callable

import httpx
from httpx_sse import ServerSentEvent

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.call import Call
from cyberun_async._transport.bodies import let_go, raw_chunks
from cyberun_async._transport.exchange import finish
from cyberun_async._transport.failures import failures_of
from cyberun_async._transport.sse import EventDecoder, EventTooLarge


class Connection:
    """An event stream that has answered with 200 and the right content type.

    It must be closed. Nobody but its owner may be waiting in it at that time.

    Attributes:
        decoder: Knows the last `id:` and `retry:` of the stream.

    """

    def __init__(
        self,
        call: Call[None],
        response: httpx.Response,
        *,
        max_event: int,
        cleanup: float,
        on_close: Callable[[], None],
    ) -> None:
        """Take over the response."""
        self._call = call
        self._response = response
        self._chunks = raw_chunks(response)
        self.decoder = EventDecoder(max_event)
        self._cleanup = cleanup
        self._on_close: Callable[[], None] | None = on_close

    async def receive(self) -> list[ServerSentEvent] | None:
        """Wait for the next bytes, and give the events that they complete: often one, none for a keep-alive.

        Returns:
            `None` once the server has ended the stream.

        Raises:
            TransportError: The stream broke.
            DecodeError: An event is larger than the limit.

        """
        with failures_of(self._call):
            try:
                return self.decoder.feed(await self._chunks.__anext__())
            except StopAsyncIteration:
                return None
            except EventTooLarge as error:
                raise self._decode_error(str(error)) from None

    def _decode_error(self, problem: str) -> DecodeError:
        """Give the error for something on the stream that is not as promised."""
        return DecodeError(problem, method=self._call.method, path=self._call.path, task_id=self._call.task_id)

    async def aclose(self) -> None:
        """Close the stream, under cancellation too; safe to call twice."""
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        try:
            await finish(lambda: let_go(self._response, self._chunks), within=self._cleanup)
        finally:
            on_close()
