"""Opening an event stream: what is counted, what is waited for, and in which order. (SSE, max_streams, rate limit)

A stream has no slot of a call. It is counted in the budget of streams from before it is opened until it is closed, whatever
happens in between: closed by its owner once it is open, else here. At most sixteen are in the act of being opened.

Neither is held while a token is asked for or a rate limit's pause goes on, since both are everybody's, and tokens and
pauses are one credential's. Afterwards the budget may be used up, and then there is no stream.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import httpx

from cyberun_async._errors import APIError, RateLimitError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.secret import Key
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.content_codings import compressions
from cyberun_async._transport.credential import Credential
from cyberun_async._transport.response import Response, decode_error
from cyberun_async._transport.round_trip import RoundTrip
from cyberun_async._transport.stream import Connection

T = TypeVar("T")


async def open_stream(
    trips: RoundTrip,
    connections: Connections,
    credential: Credential,
    call: Call[None],
    *,
    last_event_id: str,
    api_error: Callable[[Call[object], Response], APIError],
) -> Connection:
    """Open an event stream; see `Transport.open_stream`."""
    token = await credential.sign_in.token(call)
    connections.free_streams -= 1
    opened: list[Connection] = []
    try:
        if credential.sign_in.has_provider:
            _check_budget(connections, call)
        response = await _connect(
            trips, connections, credential, call, token, last_event_id=last_event_id, opened=opened
        )
        if not response.is_success:
            raise api_error(call, response)
        if not opened:
            kind, encoding = (response.headers.get(name, "")[:100] for name in ("content-type", "content-encoding"))
            compressed = f" compressed by {encoding!r}" if compressions(encoding) else ""
            problem = (
                f"{response.status} with the content type {kind!r}{compressed}, where a text/event-stream should be"
            )
            raise decode_error(call, problem, response.token)
    except BaseException:
        for connection in opened:
            await connection.aclose()
        if not opened:
            connections.release_stream()
        raise
    credential.has_answered = True
    return opened[0]


async def _connect(
    trips: RoundTrip,
    connections: Connections,
    credential: Credential,
    call: Call[None],
    token: Key,
    *,
    last_event_id: str,
    opened: list[Connection],
) -> Response:
    """Open a stream into `opened`, or give the response that there was instead; once more after a 401."""
    sign_in, pause = credential.sign_in, credential.rate_limit
    is_last = not sign_in.has_provider
    while True:
        if pause.is_on:
            await _without_stream(connections, call, pause.wait)
        async with connections.opening_slots:
            if pause.is_on:
                continue
            response = await trips.run(trips.connect, call, token, last_event_id, opened)
        if is_last or response.status != httpx.codes.UNAUTHORIZED:
            return response
        is_last = True
        token = await _without_stream(connections, call, partial(sign_in.token, call, rejected=token))


async def _without_stream(connections: Connections, call: Call[None], work: Callable[[], Awaitable[T]]) -> T:
    """Do something; meanwhile others may have the stream that is about to be opened.

    Raises:
        RateLimitError: They have it still.

    """
    connections.release_stream()
    try:
        result = await work()
    finally:
        connections.free_streams -= 1
    _check_budget(connections, call)
    return result


def _check_budget(connections: Connections, call: Call[None]) -> None:
    if connections.free_streams < 0:
        message = "it had to wait for a token or for the end of a pause, and there is no free stream now"
        raise RateLimitError(429, message, method=call.method, path=call.path, task_id=call.task_id)
