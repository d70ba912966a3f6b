"""What all calls of a client share: connections, slots, the budget of streams, and that they are closed. (pool, limits)"""

from collections.abc import Callable

import anyio
import httpx

from cyberun_async._concurrency import InFlight, run_shielded
from cyberun_async._errors import ConfigurationError
from cyberun_async._settings import Settings
from cyberun_async._transport.loop_guard import EventLoopGuard
from cyberun_async._transport.requests import Send, check_base_address, sender_of
from cyberun_async._transport.sharded_pool import ShardedTransport

MAX_CONCURRENT_OPENINGS = 16
"""Streams in the act of being opened: it takes the loop milliseconds, for which events of open ones would wait."""


class Connections:
    """The connections of a client to the API, and how many requests and streams may use them at once.

    Args:
        settings: The client's settings.
        http_client: A client of the user's own to send through; it is never closed here.

    Attributes:
        send_call: Sends a request that may be sent again.
        send_submission: Sends one that may not.
        send_stream: Sends one for an event stream.
        call_slots: One of them is held by each call, `Limits.max_connections` in all.
        opening_slots: One of them is held by each stream while it is being opened.
        free_streams: How many more streams may be opened.
        on_free_stream: Called whenever a stream has ended, so that another may be opened.
        in_flight: The requests that are going on.
        is_closed: Whether nothing may be sent any more.

    """

    def __init__(self, settings: Settings, http_client: httpx.AsyncClient | None) -> None:
        check_base_address(settings.base_url)
        self._pools: tuple[ShardedTransport, ...] = ()
        self.send_call: Send
        self.send_stream: Send
        self.send_submission: Send
        if http_client is None:
            calls = ShardedTransport(http2=settings.http2)
            # httpcore looks at an idle connection's socket before it uses it again, but not by HTTP/2: what is sent on
            # one that the server has closed counts as sent, and a submission could not be retried.
            submissions = ShardedTransport() if settings.http2 else calls
            # One silent stream holds up every other response on a connection of HTTP/2.
            streams = ShardedTransport(per_pool=1, keep_alive=0, is_cancel_safe=True)
            self._pools = (calls, submissions, streams) if settings.http2 else (calls, streams)
            self.send_call, self.send_stream = calls.handle_async_request, streams.handle_async_request
            self.send_submission = submissions.handle_async_request
        else:
            self.send_call = self.send_stream = self.send_submission = sender_of(http_client)
        self.call_slots: anyio.Semaphore = anyio.Semaphore(settings.limits.max_connections, fast_acquire=True)
        self.opening_slots: anyio.Semaphore = anyio.Semaphore(MAX_CONCURRENT_OPENINGS, fast_acquire=True)
        self.free_streams: int = settings.limits.max_streams
        self.on_free_stream: Callable[[], object] = lambda: None
        self.in_flight: InFlight = InFlight()
        self.is_closed: bool = False
        self._cleanup = settings.timeouts.cleanup
        self._loop_guard = EventLoopGuard()

    def __repr__(self) -> str:
        """Show how much of it is in use."""
        state = "closed" if self.is_closed else f"{self.free_streams} streams free, {self.in_flight!r}"
        return f"<{type(self).__name__}: {state}, {self._pools!r}>"

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return any(pools.is_open for pools in self._pools)

    @property
    def is_own(self) -> bool:
        """Whether the connections are made here, and not by a client of the user's."""
        return bool(self._pools)

    def check_usable(self) -> None:
        """Refuse another event loop than that of the first use, and closed connections.

        Raises:
            ConfigurationError: One of the two is the case.

        """
        self.check_open()
        self._loop_guard.check()

    def check_open(self) -> None:
        """Refuse closed connections, also those that were closed meanwhile.

        Raises:
            ConfigurationError: They are.

        """
        if self.is_closed:
            message = "this client is closed: make a new one"
            raise ConfigurationError(message)

    def release_stream(self) -> None:
        """Give the slot of a stream back."""
        self.free_streams += 1
        self.on_free_stream()

    async def aclose(self) -> None:
        """End what is in flight and close every connection, under cancellation too; safe to call twice."""
        self.is_closed = True
        if self.is_open:
            self._loop_guard.check()
        await run_shielded(self._close, within=self._cleanup)

    async def _close(self) -> None:
        await self.in_flight.aclose()
        for pools in self._pools:
            await pools.aclose()
