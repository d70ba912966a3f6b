"""A response whose body is read as it arrives, and the request for it, whose body is sent as it comes."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping

import attrs
import httpx

from cyberun_async._errors import DecodeError, InvalidParameters
from cyberun_async._protocol.container_requests import ContainerRequest
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import Settings
from cyberun_async._transport.bodies import OneBlock, RequestBody
from cyberun_async._transport.cancel_safe import CancelSafeBody
from cyberun_async._transport.content_codings import compressions
from cyberun_async._transport.error_mapping import map_error
from cyberun_async._transport.requests import make_request
from cyberun_async._transport.sse import EventDecoder, EventTooLarge, ServerSentEvent


class _Blocks(AsyncIterator[bytes]):
    """The content of a user's own, block by block."""

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self._content = aiter(content)

    async def __anext__(self) -> bytes:
        block: object = await self._content.__anext__()
        if not isinstance(block, (bytes, bytearray, memoryview)):
            raise InvalidParameters([f"content must give bytes, and has given {type(block).__name__}"])
        return bytes(block)


class StreamedRequest:
    """A request to a container service on its way.

    Args:
        asked: What was asked.

    Attributes:
        asked: Likewise.
        failure: What its content has raised.

    """

    def __init__(self, asked: ContainerRequest) -> None:
        self.asked = asked
        self._body = (
            None if isinstance(asked.content, bytes) or asked.content is None else RequestBody(_Blocks(asked.content))
        )

    def __repr__(self) -> str:
        """Show what it is."""
        return f"<{type(self).__name__} {self.asked.call.method} {self.asked.call.path}>"

    @property
    def failure(self) -> Exception | None:
        """What its content has raised, which is its owner's error."""
        return None if self._body is None else self._body.failure

    def make(self, settings: Settings, token: Key, extensions: dict[str, object]) -> httpx.Request:
        """Give the request, signed in."""
        asked = self.asked
        sent = attrs.evolve(asked.call, path=asked.target)
        signed = make_request(sent, settings, token, extensions, {"Accept": "*/*", **asked.headers})
        if asked.content is None:
            return signed
        # That of a request without a body.
        signed.headers.pop("Content-Length", None)
        if self._body is not None:
            # No length is known, so the end of the body is marked within it.
            signed.headers["Transfer-Encoding"] = "chunked"
            return httpx.Request(
                signed.method, signed.url, headers=signed.headers, stream=self._body, extensions=extensions
            )
        assert isinstance(asked.content, bytes)
        request = httpx.Request(
            signed.method, signed.url, headers=signed.headers, content=asked.content, extensions=extensions
        )
        request.stream = OneBlock(asked.content)
        return request


class BodyStream:
    """A response with its body unread. It must be closed.

    Args:
        asked: What was asked.
        response: The response.
        settings: The client's.

    Attributes:
        status: The HTTP status.
        headers: The response's headers.

    """

    def __init__(self, asked: ContainerRequest, response: httpx.Response, settings: Settings) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._call = asked.call
        self._body = CancelSafeBody(response, silence=settings.timeouts.stream)
        self._max_event_bytes = settings.limits.max_event_bytes
        self._cleanup = settings.timeouts.cleanup
        self._is_closed = False

    def __repr__(self) -> str:
        """Show what it answers, and in which state it is."""
        state = "closed" if self._is_closed else repr(self._body)
        return f"<{type(self).__name__} {self._call.path}, {self.status}: {state}>"

    async def receive(self) -> bytes | None:
        """Wait for the next bytes; `None` at the end.

        Raises:
            TransportError: The connection broke, or has been silent for too long.

        """
        if self._is_closed:
            return None
        try:
            return await self._body.next()
        except StopAsyncIteration:
            return None
        except Exception as error:  # noqa: BLE001 - raised again, below
            failure = map_error(self._call, error)
        raise failure

    def decoder(self) -> EventDecoder:
        """Give what reads the body as server-sent events.

        Raises:
            DecodeError: It is no event stream.

        """
        kind, encoding = self.headers.get("content-type", ""), self.headers.get("content-encoding", "")
        if kind.partition(";")[0].strip().lower() != "text/event-stream" or compressions(encoding):
            compressed = f" compressed by {encoding[:100]!r}" if compressions(encoding) else ""
            raise self.decode_error(f"the content type is {kind[:100]!r}{compressed}, and not text/event-stream")
        return EventDecoder(self._max_event_bytes)

    def feed(self, decoder: EventDecoder, chunk: bytes) -> list[ServerSentEvent]:
        """Give the events that the next bytes complete.

        Raises:
            DecodeError: An event is larger than the limit.

        """
        try:
            return decoder.feed(chunk)
        except EventTooLarge as error:
            failure = self.decode_error(str(error))
        raise failure

    def decode_error(self, problem: str) -> DecodeError:
        """Give the error for a body that is not what it was read as."""
        return DecodeError(problem, method=self._call.method, path=self._call.path)

    async def aclose(self) -> None:
        """Close the connection, under cancellation too; safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            await self._body.aclose(within=self._cleanup)
