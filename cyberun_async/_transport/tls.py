"""One TLS context for every connection of the process."""

import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
import httpx

from cyberun_async._errors import ConfigurationError

_shared: dict[str, ssl.SSLContext] = {}

_making = threading.Lock()


async def tls_context(*, http2: bool = False) -> ssl.SSLContext:
    """Give the context with the usual certificate authorities, or with those that the environment names.

    Raises:
        ConfigurationError: A variable of the environment names something that cannot be used.

    """
    # HTTP/2 has one to itself: what a context offers in a handshake is set by the next connection.
    return await _made_once("HTTP/2" if http2 else "HTTP/1.1", _with_authorities)


async def without_tls() -> ssl.SSLContext:
    """Give a context for connections that carry no TLS: it knows no certificate authority, so it trusts no server."""
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


def _with_authorities() -> ssl.SSLContext:
    try:
        context = httpx.create_ssl_context()
    except OSError as error:  # `ssl.SSLError` is one.
        raise ConfigurationError(_problem(error)) from None
    folders = "" if os.environ.get("SSL_CERT_FILE") else os.environ.get("SSL_CERT_DIR", "")
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        # OpenSSL accepts it, and then trusts no server.
        raise ConfigurationError(f"the environment variable SSL_CERT_DIR names no folder: {folders}")
    return context


def _problem(error: OSError) -> str:
    """Name the variable at fault: without one, the authorities come with a dependency."""
    reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
    key_log, authorities = os.environ.get("SSLKEYLOGFILE"), os.environ.get("SSL_CERT_FILE")
    if key_log and error.filename == key_log:
        return f"the environment variable SSLKEYLOGFILE names a file that cannot be written: {key_log} ({reason})"
    if authorities:
        return f"the environment variable SSL_CERT_FILE names a file that cannot be used: {authorities} ({reason})"
    return f"TLS cannot be set up with the certificate authorities of the package certifi: {error}"
