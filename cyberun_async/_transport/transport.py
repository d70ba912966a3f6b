"""From a call to its answer: signing in, waiting one's turn, sending, reading, repeating."""

import logging
from collections.abc import Awaitable, Callable, Generator
from types import NoneType
from typing import TypeVar

import anyio
import anyio.lowlevel
import attrs
import httpx

from cyberun_async._concurrency import Flight, InFlight, run_in_child_task, run_shielded
from cyberun_async._errors import APIError, ConfigurationError, DecodeError, TransportError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.codec import item_builder, structure
from cyberun_async._protocol.error_responses import ERROR_TEXT, api_error, retry_after_of
from cyberun_async._protocol.json_steps import finished, parse_in_steps
from cyberun_async._protocol.mismatch_log import MismatchLog
from cyberun_async._protocol.redaction import redact, redacted
from cyberun_async._protocol.secret import Key
from cyberun_async._protocol.tasks import Submitted, Task, TaskResult, check_task, with_task_id
from cyberun_async._settings import Settings
from cyberun_async._transport.bodies import UnreadableBody, read_body
from cyberun_async._transport.content_codings import compressions
from cyberun_async._transport.error_mapping import as_ours, map_exceptions
from cyberun_async._transport.log_redaction import redact_foreign_logs
from cyberun_async._transport.loop_guard import EventLoopGuard
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.recent_submissions import RecentSubmissions
from cyberun_async._transport.requests import (
    Send,
    check_base_address,
    is_event_stream,
    keep_alive,
    make_request,
    sender_of,
    stream_headers,
    timeout_extension,
)
from cyberun_async._transport.retry import delay_before_retry
from cyberun_async._transport.send_trace import SendTrace
from cyberun_async._transport.sharded_pool import ShardedTransport
from cyberun_async._transport.sign_in import SignIn
from cyberun_async._transport.stream import Connection

log = logging.getLogger("cyberun_async.transport")

T = TypeVar("T")

_TO_WHAT_WAS_MADE = (301, 302, 303)
"""Redirects that do not repeat a POST; the pages of the first two, as of a proxy's login, have ids of their own."""

OPENING = 16
"""Streams in the act of being opened: it takes the loop milliseconds, for which events of open ones would wait."""


