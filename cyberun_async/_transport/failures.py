"""Every way in which the layers below fail, as one of our errors."""

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from zlib import error as ZlibError  # noqa: N812 - a class by another name

import anyio
import httpx

from cyberun_async._errors import TransportError, TransportTimeout
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.hiding import hide
from cyberun_async._transport.exchange import CutOff

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

_HOPELESS = (httpx.InvalidURL, httpx.UnsupportedProtocol, CutOff)

_IN_PLAIN_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.PoolTimeout, "no free connection in time"),
    (httpx.WriteTimeout, "nothing was taken in time"),
    (httpx.TimeoutException, "nothing came in time"),
    (httpx.ConnectError, "no connection"),
    (httpx.NetworkError, "the connection broke"),
    (httpx.RemoteProtocolError, "the connection broke"),
    (httpx.ProxyError, "the proxy refused"),
    (CutOff, ""),
    (TimeoutError, "nothing came in time"),
)
"""What a user makes of a failure; one that is not listed goes by the name of its class."""

_SHOWN = 500
"""Characters of a failure's own words that an error repeats: some of them quote what the server sent."""

_OF_OPTIONAL_PARTS = (
    ("aiohttp", ("ClientError",)),
    # Up to Python 3.10 it is not the built-in one.
    ("asyncio", ("TimeoutError",)),
    ("h2.exceptions", ("H2Error",)),
    ("socksio", ("SOCKSError",)),
    ("trio", ("BrokenResourceError", "BusyResourceError", "ClosedResourceError")),
)
"""What may be below us without being among our dependencies, and the roots of its errors."""


def foreign_failures() -> tuple[type[Exception], ...]:
    """Give every class that the layers below raise; called only once something failed.

    httpx translates most of httpcore's own errors, but not all on a live stream (encode/httpcore#808).
    """
    import h11
    import httpcore

    return (
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
        CutOff,
        OSError,
        ZlibError,
        *_optional_failures(),
    )


def _optional_failures() -> list[type[Exception]]:
    present = [(sys.modules[module], names) for module, names in _OF_OPTIONAL_PARTS if module in sys.modules]
    return [getattr(module, name) for module, names in present for name in names]


@contextmanager
def failures_of(call: Call[object], secret: str = "") -> Iterator[None]:
    """Raise what the layers below raise as a `TransportError` about the call."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again
        raise_as_ours(call, error, secret)


def raise_as_ours(call: Call[object], error: Exception, secret: str = "") -> NoReturn:
    """Raise a failure of the layers below as a `TransportError` about the call, and any other as it is."""
    if not isinstance(error, foreign_failures()):
        raise error
    said = describe(error)
    has_secret = bool(secret) and hide(said, [secret]) != said
    raise transport_error(call, error, secret) from None if has_secret else error


def transport_error(call: Call[object], error: Exception, secret: str = "") -> TransportError:
    """Give the error that a failure of the layers below stands for."""
    error = _by_its_own_name(error)
    return (TransportTimeout if _is_late(error) else TransportError)(
        hide(reason_of(error), [secret] if secret else []),
        method=call.method,
        path=call.path,
        may_have_been_sent=may_have_been_sent(error),
        retryable=is_retryable(error),
        task_id=call.task_id,
    )


def reason_of(error: Exception) -> str:
    """Say why a failure of the layers below came about."""
    certificate = _certificate_error(error)
    if certificate is None:
        plain = next((words for kind, words in _IN_PLAIN_WORDS if isinstance(error, kind)), type(error).__name__)
        return _with_words_of(error, plain)
    # Only OpenSSL's own has the short form.
    return f"the server's certificate does not verify: {getattr(certificate, 'verify_message', '') or certificate}"


def is_retryable(error: Exception) -> bool:
    """Whether trying again may help; a certificate that does not verify stays so."""
    return _certificate_error(error) is None and not isinstance(error, _HOPELESS)


def may_have_been_sent(error: Exception) -> bool:
    """Whether the request may have reached the server; `False` only where no connection was made."""
    return not isinstance(error, (*_NEVER_SENT, *_never_sent_by_aiohttp()))


def _is_late(error: Exception) -> bool:
    asyncio = sys.modules.get("asyncio")
    late = (httpx.TimeoutException, TimeoutError)
    return isinstance(error, late if asyncio is None else (*late, asyncio.TimeoutError))


def describe(error: BaseException) -> str:
    """Name a failure in a few words."""
    return _with_words_of(error, type(error).__name__)


def _with_words_of(error: BaseException, name: str) -> str:
    return ": ".join(part for part in (name, str(error)[:_SHOWN].rstrip(" .")) if part)


def _by_its_own_name(error: Exception) -> Exception:
    """Undo the translation of httpx-aiohttp, which calls every lost connection a `ConnectTimeout`.

    Of a connection that broke after a submission had arrived that would be a costly thing to believe.
    """
    aiohttp = sys.modules.get("aiohttp")
    cause = error.__cause__
    return cause if aiohttp is not None and isinstance(cause, aiohttp.ClientError) else error


def _never_sent_by_aiohttp() -> tuple[type[Exception], ...]:
    aiohttp = sys.modules.get("aiohttp")
    names = ("ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError", "InvalidURL")
    return tuple(getattr(aiohttp, name) for name in names if hasattr(aiohttp, name))


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None
