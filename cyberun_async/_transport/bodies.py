"""Bodies: those of requests, and reading and closing those of responses, within a limit. (stream, max bytes)"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import httpx

from cyberun_async._transport.content_codings import decompress
from cyberun_async._transport.early_response import unless_answered
from cyberun_async._transport.error_mapping import as_foreign

if TYPE_CHECKING:
    # It takes a while to import, and httpx leaves it to the first client, too.
    import h11

_MAX_WRAPPED = 8
"""Streams inside of each other, of which httpx and httpcore make three, and this package makes a fourth."""


class UnreadableBody(Exception):
    """A body is larger than the limit, as sent or once expanded, or compressed in a way that was not asked for.

    Attributes:
        body: What was read of it.

    """

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


class OneBlock(httpx.AsyncByteStream):
    """The body of a request as it is in memory.

    httpx's own is read by an async generator, which a cancelled request leaves to the garbage collector.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give it once, from the beginning."""
        return _Once(self._content)


class _Once(AsyncIterator[bytes]):
    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    async def __anext__(self) -> bytes:
        content, self._content = self._content, None
        if content is None:
            raise StopAsyncIteration
        return content


class RequestBody(httpx.AsyncByteStream):
    """The body of a request, which httpx would read by an async generator: of a cancelled one the collector is left.

    Attributes:
        failure: What the content has raised. It is its owner's error, and none of the layers that have asked for it.
        is_exhausted: Whether all of it was asked for.

    """

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self._content = aiter(content)
        self.failure: Exception | None = None
        self.is_exhausted = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body itself."""
        return self

    async def __anext__(self) -> bytes:
        """Give the next block, unless the response has come."""
        return await unless_answered(self._next)

    async def _next(self) -> bytes:
        try:
            return await self._content.__anext__()
        except StopAsyncIteration:
            self.is_exhausted = True
            raise
        except Exception as failure:
            self.failure = failure
            raise


def raw_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Iterate over a body as it arrives, without what httpx adds on top."""
    return response.stream.__aiter__()  # type: ignore[union-attr]


async def read_body(
    response: httpx.Response, limit: int, *, cut: bool = False, cleanup: float, received: bytearray | None = None
) -> bytes:
    """Read a complete body and close the response.

    Args:
        response: As it comes from the transport, its body unread.
        limit: The most bytes that are taken in.
        cut: Whether to give what there is of a body that is larger or cannot be expanded, instead of an error.
        cleanup: Seconds that closing may take.
        received: Gets the body as it arrives, for those who can use a part of it.

    Raises:
        UnreadableBody: It is larger than the limit, or does not expand, or was compressed other than by gzip or deflate.

    """
    chunks = raw_chunks(response)
    unfinished: AsyncIterator[bytes] | None = chunks
    body = bytearray() if received is None else received
    try:
        async for chunk in chunks:
            body += chunk
            if len(body) > limit:
                break
        else:
            unfinished = None
    except Exception as error:  # noqa: BLE001 - raised again; `below` would cost each call more
        raise as_foreign(error) from error.__cause__
    finally:
        with anyio.move_on_after(cleanup, shield=True):
            await close_body(response.stream, unfinished)
    try:
        expanded = decompress(bytes(body), response.headers.get("content-encoding", ""), limit + 1)
    except ValueError as failure:
        if not cut:
            raise UnreadableBody(f"its body is {failure}", bytes(body)) from None
        return b""
    if len(expanded) > limit and not cut:
        message = f"its body has more than {limit} bytes (Limits.max_response_bytes)"
        raise UnreadableBody(message, bytes(body))
    return expanded[:limit]


async def close_body(stream: object, unfinished: AsyncIterator[bytes] | None) -> None:
    """Close the stream of a response at whatever point it is; `unfinished` is its iterator unless that has come to its end.

    httpx and httpcore read a body through generators inside of generators, and closing the outer one leaves the
    inner ones to the garbage collector, about which trio complains. Reading on under cancellation ends them all from
    the inside, and closes the connection, unless what is left of the body was there already: then it can be used
    again. What goes beyond the end of the body closes it in any case.

    Nothing that fails here takes anything from a response that was read, so it is no error.
    """
    try:
        if unfinished is not None:
            with anyio.CancelScope() as scope, suppress(Exception):
                scope.cancel()
                async for _ in unfinished:
                    pass
    finally:
        with suppress(Exception):
            _refuse_surplus(stream)
        with suppress(Exception):
            await stream.aclose()  # type: ignore[attr-defined]


def has_surplus(stream: object) -> bool:
    """Whether a connection has brought more than its response, if httpx and httpcore are built as we know them."""
    return _parser_with_surplus(stream) is not None


def _refuse_surplus(stream: object) -> None:
    """Have a connection closed that has brought more than its response.

    httpcore would keep it, and hand the surplus out as the response to the next request: the task of another submission,
    or the bytes of another file.

    Source: https://www.rfc-editor.org/rfc/rfc9112#section-6.3-8
    """
    parser = _parser_with_surplus(stream)
    if parser is not None:
        parser.send_failed()


def _parser_with_surplus(stream: object) -> "h11.Connection | None":
    for _ in range(_MAX_WRAPPED):
        parser: h11.Connection | None = getattr(getattr(stream, "_connection", None), "_h11_state", None)
        if parser is not None and parser.trailing_data[0]:
            return parser
        stream = getattr(stream, "_httpcore_stream", None) or getattr(stream, "_stream", None)
    return None
