"""From a call to its answer: signing in, waiting one's turn, sending, reading, repeating."""

import logging
import time
from collections.abc import Awaitable, Callable
from types import NoneType
from typing import TypeVar
from urllib.parse import urlencode

import anyio
import anyio.lowlevel
import attrs
import httpx

from cyberun_async._errors import APIError, ConfigurationError, DecodeError, RateLimitError, TransportError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.codec import decode_json, encode_json
from cyberun_async._protocol.credentials import check_key
from cyberun_async._protocol.refusals import refusal
from cyberun_async._protocol.retrying import delay_before_retry
from cyberun_async._settings import Settings
from cyberun_async._transport.bodies import UnreadableBody, read_body
from cyberun_async._transport.exchange import as_child, finish
from cyberun_async._transport.failures import failures_of
from cyberun_async._transport.pools import TCP_KEEP_ALIVE, SmallPools
from cyberun_async._transport.stream import Connection

log = logging.getLogger("cyberun_async.transport")

T = TypeVar("T")

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
"""Sends a request and gives the response with its body unread."""

ERROR_TEXT = 64 * 1024
"""Bytes of a refusal's body that are read."""


@attrs.frozen
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Transport:
    """Sends calls and opens event streams, each within a budget of its own.

    Args:
        settings: The client's settings.
        http_client: A client of the user's own to send through; it is never closed here.

    """

    def __init__(self, settings: Settings, http_client: httpx.AsyncClient | None = None) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._base = settings.base_url
        self._pools: list[SmallPools] = []
        self._send_call: Send
        self._send_stream: Send
        if http_client is None:
            calls = SmallPools()
            streams = SmallPools(per_pool=1, keep_alive=0, socket_options=TCP_KEEP_ALIVE)
            self._pools = [calls, streams]
            self._send_call, self._send_stream = calls.handle_async_request, streams.handle_async_request
        else:
            self._send_call = self._send_stream = sender_of(http_client)
        timeouts = settings.timeouts
        self._call_timeout = timeout_extension(timeouts.connect, timeouts.read, timeouts.write)
        self._stream_timeout = timeout_extension(timeouts.connect, timeouts.stream, timeouts.write)
        self._gate = anyio.Semaphore(settings.limits.max_connections, fast_acquire=True)
        self._free_streams = settings.limits.max_streams
        self._home = HomeLoop()
        self._is_closed = False
        self._not_before = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return any(pools.is_open for pools in self._pools)

    def check_usable(self) -> None:
        """Refuse another event loop than that of the first use, and a closed transport.

        Raises:
            ConfigurationError: One of the two is the case.

        """
        if self._is_closed:
            message = "this client is closed: make a new one"
            raise ConfigurationError(message)
        self._home.check()

    async def aclose(self) -> None:
        """Close every connection, under cancellation too; safe to call twice."""
        self._is_closed = True
        if self.is_open:
            self._home.check()
            for pools in self._pools:
                await finish(pools.aclose, within=self._settings.timeouts.cleanup)

    # Calls

    async def send(self, call: Call[T]) -> T:
        """Send a call and give what its answer says, repeating it where that costs nothing.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.
            DecodeError: The answer is not what the API promises.

        """
        started = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self.send_once(call)
            except (APIError, TransportError) as error:
                failure = error
            elapsed = time.monotonic() - started
            delay = delay_before_retry(call, failure, attempt, elapsed=elapsed, retries=self._settings.retries)
            if delay is None or anyio.current_time() + delay >= anyio.current_effective_deadline():
                raise failure
            log.debug("attempt %d failed, again in %.2f s: %s", attempt, delay, failure)
            await anyio.sleep(delay)

    async def send_once(self, call: Call[T]) -> T:
        """Send a call as `send` does, but never again after a failure."""
        self.check_usable()
        while (wait := self._not_before - time.monotonic()) > 0:
            await anyio.sleep(wait)
        try:
            return self._read(call, await self._attempt(call))
        except RateLimitError as failure:
            self._slow_down(failure)
            raise

    async def _attempt(self, call: Call[T]) -> _Answer:
        """Send a call once, or twice where a fresh token may be what it takes."""
        answer = await self._exchange(call, await self._token())
        if answer.status == httpx.codes.UNAUTHORIZED and callable(self._settings.token):
            answer = await self._exchange(call, await self._token())
        return answer

    async def _exchange(self, call: Call[T], token: str) -> _Answer:
        request = self._request(call, token, self._call_timeout)
        limits, timeouts = self._settings.limits, self._settings.timeouts

        async def exchange() -> _Answer:
            response = await self._send_call(request)
            good = response.is_success
            body = await read_body(
                response, limits.max_answer if good else ERROR_TEXT, cut=not good, cleanup=timeouts.cleanup
            )
            return _Answer(response.status_code, response.headers, body)

        started = time.monotonic()
        try:
            with failures_of(call):
                async with self._gate:
                    answer = await as_child(exchange, timeout=timeouts.call)
        except UnreadableBody as error:
            raise _decode_error(call, str(error)) from None
        log.debug("%s %s: %d in %.3f s", call.method, call.path, answer.status, time.monotonic() - started)
        return answer

    def _read(self, call: Call[T], answer: _Answer) -> T:
        """Give what an answer says."""
        if not answer.is_success:
            raise self._refusal(call, answer)
        if call.returns is NoneType:
            return None  # type: ignore[return-value]
        try:
            return decode_json(answer.body, call.returns)
        except DecodeError as error:
            raise _decode_error(call, error.problem) from None

    # Streams

    @property
    def has_free_stream(self) -> bool:
        """Whether one more stream may be opened."""
        return self._free_streams > 0

    async def open_stream(self, call: Call[None], *, last_event_id: str = "") -> Connection:
        """Open an event stream, once.

        Args:
            call: The endpoint of the stream.
            last_event_id: The last `id:` seen, where the server sends them.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.
            DecodeError: The answer is not an event stream.

        """
        self.check_usable()
        self._free_streams -= 1
        opened: list[Connection] = []
        try:
            await self._open_stream(call, last_event_id, opened)
        except BaseException:
            for connection in opened:
                await connection.aclose()
            self._free_streams += not opened
            raise
        return opened[0]

    async def _open_stream(self, call: Call[None], last_event_id: str, opened: list[Connection]) -> None:
        answer = await self._try_stream(call, last_event_id, opened)
        if answer.status == httpx.codes.UNAUTHORIZED and callable(self._settings.token):
            answer = await self._try_stream(call, last_event_id, opened)
        if not answer.is_success:
            raise self._refusal(call, answer)
        if not opened:
            raise _decode_error(
                call, f"its content type is {answer.headers.get('content-type')!r}, not text/event-stream"
            )

    async def _try_stream(self, call: Call[None], last_event_id: str, opened: list[Connection]) -> _Answer:
        """Open a stream into `opened`, or give the answer that there was instead."""
        request = self._request(call, await self._token(), self._stream_timeout)
        request.headers["Accept"] = "text/event-stream"
        request.headers["Cache-Control"] = "no-store"
        if last_event_id:
            request.headers["Last-Event-ID"] = last_event_id
        timeouts = self._settings.timeouts

        async def open_it() -> _Answer:
            response = await self._send_stream(request)
            if is_event_stream(response):
                opened.append(
                    Connection(
                        call,
                        response,
                        max_event=self._settings.limits.max_event,
                        cleanup=timeouts.cleanup,
                        on_close=self._stream_closed,
                    )
                )
                return _Answer(response.status_code, response.headers, b"")
            body = await read_body(response, ERROR_TEXT, cut=True, cleanup=timeouts.cleanup)
            return _Answer(response.status_code, response.headers, body)

        try:
            with failures_of(call):
                return await as_child(open_it, timeout=timeouts.call)
        except UnreadableBody as error:
            raise _decode_error(call, str(error)) from None

    def _stream_closed(self) -> None:
        self._free_streams += 1

    # Requests

    async def _token(self) -> str:
        token = self._settings.token
        return token if isinstance(token, str) else check_key(await token())

    def _request(self, call: Call[T], token: str, timeout: dict[str, object]) -> httpx.Request:
        # Made by hand, so that no default header, cookie or parameter of a user's own client gets in.
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {token}",
            "User-Agent": "cyberun-async",
        }
        if self._settings.team_id is not None:
            headers["X-Team-ID"] = self._settings.team_id
        content = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            content = encode_json(call.body)
        url = self._base + call.path
        if call.query:
            url = f"{url}?{urlencode(call.query)}"
        return httpx.Request(call.method, url, headers=headers, content=content, extensions=timeout)

    def _refusal(self, call: Call[T], answer: _Answer) -> APIError:
        token = self._settings.token
        return refusal(
            answer.status,
            answer.headers,
            answer.body,
            method=call.method,
            path=call.path,
            secrets=(token,) if isinstance(token, str) else (),
            task_id=call.task_id,
        )

    # Rate limits

    def _slow_down(self, failure: RateLimitError) -> None:
        """Let one 429 hold back every call of the client."""
        asked = failure.retry_after
        if asked is not None and asked <= self._settings.retries.retry_after:
            self._not_before = max(self._not_before, time.monotonic() + asked)


