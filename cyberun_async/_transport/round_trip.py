"""One request and its response: bytes out and in, each within its limit. (send, receive, timeout)

`RoundTrip.run` carries one of four ways out (`call`, `submit`, `connect`, `keep_open`) in a child task that is bounded in time.
"""

import logging
from collections.abc import Awaitable, Callable

import anyio
import httpx

from cyberun_async._concurrency import Flight, run_in_child_task
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.error_responses import ERROR_TEXT, retry_after_of
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import Settings
from cyberun_async._transport.bodies import UnreadableBody, read_body
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.credential import Credential
from cyberun_async._transport.error_mapping import map_error
from cyberun_async._transport.requests import (
    is_event_stream,
    keep_alive,
    make_request,
    stream_headers,
    timeout_extension,
)
from cyberun_async._transport.response import Response, can_be_read, decode_error
from cyberun_async._transport.send_trace import SendTrace
from cyberun_async._transport.stream import Connection

log = logging.getLogger("cyberun_async.transport")


class RoundTrip:
    """Sends single requests, and reads their responses.

    Args:
        settings: Those of the client, or of a view on it.
        connections: Where the requests are sent.
        credential: Learns of a 429.

    """

    def __init__(self, settings: Settings, connections: Connections, credential: Credential) -> None:
        self._settings = settings
        self._connections = connections
        self._credential = credential
        timeouts = settings.timeouts
        self._timeout = timeout_extension(timeouts.connect, timeouts.read, timeouts.write)
        self._stream_timeout = timeout_extension(timeouts.connect, timeouts.stream, timeouts.write)

    def __repr__(self) -> str:
        """Show where requests go."""
        return f"<{type(self).__name__} to {self._settings.base_url}>"

    async def run(
        self,
        work: Callable[..., Awaitable[Response]],
        call: Call[object],
        token: Key,
        *arguments: object,
        attempt: int = 1,
        trace: SendTrace | None = None,
        is_proxied: bool = False,
    ) -> Response:
        """Carry out one of the ways below in a child task, report to the observer, and map what fails.

        Args:
            work: `call`, `submit`, `connect` or `keep_open`.
            call: What is sent.
            token: Signs it in.
            arguments: What else the way takes.
            attempt: How often the call is being sent, from 1.
            trace: Knows whether it has left.
            is_proxied: Whether it goes through to a container service, takes as long as that does, and may get its 429.

        """
        self._connections.check_open()
        settings, started = self._settings, anyio.current_time()
        instrumentation = settings.instrumentation
        request = None if instrumentation is None else instrumentation.request(call, attempt)
        status: int | None = None
        request_id: str | None = None
        failure: Exception | None = None
        error: str | None = "cancelled"
        try:
            response = await run_in_child_task(
                work,
                call,
                token,
                *arguments,
                timeout=None if is_proxied else settings.timeouts.call,
                among=self._connections.in_flight,
            )
            status, error, request_id = response.status, None, response.headers.get("x-request-id")
            if status == httpx.codes.TOO_MANY_REQUESTS and not is_proxied:
                # Before the slot is free: the next to hold it is to know.
                longest = self._settings.retries.retry_after
                self._credential.rate_limit.limited(retry_after_of(response.headers), longest=longest)
        except Exception as foreign:  # noqa: BLE001 - raised again, below
            failure = _mapped(call, foreign, token, trace)
            error = type(failure).__name__
        finally:
            seconds = anyio.current_time() - started
            if log.isEnabledFor(logging.DEBUG):
                outcome, named = status or error, "" if request_id is None else f", request {redact(request_id)[:200]}"
                log.debug("%s %s: %s in %.3f s, attempt %d%s", call.method, call.path, outcome, seconds, attempt, named)
            if instrumentation is not None and request is not None:
                instrumentation.response(request, seconds, status, error)
        if failure is None:
            return response
        try:
            raise failure
        finally:
            del failure

    async def call(self, call: Call[object], token: Key) -> Response:
        """Send a request, and read its response."""
        request = make_request(call, self._settings, token, self._timeout, {})
        return await self._read(await self._connections.send_call(request), token)

    async def submit(self, call: Call[object], token: Key, trace: SendTrace | None, flight: Flight | None) -> Response:
        """Send a request that must not be retried once it has left, and read its response.

        Args:
            call: What is sent.
            token: Signs it in.
            trace: Learns when it leaves; there is none through a client of the user's.
            flight: Likewise.

        """
        extensions = self._timeout if trace is None else {**self._timeout, "trace": trace}
        request = make_request(call, self._settings, token, extensions, {})
        if trace is None and flight is not None:
            # A client of the user's shows nothing of it.
            flight.begin()
        response = await self._connections.send_submission(request)
        received = bytearray()
        try:
            return await self._read(response, token, received=received)
        except Exception:
            # The connection broke, but what had arrived by then may say all that there is to know.
            if not response.is_success or not can_be_read(call, bytes(received), response.headers):
                raise
            return Response(response.status_code, response.headers, bytes(received), token)

    async def connect(self, call: Call[None], token: Key, last_event_id: str, opened: list[Connection]) -> Response:
        """Open an event stream into `opened`, or read the response that there was instead."""
        request = make_request(call, self._settings, token, self._stream_timeout, stream_headers(last_event_id))
        response = await self._connections.send_stream(request)
        if not is_event_stream(response):
            return await self._read(response, token, cut=True)
        connection = Connection(
            call,
            response,
            max_event_bytes=self._settings.limits.max_event_bytes,
            silence=self._settings.timeouts.stream,
            cleanup=self._settings.timeouts.cleanup,
            on_close=self._connections.release_stream,
        )
        opened.append(connection)
        keep_alive(response)
        return Response(response.status_code, response.headers, b"", token)

    async def keep_open(
        self,
        _: Call[None],
        token: Key,
        make: Callable[[Settings, Key, dict[str, object]], httpx.Request],
        keep: Callable[[httpx.Response], bool],
    ) -> Response:
        """Send a request by a connection of its own, and leave the body of its response unread where that is wanted.

        Args:
            token: Signs it in.
            make: Gives the request.
            keep: Takes over the response, unless it is to be read here.

        """
        response = await self._connections.send_stream(make(self._settings, token, self._stream_timeout))
        if not keep(response):
            return await self._read(response, token, cut=True)
        keep_alive(response)
        return Response(response.status_code, response.headers, b"", token)

    async def _read(
        self, response: httpx.Response, token: Key, *, cut: bool = False, received: bytearray | None = None
    ) -> Response:
        cut = cut or not response.is_success
        limit = ERROR_TEXT if cut else self._settings.limits.max_response_bytes
        cleanup = self._settings.timeouts.cleanup
        body = await read_body(response, limit, cut=cut, cleanup=cleanup, received=received)
        return Response(response.status_code, response.headers, body, token)


def _mapped(call: Call[object], failure: Exception, token: Key, trace: SendTrace | None) -> Exception:
    if isinstance(failure, UnreadableBody):
        return decode_error(call, str(failure), token, failure.body)
    return map_error(call, failure, [token], trace)