@attrs.frozen(eq=False)
class Answer:
    """What the server said to one call; its body within the limit."""

    status: int
    headers: httpx.Headers = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    token: Key = attrs.field(repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Transport:
    """Sends calls and opens event streams, each within a budget of its own.

    Args:
        settings: The client's settings.
        http_client: A client of the user's own to send through; it is never closed here.

    Attributes:
        on_free_stream: Called whenever a stream has ended, so that another may be opened.
        refused_for_rate: How often the server has said 429 so far.
        mismatches: Logs which fields of responses differ from their documentation.
        has_answered: Whether the API has answered a call, or opened a stream, so that it can be reached by this client.
        recent: The tasks that were submitted a moment ago.

    """

    __reduce__ = refuse_copies

    def __init__(self, settings: Settings, http_client: httpx.AsyncClient | None = None) -> None:
        """Open nothing yet."""
        redact_foreign_logs()
        self._settings = settings
        self._pools: tuple[ShardedTransport, ...] = ()
        self._send_call: Send
        self._send_stream: Send
        self._send_submission: Send
        check_base_address(settings.base_url)
        if http_client is None:
            calls = ShardedTransport(http2=settings.http2)
            # httpcore looks at an idle connection's socket before it uses it again, but not by HTTP/2: what is sent on
            # one that the server has closed counts as sent, and a submission could not be retried.
            submissions = ShardedTransport() if settings.http2 else calls
            # One silent stream holds up every other answer on a connection of HTTP/2.
            streams = ShardedTransport(per_pool=1, keep_alive=0, is_patient=True)
            self._pools = (calls, submissions, streams) if settings.http2 else (calls, streams)
            self._send_call, self._send_stream = calls.handle_async_request, streams.handle_async_request
            self._send_submission = submissions.handle_async_request
        else:
            self._send_call = self._send_stream = self._send_submission = sender_of(http_client)
        timeouts = settings.timeouts
        self._call_timeout = timeout_extension(timeouts.connect, timeouts.read, timeouts.write)
        self._stream_timeout = timeout_extension(timeouts.connect, timeouts.stream, timeouts.write)
        self._gate = anyio.Semaphore(settings.limits.max_connections, fast_acquire=True)
        self._opening = anyio.Semaphore(OPENING, fast_acquire=True)
        self._free_streams = settings.limits.max_streams
        self.on_free_stream: Callable[[], None] = lambda: None
        self.refused_for_rate: int = 0
        self.mismatches: MismatchLog = MismatchLog()
        self.has_answered: bool = False
        self.recent: RecentSubmissions = RecentSubmissions()
        self._in_flight = InFlight()
        self._home = EventLoopGuard()
        self._sign_in = SignIn(settings.token, within=settings.timeouts.call)
        self._is_closed = False
        self._not_before = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return any(pools.is_open for pools in self._pools)

    @property
    def is_closed(self) -> bool:
        """Whether this was closed."""
        return self._is_closed

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
        """End what is going on and close every connection, under cancellation too; safe to call twice."""
        self._is_closed = True
        if self.is_open:
            self._home.check()
        await run_shielded(self._close, within=self._settings.timeouts.cleanup)

    async def _close(self) -> None:
        await self._in_flight.aclose()
        for pools in self._pools:
            await pools.aclose()

    @property
    def base_url(self) -> str:
        """Where calls go."""
        return self._settings.base_url

    @property
    def is_own(self) -> bool:
        """Whether the connections are made here, and not by a client of the user's."""
        return bool(self._pools)

    # Calls

    async def send(self, call: Call[T], *, urgent: bool = False, flight: Flight | None = None) -> T:
        """Send a call and give what its answer says, repeating it where that costs nothing.

        Args:
            call: What is sent.
            urgent: Whether it is a clean-up, which waits neither for a slot nor for the end of a rate limit's pause.
            flight: Is told when a request that must not be repeated leaves.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.
            DecodeError: The answer is not what the API documents.

        """
        attempt = 0
        first_failed: float | None = None
        while True:
            attempt += 1
            try:
                return await self._read(call, await self.fetch(call, attempt=attempt, urgent=urgent, flight=flight))
            except (APIError, TransportError) as error:
                failure = error
            now = anyio.current_time()
            first_failed = now if first_failed is None else first_failed
            delay = delay_before_retry(
                call, failure, attempt, elapsed=now - first_failed, retries=self._settings.retries
            )
            if delay is None or now + delay >= anyio.current_effective_deadline():
                raise failure
            log.debug("%s %s: attempt %d failed, retry in %.2f s: %s", call.method, call.path, attempt, delay, failure)
            if self._settings.instrumentation is not None:
                self._settings.instrumentation.retry(call, attempt, delay, failure)
            if flight is not None:
                flight.reset()
            await anyio.sleep(delay)

    async def send_once(self, call: Call[T]) -> T:
        """Send a call as `send` does, but never again after a failure."""
        return await self._read(call, await self.fetch(call))

    async def fetch(
        self, call: Call[object], *, attempt: int = 1, urgent: bool = False, flight: Flight | None = None
    ) -> Answer:
        """Send a call once, and give the answer as it came, a refusal too.

        Raises:
            TransportError: The server did not answer.
            DecodeError: The answer is larger than the limit.

        """
        self.check_usable()

        async def exchange(token: Key) -> Answer:
            if urgent:
                return await self._attempt(call, token, attempt, flight)
            async with self._gate:
                # Behind the slot: what waited for one must not go out into a pause that began meanwhile.
                await self._pause()
                return await self._attempt(call, token, attempt, flight)

        return await self._signed_in(call, exchange)

    async def _attempt(self, call: Call[object], token: Key, attempt: int, flight: Flight | None) -> Answer:
        self.check_usable()
        if call.repeatable:
            return await self._exchange(call, token, attempt, lambda: self._call(call, token))
        trace = SendTrace(flight) if self.is_own else None
        return await self._exchange(call, token, attempt, lambda: self._submit(call, token, trace, flight), trace)

    async def _call(self, call: Call[object], token: Key) -> Answer:
        """Send a request and read its answer."""
        response = await self._send_call(make_request(call, self._settings, token, self._call_timeout, {}))
        return await self._whole(response, token)

    async def _submit(self, call: Call[object], token: Key, trace: SendTrace | None, flight: Flight | None) -> Answer:
        """Send a request that must not be repeated once it has left, and read its answer."""
        extensions = self._call_timeout if trace is None else {**self._call_timeout, "trace": trace}
        request = make_request(call, self._settings, token, extensions, {})
        if trace is None and flight is not None:
            # A client of the user's shows nothing of it.
            flight.begin()
        response = await self._send_submission(request)
        received = bytearray()
        try:
            return await self._whole(response, token, received=received)
        except Exception:
            # The connection broke, but what had arrived by then may say all that there is to know.
            if not response.is_success or not _can_be_read(call, bytes(received), response.headers):
                raise
            return Answer(response.status_code, response.headers, bytes(received), token)

    async def _whole(
        self, response: httpx.Response, token: Key, *, cut: bool = False, received: bytearray | None = None
    ) -> Answer:
        cut = cut or not response.is_success
        limit = ERROR_TEXT if cut else self._settings.limits.max_response_bytes
        cleanup = self._settings.timeouts.cleanup
        body = await read_body(response, limit, cut=cut, cleanup=cleanup, received=received)
        return Answer(response.status_code, response.headers, body, token)

    def read(self, call: Call[T], answer: Answer) -> T:
        """Give what an answer says.

        Raises:
            APIError: It is a refusal.
            DecodeError: It is not what the API documents.

        """
        return finished(self._reading(call, answer))

    async def _read(self, call: Call[T], answer: Answer) -> T:
        """Give what an answer says, and let the event loop in while a large one is read."""
        steps = self._reading(call, answer)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            await anyio.lowlevel.checkpoint()

    def _reading(self, call: Call[T], answer: Answer) -> Generator[None, None, T]:
        # A redirect is how some servers say where the task is that they have made.
        said = answer.body if answer.status == httpx.codes.SEE_OTHER else b""
        is_elsewhere = answer.status in _TO_WHAT_WAS_MADE and _can_be_read(call, said, answer.headers)
        if not answer.is_success and not is_elsewhere:
            raise self._api_error(call, answer)
        if call.returns is NoneType:
            return None  # type: ignore[return-value]
        try:
            record = yield from self._structured(call, answer)
        except DecodeError as error:
            failure = _decode_error(call, error.problem, answer.token, answer.body)
        else:
            self.has_answered = True
            if isinstance(record, Submitted):
                self.recent.add(record.task_id, anyio.current_time())
            return record
        # In there, the first error would become its context, whose frames hold the whole answer.
        raise failure

    def _structured(self, call: Call[T], answer: Answer) -> Generator[None, None, T]:
        """Structure a body, and refuse what is about another task than was asked about."""
        if call.read is not None:
            return call.read(answer.body, answer.headers)
        value = yield from parse_in_steps(answer.body, item_builder(call.returns, self.mismatches))
        if call.task_id is not None:
            value = with_task_id(value, call.task_id)
        record = structure(value, call.returns, self.mismatches)
        if call.task_id is not None and isinstance(record, (Task, TaskResult)):
            check_task(record.id, call.task_id)
        return record

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
            async with self._opening:
                await self._open_stream(call, last_event_id, opened)
        except BaseException:
            for connection in opened:
                await connection.aclose()
            if not opened:
                self._stream_closed()
            raise
        return opened[0]

    async def _open_stream(self, call: Call[None], last_event_id: str, opened: list[Connection]) -> None:
        async def exchange(token: Key) -> Answer:
            await self._pause()
            self.check_usable()
            return await self._exchange(call, token, 1, lambda: self._connect(call, token, last_event_id, opened))

        answer = await self._signed_in(call, exchange)
        if not answer.is_success:
            raise self._api_error(call, answer)
        if not opened:
            kind, encoding = (answer.headers.get(name, "")[:100] for name in ("content-type", "content-encoding"))
            compressed = f" compressed by {encoding!r}" if compressions(encoding) else ""
            problem = f"{answer.status} with the content type {kind!r}{compressed}, where a text/event-stream should be"
            raise _decode_error(call, problem, answer.token)

    async def _connect(self, call: Call[None], token: Key, last_event_id: str, opened: list[Connection]) -> Answer:
        """Open a stream into `opened`, or read the answer that there was instead."""
        headers = stream_headers(last_event_id)
        response = await self._send_stream(make_request(call, self._settings, token, self._stream_timeout, headers))
        if not is_event_stream(response):
            return await self._whole(response, token, cut=True)
        connection = Connection(
            call,
            response,
            max_event_bytes=self._settings.limits.max_event_bytes,
            silence=self._settings.timeouts.stream,
            cleanup=self._settings.timeouts.cleanup,
            on_close=self._stream_closed,
        )
        opened.append(connection)
        self.has_answered = True
        keep_alive(response)
        return Answer(response.status_code, response.headers, b"", token)

    def _stream_closed(self) -> None:
        self._free_streams += 1
        self.on_free_stream()

    # Both

    async def _signed_in(self, call: Call[object], exchange: Callable[[Key], Awaitable[Answer]]) -> Answer:
        """Carry out an exchange once, or twice where a fresh token may be what it takes."""
        answer = await exchange(await self._sign_in.token(call))
        if answer.status == httpx.codes.UNAUTHORIZED and self._sign_in.has_provider:
            answer = await exchange(await self._sign_in.token(call))
        return answer

    async def _exchange(
        self,
        call: Call[object],
        token: Key,
        attempt: int,
        work: Callable[[], Awaitable[Answer]],
        trace: SendTrace | None = None,
    ) -> Answer:
        """Carry out one attempt, tell of it, and turn what goes wrong below into our errors."""
        instrumentation, started = self._settings.instrumentation, anyio.current_time()
        request = None if instrumentation is None else instrumentation.request(call, attempt)
        status: int | None = None
        error: str | None = "cancelled"

        def ours(failure: Exception) -> Exception:
            nonlocal error
            if isinstance(failure, UnreadableBody):
                mapped: Exception = _decode_error(call, str(failure), token, failure.body)
            else:
                mapped = as_ours(call, failure, [token], trace)
            error = type(mapped).__name__
            return mapped

        try:
            answer = await map_exceptions(
                lambda: run_in_child_task(work, timeout=self._settings.timeouts.call, among=self._in_flight), ours
            )
            status, error = answer.status, None
            if status == httpx.codes.TOO_MANY_REQUESTS:
                # Before the slot is free: whoever has it next is to know.
                self._slow_down(retry_after_of(answer.headers))
        finally:
            seconds = anyio.current_time() - started
            log.debug("%s %s: %s in %.3f s", call.method, call.path, status or error, seconds)
            if instrumentation is not None and request is not None:
                instrumentation.response(request, seconds, status, error)
        return answer

    def _api_error(self, call: Call[T], answer: Answer) -> APIError:
        # Its own error responses are JSON; anything else may come from what stands in front of it.
        self.has_answered |= answer.body.lstrip()[:1] == b"{"
        return api_error(
            answer.status,
            answer.headers,
            answer.body,
            method=call.method,
            path=call.path,
            secrets=(answer.token,),
            task_id=call.task_id,
        )

    # Rate limits

    def _slow_down(self, asked: float | None) -> None:
        """Let one 429 hold back every call of the client for as long as it asks for."""
        self.refused_for_rate += 1
        if asked is not None and asked <= self._settings.retries.retry_after:
            self._not_before = max(self._not_before, anyio.current_time() + asked)

    async def _pause(self) -> None:
        """Wait until the server wants to hear from this client again."""
        # Another 429 may put it off meanwhile.
        while anyio.current_time() < self._not_before:  # noqa: ASYNC110 - it is a moment, and no event
            await anyio.sleep_until(self._not_before)


def _decode_error(call: Call[T], problem: str, token: Key, body: bytes = b"") -> DecodeError:
    return DecodeError(
        redact(problem, [token]),
        method=call.method,
        path=call.path,
        body=redacted(body, (token,)),
        task_id=call.task_id,
    )


def _can_be_read(call: Call[object], body: bytes, headers: httpx.Headers) -> bool:
    try:
        return call.read is not None and call.read(body, headers) is not None
    except DecodeError:
        return False
