"""One request and its response: bytes out and in, each within its limit. (send, receive, timeout)

What is here runs inside of a child task, which `Transport` starts, bounds in time, and whose failures it maps.
"""

import httpx

from cyberun_async._concurrency import Flight
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.error_responses import ERROR_TEXT
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import Settings
from cyberun_async._transport.bodies import read_body
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.requests import (
    is_event_stream,
    keep_alive,
    make_request,
    stream_headers,
    timeout_extension,
)
from cyberun_async._transport.response import Response, can_be_read
from cyberun_async._transport.send_trace import SendTrace
from cyberun_async._transport.stream import Connection


class RoundTrip:
    """Sends single requests, and reads their responses.

    Args:
        settings: Those of the client, or of a view on it.
        connections: Where the requests are sent.

    """

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self._settings = settings
        self._connections = connections
        timeouts = settings.timeouts
        self._timeout = timeout_extension(timeouts.connect, timeouts.read, timeouts.write)
        self._stream_timeout = timeout_extension(timeouts.connect, timeouts.stream, timeouts.write)

    def __repr__(self) -> str:
        """Show where requests go."""
        return f"<{type(self).__name__} to {self._settings.base_url}>"

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

    async def _read(
        self, response: httpx.Response, token: Key, *, cut: bool = False, received: bytearray | None = None
    ) -> Response:
        cut = cut or not response.is_success
        limit = ERROR_TEXT if cut else self._settings.limits.max_response_bytes
        cleanup = self._settings.timeouts.cleanup
        body = await read_body(response, limit, cut=cut, cleanup=cleanup, received=received)
        return Response(response.status_code, response.headers, body, token)
