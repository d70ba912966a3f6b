"""One TLS context for every connection of the process."""

import ssl
import threading
from collections.abc import Callable

import anyio.to_thread
import httpx

_shared: dict[str, ssl.SSLContext] = {}

_making = threading.Lock()


async def tls_context(*, http2: bool = False) -> ssl.SSLContext:
    """Give the context with the usual certificate authorities."""
    # HTTP/2 has one to itself: what a context offers in a handshake is set by whoever connects next.
    return await _made_once("HTTP/2" if http2 else "HTTP/1.1", httpx.create_ssl_context)


async def without_tls() -> ssl.SSLContext:
    """Give a context for connections that carry no TLS: it knows no certificate authority, so it trusts nobody."""
    return await _made_once("no TLS", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


async def _made_once(kind: str, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Make a context once, and off the loop: reading the authorities takes long enough to stall it."""
    if kind not in _shared:
        await anyio.to_thread.run_sync(_make, kind, make)
    return _shared[kind]


def _make(kind: str, make: Callable[[], ssl.SSLContext]) -> None:
    """Make a context, and load what the first connection needs: httpx would do it on the loop."""
    with _making:
        import httpcore  # noqa: F401

        if kind not in _shared:
            _shared[kind] = make()
