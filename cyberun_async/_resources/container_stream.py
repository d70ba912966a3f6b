"""A request to a container service, with its bodies streamed, and its response: bytes, or server-sent events."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING

import attrs

from cyberun_async._concurrency import run_shielded
from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.container_requests import ContainerRequest
from cyberun_async._transport.body_stream import BodyStream
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import explain_misuse

if TYPE_CHECKING:
    from typing_extensions import Self

CLEANUP = 5.0
"""Seconds that a generator of content gets to close."""


@attrs.frozen
class ServerSentEvent:
    """One event of a stream that a container service sends.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

    Attributes:
        event: Its name; `message` unless the service names it.
        data: Its data, lines joined by line feeds.
        id: The last `id:` of the stream so far; an empty string if there was none.
        retry: Milliseconds that the service wants a client to wait before it reconnects; `None` if it does not say.

    """

    event: str
    data: str
    id: str = ""
    retry: int | None = None


@explain_misuse(
    iterate="use 'async for chunk in response' inside of 'async with client.containers.stream(...) as response:'",
    enter="use 'async with client.containers.stream(...) as response:'",
    await_it="use 'async with client.containers.stream(...) as response:'",
)
class ContainerStream(AsyncIterator[bytes]):
    """A request to a container service: an async context manager that sends it, and an async iterator of the response's body.

    `AsyncClient.containers.stream` makes one. Entering it sends the request, and gives the response as soon as its head is
    there; leaving it closes the connection, however that happens. A step that was cancelled can be repeated.

    ```python
    async with client.containers.stream("whisper", "POST", "/transcribe", content=audio) as response:
        async for event in response.events():
            print(event.event, event.data)
    ```

    """

    __reduce__ = refuse_copies

    def __init__(self, transport: Transport, request: ContainerRequest, *, raise_for_status: bool) -> None:
        self._transport = transport
        self._request = request
        self._raise_for_status = raise_for_status
        self._body: BodyStream | None = None
        self._was_entered = False

    def __repr__(self) -> str:
        """Show what is asked, and the status once it is known."""
        call, status = self._request.call, "" if self._body is None else f", {self._body.status}"
        return f"<{type(self).__name__} {call.method} {call.path}{status}>"

    @property
    def status_code(self) -> int:
        """The HTTP status of the response.

        Raises:
            ConfigurationError: There is none yet: it is used outside of `async with`.

        """
        return self._response().status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response; names in any spelling find them.

        Raises:
            ConfigurationError: There are none yet: it is used outside of `async with`.

        """
        return self._response().headers

    async def __aenter__(self) -> "Self":
        """Send the request, and wait for the head of the response.

        Raises:
            APIError: The status is 400 or above, unless `raise_for_status` is false.
            TransportError: There is no response; `may_have_been_sent` says whether the service may have acted.

        """
        if self._was_entered:
            raise ConfigurationError("a request is sent once: call containers.stream() again")
        self._was_entered = True
        try:
            self._body = await self._transport.open_body(self._request, raise_for_status=self._raise_for_status)
        finally:
            content = self._request.content
            if isinstance(content, AsyncGenerator):
                # Its clean-up cannot wait for the collector.
                await run_shielded(content.aclose, within=CLEANUP)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, under cancellation too; safe to call twice."""
        if self._body is not None:
            await self._body.aclose()

    def __aiter__(self) -> "Self":
        """Give the stream itself."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next bytes of the body, as the service sends them.

        Raises:
            TransportError: The connection broke, or was silent for longer than `Timeouts.stream`.

        """
        chunk = await self._response().receive()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def read(self, max_bytes: int = 64 * 1024 * 1024) -> bytes:
        """Read the rest of the body.

        Args:
            max_bytes: The most that are taken into memory; 64 MiB by default.

        Raises:
            DecodeError: It is larger.
            TransportError: The connection broke.

        """
        body = bytearray()
        async for chunk in self:
            body += chunk
            if len(body) > max_bytes:
                raise self._response().decode_error(f"the body has more than {max_bytes} bytes, which is max_bytes")
        return bytes(body)

    def events(self) -> AsyncIterator[ServerSentEvent]:
        """Read the rest of the body as server-sent events; those without data are left out, as the standard says.

        Raises:
            DecodeError: It is no event stream, or an event is larger than `Limits.max_event_bytes`.
            TransportError: The connection broke.

        """
        return _Events(self._response())

    def _response(self) -> BodyStream:
        if self._body is None:
            raise ConfigurationError("there is no response yet: use 'async with client.containers.stream(...)'")
        return self._body


class _Events(AsyncIterator[ServerSentEvent]):
    """The events of a body, one by one."""

    def __init__(self, body: BodyStream) -> None:
        self._body = body
        self._decoder = body.decoder()
        self._ready: deque[ServerSentEvent] = deque()

    async def __anext__(self) -> ServerSentEvent:
        while not self._ready:
            chunk = await self._body.receive()
            if chunk is None:
                raise StopAsyncIteration
            for event in self._body.feed(self._decoder, chunk):
                self._ready.append(ServerSentEvent(event.event, event.data, event.id, event.retry))
        return self._ready.popleft()


for _public in (ContainerStream, ServerSentEvent):
    # Their public address, by which they are known, however they were imported.
    _public.__module__ = "cyberun_async"
del _public