class HomeLoop:
    """Remembers the event loop of the first use, to refuse another."""

    def __init__(self) -> None:
        """Know no loop yet."""
        self._token: object = None

    def check(self) -> None:
        """Refuse to go on in another event loop: connections cannot move between loops.

        Raises:
            ConfigurationError: This is another event loop than that of the first use.

        """
        token = anyio.lowlevel.current_token().native_token
        if self._token is None:
            self._token = token
        elif token is not self._token:
            message = (
                "this client was first used in another event loop, and its connections live there: "
                "make one client for each event loop (each asyncio.run)"
            )
            raise ConfigurationError(message)


def sender_of(client: httpx.AsyncClient) -> Send:
    """Send through a user's own client, by its transport and proxies, but without its auth and redirects."""

    async def send(request: httpx.Request) -> httpx.Response:
        return await client.send(request, stream=True, auth=None, follow_redirects=False)

    return send


def timeout_extension(connect: float, read: float, write: float) -> dict[str, object]:
    """Give the time limits of a request in the form that transports read."""
    return {"timeout": {"connect": connect, "read": read, "write": write, "pool": connect}}


def is_event_stream(response: httpx.Response) -> bool:
    """Whether the body is a stream of events, and not compressed."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = response.headers.get("content-encoding", "identity").lower()
    return response.status_code == httpx.codes.OK and kind == "text/event-stream" and encoding == "identity"


def _decode_error(call: Call[T], problem: str) -> DecodeError:
    return DecodeError(problem, method=call.method, path=call.path, task_id=call.task_id)
