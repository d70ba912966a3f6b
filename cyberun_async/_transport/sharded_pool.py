"""Connections, spread over small pools (shards), so that a call costs the same however many others there are.

**Why.** An httpcore pool goes through all of its requests and connections whenever one of them changes: at 100 concurrent
calls on one pool, the CPU of a call is about ten times that at 10. And a connection that httpcore loses to a
cancellation stays in its pool's count, so a pool with a limit may end up refusing everybody.

**How.** Each shard is an httpx transport without a limit of its own. A request goes to the least busy shard of its route
that has capacity (`per_pool`), else to a new one. The limit on requests is the caller's (`Limits.max_connections`).

**Invariants.**

- From choosing a shard until it is counted as busy nothing awaits, so two requests never take the same capacity.
- Each request is counted out exactly once: where it fails, or when its response is closed.
- A shard is in `_with_capacity` exactly while it has some, and in `_shards` until its connections are closed.
- An idle shard is closed by the next request after `keep_alive` seconds, since httpcore closes an idle connection only
  when its own pool is used again. With `keep_alive=0` a shard is forgotten with its last request.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from operator import attrgetter
from ssl import SSLContext
from typing import NamedTuple

import httpx

from cyberun_async._protocol.secret import Secret
from cyberun_async._transport.cancel_safe import CancelSafeBackend
from cyberun_async._transport.early_response import EarlyResponseBackend
from cyberun_async._transport.error_mapping import as_foreign
from cyberun_async._transport.proxies import find_proxy, proxy_of
from cyberun_async._transport.tls import tls_context, without_tls

_Wrapper = CancelSafeBackend | EarlyResponseBackend


class _Route(NamedTuple):
    """Where the connections of a shard lead."""

    secure: bool
    proxy: Secret[str] | None


class _Shard:
    """A few connections, and how many of them are in use."""

    __slots__ = ("idle_since", "load", "route", "transport")

    def __init__(self, route: _Route, transport: httpx.AsyncHTTPTransport) -> None:
        self.route = route
        self.transport = transport
        self.load = 0
        self.idle_since = 0.0


class ShardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport that gives each request the least busy of many small pools.

    No request waits in it for another: its caller bounds how many there are.

    Args:
        per_pool: Requests at once in one pool.
        keep_alive: Seconds that an idle connection is kept; 0 keeps none.
        http2: Whether HTTP/2 is offered.
        is_cancel_safe: Whether waiting for the bytes of bodies can be cancelled.
        reads_while_sending: Whether a response is noticed before the whole request has left.

    """

    def __init__(
        self,
        *,
        per_pool: int = 4,
        keep_alive: float = 5.0,
        http2: bool = False,
        is_cancel_safe: bool = False,
        reads_while_sending: bool = False,
    ) -> None:
        self._per_pool = per_pool
        self._keep_alive = keep_alive
        self._http2 = http2
        self._wrap = CancelSafeBackend if is_cancel_safe else EarlyResponseBackend if reads_while_sending else None
        self._backend: _Wrapper | None = None
        self._routes: dict[tuple[str, bytes], _Route] = {}
        self._shards: set[_Shard] = set()
        self._with_capacity: dict[_Route, list[_Shard]] = {}
        self._next_sweep = 0.0

    def __repr__(self) -> str:
        """Show how much of it is in use."""
        load = sum(shard.load for shard in self._shards)
        return f"<{type(self).__name__}: {load} requests in {len(self._shards)} pools>"

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return bool(self._shards)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its capacity is free again once the response is closed."""
        await self._close_idle()
        route = await self._route_to(request.url)
        needs_tls = route.secure or route.proxy is not None
        tls = await (tls_context(http2=self._http2) if needs_tls else without_tls())
        # Nothing awaits from here on until it is counted: the next request is to see it.
        shard = self._acquire(route, tls)
        try:
            response = await shard.transport.handle_async_request(request)
        except Exception as error:  # noqa: BLE001 - raised again; `below` would cost each call more
            self._release(shard)
            raise as_foreign(error) from error.__cause__
        except BaseException:
            self._release(shard)
            raise
        response.stream = _PooledBody(response.stream, partial(self._release, shard))  # type: ignore[arg-type]
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        shards, self._shards = self._shards, set()
        self._with_capacity.clear()
        await _close(shards)

    async def _route_to(self, url: httpx.URL) -> _Route:
        """Find the way to a host, by the proxy variables of the environment."""
        place = (url.scheme, url.netloc)
        if place not in self._routes:
            address = await find_proxy(url)
            self._routes[place] = _Route(url.scheme == "https", None if address is None else Secret(address))
        return self._routes[place]

    def _acquire(self, route: _Route, tls: SSLContext) -> _Shard:
        available = self._with_capacity.setdefault(route, [])
        shard = min(available, key=attrgetter("load"), default=None) or self._open(route, tls)
        shard.load += 1
        if shard.load == self._per_pool and shard in available:
            available.remove(shard)
        elif shard.load < self._per_pool and shard not in available:
            available.append(shard)
        return shard

    def _open(self, route: _Route, tls: SSLContext) -> _Shard:
        transport = httpx.AsyncHTTPTransport(
            verify=tls,
            http2=self._http2,
            # Without a limit here, none can be used up by a connection that httpcore has lost.
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=self._per_pool if self._keep_alive else 0,
                keepalive_expiry=self._keep_alive,
            ),
            proxy=proxy_of(None if route.proxy is None else route.proxy.reveal(), tls),
        )
        if self._wrap is not None:
            self._wrap_streams(transport, self._wrap)
        shard = _Shard(route, transport)
        self._shards.add(shard)
        return shard

    def _wrap_streams(self, transport: httpx.AsyncHTTPTransport, wrap: type[_Wrapper]) -> None:
        """Have the connections of a shard made by a network backend of ours, if httpx is built as we know it.

        httpcore's pools take a backend, but httpx passes none on, and a pool beside httpx's own transport would be out of
        the reach of those who mock that in their tests. Without it, a stream is read as one of a user's own client is.
        """
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if pool is not None and backend is not None:
            self._backend = self._backend or wrap(backend)
            pool._network_backend = self._backend  # noqa: SLF001 - see above; and where there is none, it goes on without

    def _release(self, shard: _Shard) -> None:
        shard.load -= 1
        if shard.load == 0:
            shard.idle_since = time.monotonic()
            if not self._keep_alive:
                self._shards.discard(shard)
                return
        available = self._with_capacity.get(shard.route)
        if available is not None and shard not in available and shard in self._shards:
            available.append(shard)

    async def _close_idle(self) -> None:
        """Close the connections of shards that have been idle for a while."""
        now = time.monotonic()
        if now < self._next_sweep or not self._keep_alive:
            return
        self._next_sweep = now + self._keep_alive
        idle = [shard for shard in self._shards if not shard.load and shard.idle_since + self._keep_alive <= now]
        for shard in idle:
            self._shards.discard(shard)
            self._with_capacity[shard.route].remove(shard)
        await _close(idle)


async def _close(shards: Iterable[_Shard]) -> None:
    """Close the connections of shards; one that fails to close keeps none of the others open."""
    for shard in shards:
        with suppress(Exception):
            await shard.transport.aclose()


class _PooledBody(httpx.AsyncByteStream):
    """A response's body that reports when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, on_close: Callable[[], None]) -> None:
        self._stream = stream
        self._on_close: Callable[[], None] | None = on_close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            on_close, self._on_close = self._on_close, None
            if on_close is not None:
                on_close()
