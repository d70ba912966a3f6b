"""From a call to its record or error: signing in, waiting for a slot, sending, retrying; and opening event streams.

A call's life, from the outside in:

    send                    until it has succeeded, or its failure stands (`retry.py` decides)
      fetch                 a token; again with another one after a 401
        a rate limit's pause, then a slot; where a pause began meanwhile, the slot is given back first
          RoundTrip.run     reports to the observer, maps what failed
            run_in_child_task
              .call         the request out, the response in, in a task of its own

What holds, and why:

- The pause is waited for without a slot. Slots are everybody's, and a pause is one credential's: its calls would keep
  those of the others out for as long as it lasts. Nothing leaves in a pause all the same, as it is looked at again
  behind the slot, and set before the 429's own slot is free.
- The token is asked for before the slot, as a provider may take as long as a call.
- Each request runs as the one child of a task group, for a reason that `_concurrency.py` has.
- A failure is mapped once, in `RoundTrip.run`, and raised outside of any `except` block: Python would keep the error of the
  layers below as its `__context__`, and a traceback would show what that quotes.
- Whatever awaits checks afterwards that the client was not closed meanwhile.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel
import httpx

from cyberun_async._concurrency import Flight
from cyberun_async._errors import APIError, RateLimitError, TransportError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.json_steps import finished
from cyberun_async._protocol.mismatch_log import MismatchLog
from cyberun_async._protocol.secret import Key
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._settings import Settings
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.credential import Credential
from cyberun_async._transport.open_stream import open_stream
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.recent_submissions import RecentSubmissions
from cyberun_async._transport.response import Response, error_of, is_result, read_in_steps
from cyberun_async._transport.retry import delay_before_retry
from cyberun_async._transport.round_trip import RoundTrip
from cyberun_async._transport.send_trace import SendTrace
from cyberun_async._transport.stream import Connection

if TYPE_CHECKING:
    from cyberun_async._protocol.container_requests import ContainerRequest
    from cyberun_async._transport.body_stream import BodyStream

log = logging.getLogger("cyberun_async.transport")

T = TypeVar("T")

Waiting = Callable[[], AbstractAsyncContextManager[object]]
"""Gives what is entered while nothing is sent, such as the place of a transfer being given back."""


class Transport:
    """Sends calls and opens event streams, each within a budget of its own.

    Args:
        settings: The client's, or those of a view of it.
        connections: Where calls are sent; several transports may share them.

    Attributes:
        connections: The connections, slots and budgets that all calls share.
        credential: How requests are signed in, and the pause after a 429.
        on_free_stream: Called when a stream has ended and `want_stream` was; says whether there is a wait that wants one.
        mismatches: Logs which fields of responses differ from their documentation.

    """

    __reduce__ = refuse_copies

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self._settings = settings
        self.connections: Connections = connections
        self.credential: Credential = connections.credentials.get(settings.credential, lambda: Credential(settings))
        self._round_trips = RoundTrip(settings, connections, self.credential)
        self.mismatches: MismatchLog = MismatchLog()
        self.on_free_stream: Callable[[], object] = lambda: None

    def __repr__(self) -> str:
        """Show where it sends to, and how."""
        return f"<{type(self).__name__} to {self.base_url}: {self.connections!r}, {self.credential!r}>"

    # What it stands on

    @property
    def base_url(self) -> str:
        """Where calls go."""
        return self._settings.base_url

    @property
    def is_own(self) -> bool:
        """Whether the connections are made here, and not by a client of the user's."""
        return self.connections.is_own

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return self.connections.is_open

    @property
    def is_closed(self) -> bool:
        """Whether this was closed."""
        return self.connections.is_closed

    @property
    def has_answered(self) -> bool:
        """Whether the API has responded to a call, or opened a stream, so that it can be reached by this client."""
        return self.credential.has_answered

    @property
    def recent(self) -> RecentSubmissions:
        """The tasks that were submitted a moment ago."""
        return self.credential.recent

    def check_usable(self) -> None:
        """Refuse another event loop than that of the first use, and a closed transport.

        Raises:
            ConfigurationError: One of the two is the case.

        """
        self.connections.check_usable()

    async def aclose(self) -> None:
        """End what is going on and close every connection, under cancellation too; safe to call twice."""
        await self.connections.aclose()

    # Calls

    async def send(
        self, call: Call[T], *, urgent: bool = False, flight: Flight | None = None, waiting: Waiting = nullcontext
    ) -> T:
        """Send a call and give what its response says, retrying where that costs nothing.

        Args:
            call: What is sent.
            urgent: Whether it is a clean-up, which waits neither for a slot nor for the end of a rate limit's pause.
            flight: Learns when a request that must not be retried leaves.
            waiting: Gives what is entered while a token provider is asked, or a rate limit's pause or the time before a retry goes
                on.

        Raises:
            APIError: The server refused.
            TransportError: There was no response.
            DecodeError: The response is not what the API documents.

        """
        attempt = 0
        first_failed: float | None = None
        while True:
            attempt += 1
            try:
                return await self.decode(
                    call, await self.fetch(call, attempt=attempt, urgent=urgent, flight=flight, waiting=waiting)
                )
            except (APIError, TransportError) as error:
                failure = error
            if flight is not None and isinstance(failure, RateLimitError):
                flight.rate_limited()
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
            async with waiting():
                await anyio.sleep(delay)

    async def send_once(self, call: Call[T]) -> T:
        """Send a call without retries; only a 401 has it sent a second time, with another token."""
        return await self.decode(call, await self.fetch(call))

    async def fetch(
        self,
        call: Call[object],
        *,
        attempt: int = 1,
        urgent: bool = False,
        flight: Flight | None = None,
        waiting: Waiting = nullcontext,
    ) -> Response:
        """Send a call once, or twice where another token may be what it takes, and give the response as it came.

        Raises:
            TransportError: There was no response.
            DecodeError: The response is larger than the limit.

        """
        self.check_usable()
        pause = self.credential.rate_limit
        slot: AbstractAsyncContextManager[object] = nullcontext() if urgent else self.connections.call_slots
        is_last = not self.credential.sign_in.has_provider
        token = await self._token(call, waiting)
        while True:
            if pause.is_on and not urgent:
                async with waiting():
                    await pause.wait()
            async with slot:
                if pause.is_on and not urgent:
                    continue
                if call.repeatable:
                    response = await self._round_trips.run(self._round_trips.call, call, token, attempt=attempt)
                else:
                    trace = SendTrace(flight) if self.is_own else None
                    response = await self._round_trips.run(
                        self._round_trips.submit, call, token, trace, flight, attempt=attempt, trace=trace
                    )
            if is_last or response.status != httpx.codes.UNAUTHORIZED:
                return response
            is_last, token = True, await self._token(call, waiting, rejected=token)

    async def _token(self, call: Call[object], waiting: Waiting, *, rejected: Key | None = None) -> Key:
        sign_in = self.credential.sign_in
        if not sign_in.has_provider:
            return await sign_in.token(call)
        async with waiting():
            return await sign_in.token(call, rejected=rejected)

    def read(self, call: Call[T], response: Response) -> T:
        """Give what a response says.

        Raises:
            APIError: It is an error response.
            DecodeError: It is not what the API documents.

        """
        return finished(self._reading(call, response))

    async def decode(self, call: Call[T], response: Response) -> T:
        """Give what a response says as `read` does, and let the event loop in while a large one is read."""
        steps = self._reading(call, response)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            await anyio.lowlevel.checkpoint()

    def _reading(self, call: Call[T], response: Response) -> Generator[None, None, T]:
        if not is_result(call, response):
            raise self._api_error(call, response)
        record = yield from read_in_steps(call, response, self.mismatches)
        # A page of a proxy's is a response, too, where it is given as it came.
        if record is not None and (call.returns is not Response or response.is_json):
            self.credential.has_answered = True
        if isinstance(record, Submitted):
            self.credential.recent.add(record.task_id, anyio.current_time())
            log.info("%s %s: submitted task %s", call.method, call.path, record.task_id)
        return record

    def _api_error(self, call: Call[object], response: Response) -> APIError:
        self.credential.has_answered |= response.is_json
        return error_of(call, response, self.base_url)

    # Streams

    @property
    def has_free_stream(self) -> bool:
        """Whether one more stream may be opened."""
        return self.connections.free_streams > 0

    def want_stream(self) -> None:
        """Have `on_free_stream` called when there is one, and for as long as it says that one is wanted."""
        self.connections.want_stream(self)

    async def open_stream(self, call: Call[None], *, last_event_id: str = "") -> Connection:
        """Open an event stream, once.

        Args:
            call: The endpoint of the stream.
            last_event_id: The last `id:` seen, where the server sends them.

        Raises:
            APIError: The server refused.
            TransportError: There was no response.
            DecodeError: The response is not an event stream.

        """
        self.check_usable()
        return await open_stream(
            self._round_trips,
            self.connections,
            self.credential,
            call,
            last_event_id=last_event_id,
            api_error=self._api_error,
        )

    # Bodies

    async def open_body(self, asked: "ContainerRequest", *, raise_for_status: bool) -> "BodyStream":
        """Send a request whose body is streamed, and give its response as soon as its head is there; never retried.

        Args:
            asked: The request.
            raise_for_status: Whether a status of 400 or above is an error.

        Raises:
            APIError: It is.
            TransportError: There is no response.

        """
        from cyberun_async._transport.open_body import open_body

        self.check_usable()
        return await open_body(
            self._round_trips,
            self.credential,
            self._settings,
            asked,
            raise_for_status=raise_for_status,
            api_error=self._api_error,
        )
