"""Every way in which the layers below fail, as one of our errors."""

import ssl
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import anyio
import httpx

from cyberun_async._errors import TransportError, TransportTimeout
from cyberun_async._protocol.call import Call

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


@cache
def foreign_failures() -> tuple[type[Exception], ...]:
    """Give every class that the layers below raise; imported only once something failed.

    httpx translates most of httpcore's own errors, but not all on a live stream (encode/httpcore#808).
    """
    import h11
    import httpcore

    kinds: list[type[Exception]] = [
        httpx.HTTPError,
        httpx.StreamError,
        httpx.InvalidURL,
        httpx.CookieConflict,
        httpcore.ConnectionNotAvailable,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.TimeoutException,
        httpcore.UnsupportedProtocol,
        h11.ProtocolError,
        anyio.BrokenResourceError,
        anyio.BusyResourceError,
        anyio.ClosedResourceError,
        anyio.DelimiterNotFound,
        anyio.EndOfStream,
        anyio.IncompleteRead,
        OSError,
        zlib.error,
    ]
    if "h2" in sys.modules:
        from h2.exceptions import H2Error  # type: ignore[import-not-found, unused-ignore]

        kinds.append(H2Error)
    return tuple(kinds)


@contextmanager
def failures_of(call: Call[object]) -> Iterator[None]:
    """Raise what the layers below raise as a `TransportError` about the call."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, foreign_failures()):
            raise
        raise transport_error(call, error) from error


def transport_error(call: Call[object], error: Exception) -> TransportError:
    """Give the error that a failure of the layers below stands for."""
    late = isinstance(error, (httpx.TimeoutException, TimeoutError))
    certificate = _certificate_error(error)
    return (TransportTimeout if late else TransportError)(
        f"the server's certificate does not verify: {certificate.verify_message}" if certificate else describe(error),
        method=call.method,
        path=call.path,
        may_have_been_sent=not isinstance(error, _NEVER_SENT),
        retryable=certificate is None,
        task_id=call.task_id,
    )


def describe(error: BaseException) -> str:
    """Name a failure in a few words."""
    return ": ".join(part for part in (type(error).__name__, str(error)) if part)


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None
