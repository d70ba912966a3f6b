"""What all calls of a client share: connections, slots, the budget of streams, and that they are closed. (pool, limits)"""

from collections.abc import Hashable
from typing import Protocol
from weakref import WeakKeyDictionary

import anyio
import httpx

from cyberun_async._concurrency import InFlight, run_shielded
from cyberun_async._errors import ConfigurationError
from cyberun_async._settings import Settings
from cyberun_async._transport.credential import Credential
from cyberun_async._transport.log_redaction import redact_foreign_logs
from cyberun_async._transport.loop_guard import EventLoopGuard
from cyberun_async._transport.recent_cache import RecentCache
from cyberun_async._transport.requests import Send, check_base_address, sender_of
from cyberun_async._transport.sharded_pool import ShardedTransport

MAX_CONCURRENT_OPENINGS = 16
"""Streams in the act of being opened: it takes the loop milliseconds, for which events of open ones would wait."""


MAX_IDLE_CREDENTIALS = 1000
"""Credentials that are kept although no client or view uses them, as where each request of a backend makes a view."""


class StreamUser(Protocol):
    """What opens streams, and says whether it wants one that is free now: a client, or a view of it."""

    def on_free_stream(self) -> object: ...


class Connections:
    """The connections of a client and its views to the API, and how many requests and streams may use them at once.

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
        credentials: Those that are used here, each once.
        in_flight: The requests that are going on.
        is_closed: Whether nothing may be sent any more.

    """

    def __init__(self, settings: Settings, http_client: httpx.AsyncClient | None = None) -> None:
        redact_foreign_logs()
        check_base_address(settings.base_url)
        self._pools: tuple[ShardedTransport, ...] = ()
        self.send_call: Send
        self.send_stream: Send
        self.send_submission: Send
        if http_client is None:
            calls = ShardedTransport(http2=settings.http2)
            # httpcore checks an idle connection's socket before it uses it again, but not by HTTP/2: what is sent on
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
        self._wanting_streams: WeakKeyDictionary[StreamUser, None] = WeakKeyDictionary()
        self.credentials: RecentCache[Hashable, Credential] = RecentCache(MAX_IDLE_CREDENTIALS)
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

    def want_stream(self, user: StreamUser) -> None:
        """Have the next free stream offered to one who has waits without."""
        self._wanting_streams[user] = None

    def release_stream(self) -> None:
        """Give the slot of a stream back, and offer it to one who wants it, each in turn."""
        self.free_streams += 1
        for user in list(self._wanting_streams):
            del self._wanting_streams[user]
            if user.on_free_stream():
                # It may want another, but those who came before are first.
                self._wanting_streams[user] = None
                break

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
