"""One TLS context for every connection of the process."""

import ssl

import anyio
import anyio.to_thread
import httpx

_shared: list[ssl.SSLContext] = []

WITHOUT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For connections that carry no TLS: it knows no certificate authority, so it trusts nobody."""


async def tls_context() -> ssl.SSLContext:
    """Give the context with the usual certificate authorities, made once, and off the loop.

    Reading the authorities takes long enough to stall an event loop.
    """
    if not _shared:
        made = await anyio.to_thread.run_sync(httpx.create_ssl_context)
        # Two callers may have come this far; the first one's stays.
        if not _shared:
            _shared.append(made)
    return _shared[0]
