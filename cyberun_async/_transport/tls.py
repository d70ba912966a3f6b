"""One TLS context for every connection of the process."""

import ssl

import anyio
import anyio.to_thread
import httpx
from anyio.lowlevel import RunVar

# HTTP/2 has one to itself: what a context offers in a handshake is set by whoever connects next.
_shared: dict[bool, ssl.SSLContext] = {}

_being_made: RunVar[anyio.Lock] = RunVar("cyberun_async.tls")

WITHOUT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For connections that carry no TLS: it knows no certificate authority, so it trusts nobody."""


async def tls_context(*, http2: bool = False) -> ssl.SSLContext:
    """Give the context with the usual certificate authorities, made once, and off the loop.

    Reading the authorities takes long enough to stall an event loop.
    """
    if http2 not in _shared:
        async with _lock():
            await _make(http2=http2)
    return _shared[http2]


async def _make(*, http2: bool) -> None:
    """Make the context, unless whoever held the lock before has made it."""
    if http2 not in _shared:
        _shared[http2] = await anyio.to_thread.run_sync(httpx.create_ssl_context)


def _lock() -> anyio.Lock:
    """Give the lock of this event loop: a burst of first calls is to read the authorities once."""
    lock = _being_made.get(None)
    if lock is None:
        lock = anyio.Lock()
        _being_made.set(lock)
    return lock
