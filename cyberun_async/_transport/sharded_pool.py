"""Connections, spread over small pools.

A pool of httpcore looks at every request and connection it has whenever one of them changes, so the cost of
a call grows with the number of calls. Many small pools keep it flat.
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
from cyberun_async._transport.error_mapping import below
from cyberun_async._transport.proxies import find_proxy, proxy_of
from cyberun_async._transport.tls import tls_context, without_tls

_Wrapper = CancelSafeBackend | EarlyResponseBackend


class _Route(NamedTuple):
    """What the connections of one pool have in common."""

    secure: bool
    proxy: Secret[str] | None


class _Pool:
    """A few connections, and how many of them are at work."""

    __slots__ = ("idle_since", "load", "route", "transport")

    def __init__(self, route: _Route, transport: httpx.AsyncHTTPTransport) -> None:
        self.route = route
        self.transport = transport
        self.load = 0
        self.idle_since = 0.0


class ShardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport that gives each request the least busy of many small pools.

    No request waits in it for another: whoever uses it bounds how many there are.

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
        """Make no connection yet."""
        self._per_pool = per_pool
        self._keep_alive = keep_alive
        self._http2 = http2
        self._wrap = CancelSafeBackend if is_cancel_safe else EarlyResponseBackend if reads_while_sending else None
        self._backend: _Wrapper | None = None
        self._routes: dict[tuple[str, bytes], _Route] = {}
        self._pools: set[_Pool] = set()
        self._with_room: dict[_Route, list[_Pool]] = {}
        self._next_sweep = 0.0

    def __repr__(self) -> str:
        """Show how much of it is in use."""
        load = sum(pool.load for pool in self._pools)
        return f"<{type(self).__name__}: {load} requests in {len(self._pools)} pools>"

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return bool(self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its place in the pool is free again once the response is closed."""
        await self._close_idle()
        route = await self._route_to(request.url)
        needs_tls = route.secure or route.proxy is not None
        tls = await (tls_context(http2=self._http2) if needs_tls else without_tls())
        # Nothing waits from here on until the place is taken: who comes next is to see it.
        pool = self._take(route, tls)
        try:
            with below():
                response = await pool.transport.handle_async_request(request)
        except BaseException:
            self._give_back(pool)
            raise
        response.stream = _PooledBody(response.stream, partial(self._give_back, pool))  # type: ignore[arg-type]
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, set()
        self._with_room.clear()
        await _close(pools)

    async def _route_to(self, url: httpx.URL) -> _Route:
        """Find the way to a host, by the proxy variables of the environment."""
        place = (url.scheme, url.netloc)
        if place not in self._routes:
            address = await find_proxy(url)
            self._routes[place] = _Route(url.scheme == "https", None if address is None else Secret(address))
        return self._routes[place]

    def _take(self, route: _Route, tls: SSLContext) -> _Pool:
        room = self._with_room.setdefault(route, [])
        pool = min(room, key=attrgetter("load"), default=None) or self._open(route, tls)
        pool.load += 1
        if pool.load == self._per_pool and pool in room:
            room.remove(pool)
        elif pool.load < self._per_pool and pool not in room:
            room.append(pool)
        return pool

    def _open(self, route: _Route, tls: SSLContext) -> _Pool:
        transport = httpx.AsyncHTTPTransport(
            verify=tls,
            http2=self._http2,
            # No limit in here could be eaten up by an entry that httpcore lost: the counting is ours.
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=self._per_pool if self._keep_alive else 0,
                keepalive_expiry=self._keep_alive,
            ),
            proxy=proxy_of(None if route.proxy is None else route.proxy.reveal(), tls),
        )
        if self._wrap is not None:
            self._wrap_streams(transport, self._wrap)
        pool = _Pool(route, transport)
        self._pools.add(pool)
        return pool

    def _wrap_streams(self, transport: httpx.AsyncHTTPTransport, wrap: type[_Wrapper]) -> None:
        """Have the connections of a pool made by a network backend of ours, if httpx is built as we know it.

        httpcore's pools take a backend, but httpx passes none on, and a pool beside httpx's own transport would be out of
        the reach of those who mock that in their tests. Without it a stream is read as that of a user's own client.
        """
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if pool is not None and backend is not None:
            self._backend = self._backend or wrap(backend)
            pool._network_backend = self._backend

    def _give_back(self, pool: _Pool) -> None:
        pool.load -= 1
        if pool.load == 0:
            pool.idle_since = time.monotonic()
            if not self._keep_alive:
                self._pools.discard(pool)
                return
        room = self._with_room.get(pool.route)
        if room is not None and pool not in room and pool in self._pools:
            room.append(pool)

    async def _close_idle(self) -> None:
        """Close the connections of pools that nobody has used for a while.

        httpcore lets go of an idle connection only when its pool is used again.
        """
        now = time.monotonic()
        if now < self._next_sweep or not self._keep_alive:
            return
        self._next_sweep = now + self._keep_alive
        idle = [pool for pool in self._pools if not pool.load and pool.idle_since + self._keep_alive <= now]
        for pool in idle:
            self._pools.discard(pool)
            self._with_room[pool.route].remove(pool)
        await _close(idle)


async def _close(pools: Iterable[_Pool]) -> None:
    """Close the connections of pools; one that fails to close keeps none of the others open."""
    for pool in pools:
        with suppress(Exception):
            await pool.transport.aclose()


class _PooledBody(httpx.AsyncByteStream):
    """A response's body that tells when it is done with."""

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
