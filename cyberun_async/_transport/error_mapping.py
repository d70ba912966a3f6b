"""Every way in which the layers below fail, mapped to one of our errors. (exceptions, table, redact)

What a server says by a status, such as 404 or 429, becomes a class of `APIError` in `_protocol/error_responses.py`.
"""

import logging
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from traceback import format_exception
from typing import TypeVar
from zlib import error as ZlibError  # noqa: N812 - a class by another name

import anyio
import httpx

from cyberun_async._concurrency import ClientClosed
from cyberun_async._errors import CyberunError, TransportError, TransportTimeout
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.error_responses import is_passing_status
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Secret
from cyberun_async._transport.send_trace import SendTrace

log = logging.getLogger("cyberun_async.transport")

T = TypeVar("T")


class Unforeseen(Exception):
    """A layer below has raised what is in no table.

    Attributes:
        failure: What it has raised.

    """

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure


class Unsendable(Exception):
    """A request cannot be made of what a server has said, so that none was sent."""


_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    Unsendable,
)

_HOPELESS = (httpx.InvalidURL, httpx.UnsupportedProtocol, ClientClosed, Unforeseen, Unsendable)

_IN_PLAIN_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.PoolTimeout, "no free connection in time"),
    (httpx.WriteTimeout, "nothing was accepted in time"),
    (httpx.TimeoutException, "no response in time"),
    (httpx.ConnectError, "no connection"),
    (httpx.NetworkError, "the connection broke"),
    (httpx.RemoteProtocolError, "the connection broke"),
    (httpx.ProxyError, "the proxy refused"),
    (ClientClosed, ""),
    (Unsendable, ""),
    (TimeoutError, "no response in time"),
)
"""What a user makes of a failure; one that is not listed goes by the name of its class."""

_STATUS = re.compile(r"\d{3}(?= )", re.ASCII)
"""The status of a proxy's response to CONNECT, at the beginning of httpcore's message."""

_FINAL_BY_SOCKS = ("Requested ", "Invalid username/password", "not allowed by ruleset")
"""httpcore's words for a SOCKS proxy that refuses for good."""

_OF_PROXIES = "see that the proxy's address has the user and password it wants, and that it lets you to this host"

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
        ClientClosed,
        Unforeseen,
        Unsendable,
        OSError,
        ZlibError,
        *_optional_failures(),
    )


def _optional_failures() -> list[type[Exception]]:
    present = [(sys.modules[module], names) for module, names in _OF_OPTIONAL_PARTS if module in sys.modules]
    return [getattr(module, name) for module, names in present for name in names]


@contextmanager
def below() -> Iterator[None]:
    """Stand around nothing but a call of the layers below: whatever is raised inside is a failure of theirs.

    This is the fence that no table of classes is. It must not stand around users' code or much of ours, whose errors
    are to be seen as they are; what a user's source raises inside of a request is kept aside by its sender.
    """
    try:
        yield
    except StopAsyncIteration:
        raise
    except Exception as error:  # noqa: BLE001 - raised again
        raise as_foreign(error) from error.__cause__


def as_foreign(error: Exception) -> Exception:
    """Give what the layers below have raised as something that the tables here know."""
    leaf = _leaf(error)
    return leaf if isinstance(leaf, (CyberunError, *foreign_failures())) else Unforeseen(leaf)


async def map_exceptions(work: Callable[[], Awaitable[T]], mapped: Callable[[Exception], Exception]) -> T:
    """Give what a piece of work gives, and raise what it raises as `mapped` has it, with nothing for a context."""
    try:
        return await work()
    except Exception as error:  # noqa: BLE001 - raised again, below
        failure = mapped(error)
    # In there, `error` would become its context, with all that it quotes.
    try:
        raise failure
    finally:
        del failure


def map_error(
    call: Call[object], error: Exception, secrets: Sequence[Secret[str]] = (), trace: SendTrace | None = None
) -> Exception:
    """Give a failure of the layers below as a `TransportError` about the call, and any other as it is.

    It is to be raised where no exception is handled, which it would keep as its context.
    """
    if not isinstance(error, foreign_failures()):
        return error
    failure = transport_error(call, error, secrets, trace)
    failure.__cause__ = shown_cause(error, secrets)
    return failure


def transport_error(
    call: Call[object], error: Exception, secrets: Sequence[Secret[str]] = (), trace: SendTrace | None = None
) -> TransportError:
    """Give the error that a failure of the layers below stands for."""
    error = _by_its_own_name(error)
    return (TransportTimeout if _is_late(error) else TransportError)(
        redact(describe_cause(error), secrets),
        method=call.method,
        path=call.path,
        may_have_been_sent=may_have_been_sent(error) if trace is None else trace.has_begun,
        retryable=is_retryable(error),
        task_id=call.task_id,
        **({"advice": _OF_PROXIES} if _is_final_by_proxy(error) else {}),
    )


def shown_cause(error: Exception, secrets: Sequence[Secret[str]]) -> BaseException | None:
    """Give what caused a failure, as far as it quotes no secret, and without its frames.

    The variables of httpcore's frames hold each request as it is sent, and a traceback may show them.
    """
    cause: BaseException | None = error
    if isinstance(error, Unforeseen):
        cause = error.failure
        log.debug("an unmapped failure: %s", redact("".join(format_exception(cause)), secrets))
    chain: list[BaseException] = []
    while cause is not None and cause not in chain:
        said = f"{cause} {cause!r} {vars(cause)}"
        if redact(said, secrets) != said:
            break
        chain.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    for each, its_cause in zip_longest(chain, chain[1:]):
        each.__traceback__ = each.__context__ = None
        each.__cause__ = its_cause
    return chain[0] if chain else None


def _leaf(error: Exception) -> Exception:
    """Give the first failure of a group; the class of groups is not there before Python 3.11."""
    while nested := getattr(error, "exceptions", None):
        error = nested[0]
    return error


def describe_cause(error: Exception) -> str:
    """Say why a failure of the layers below came about."""
    if isinstance(error, Unforeseen):
        return describe(error.failure)
    certificate = _certificate_error(error)
    if certificate is None:
        plain = next((words for kind, words in _IN_PLAIN_WORDS if isinstance(error, kind)), type(error).__name__)
        return _with_words_of(error, plain)
    # Only OpenSSL's own has the short form.
    return f"the server's certificate does not verify: {getattr(certificate, 'verify_message', '') or certificate}"


def is_retryable(error: Exception) -> bool:
    """Whether trying again may help; a certificate that does not verify stays so."""
    return _certificate_error(error) is None and not isinstance(error, _HOPELESS) and not _is_final_by_proxy(error)


def may_have_been_sent(error: Exception) -> bool:
    """Whether the request may have reached the server, by the kind of failure; `False` only where no connection was made."""
    return not isinstance(error, (*_NEVER_SENT, *_never_sent_by_aiohttp()))


def _is_final_by_proxy(error: Exception) -> bool:
    """Whether a proxy refuses to connect for good: it wants a password, or forbids the host."""
    status = _STATUS.match(str(error)) if isinstance(error, httpx.ProxyError) else None
    if status is None:
        return isinstance(error, httpx.ProxyError) and any(words in str(error) for words in _FINAL_BY_SOCKS)
    return 400 <= int(status[0]) < 500 and not is_passing_status(int(status[0]))


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
    seen: list[BaseException] = []
    # An error that a layer keeps and raises again may be among its own causes.
    while error is not None and error not in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None
