"""Every error of what is below us is one of ours by the time a user sees it."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
import ssl
import zlib
from types import ModuleType

import anyio
import httpx
import pytest
from support.tables import table

from cyberun_async import TransportError, TransportTimeout
from cyberun_async._concurrency import ClientClosed
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.secret import Key
from cyberun_async._transport.error_mapping import foreign_failures, map_error, transport_error

CALL = endpoints.get_task("t-1")

ELSEWHERE = {
    "anyio.BrokenWorkerInterpreter": "we start no interpreters",
    "anyio.BrokenWorkerProcess": "we start no processes",
    "anyio.FutureAlreadyFinished": "we use no futures of anyio, and httpcore neither",
    "anyio.FutureCancelled": "likewise",
    "anyio.FutureFailed": "likewise",
    "anyio.FutureNotFinished": "likewise",
    "anyio.NoEventLoopError": "whatever can raise it is async already",
    "anyio.RunFinishedError": "is for threads that call back into a loop, and ours do not",
    "anyio.TaskCancelled": "we use no task handles",
    "anyio.TaskFailed": "likewise",
    "anyio.TaskNotFinished": "likewise",
    "anyio.TypedAttributeLookupError": "httpcore asks with a default",
    "anyio.WouldBlock": "is for what does not wait",
    "cattrs.BaseValidationError": "comes with detailed validation, which is off",
    "cattrs.CattrsError": "is the root of the others",
    "cattrs.ClassValidationError": "comes with detailed validation, which is off",
    "cattrs.ForbiddenExtraKeysError": "unknown keys are welcome",
    "cattrs.IterableValidationError": "comes with detailed validation, which is off",
    "cattrs.StructureHandlerNotFoundError": "would be a mistake in a record, and every record is structured in tests/protocol",
    "json.JSONDecodeError": "becomes a DecodeError where bodies are parsed (tests/protocol)",
}
"""What does not become a `TransportError`, each with its reason."""

BELOW = ("httpx", "httpcore", "h11", "anyio", "ssl", "zlib", "json", "cattrs.errors")
BELOW_AT_TIMES = ("aiohttp", "h2.exceptions", "socksio", "trio")


def errors_of(module: ModuleType) -> dict[str, type[Exception]]:
    """Find the exception classes that a module offers; some import theirs only when asked for."""
    package = module.__name__.partition(".")[0]
    values = {name: getattr(module, name, None) for name in {*dir(module), *getattr(module, "__all__", ())}}
    return {
        f"{package}.{value.__name__}": value
        for name, value in values.items()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
        and not name.startswith("_")
        and name in {value.__name__, "error"}
        and value.__module__ not in {"builtins", "exceptiongroup"}
    }


def rows_of(*modules: str) -> list[pytest.param]:
    found = {}
    for name in modules:
        found |= errors_of(importlib.import_module(name))
    return [pytest.param(kind, id=name) for name, kind in sorted(found.items()) if name not in ELSEWHERE]


@table("kind", rows_of(*BELOW))
def test_dependencies(kind: type[Exception]) -> None:
    """Each error class of each dependency becomes ours, or has its reason above."""
    error = map_error(CALL, kind.__new__(kind))
    assert isinstance(error, TransportError)
    assert (error.method, error.path, error.task_id) == ("GET", "/r/tasks/t-1", "t-1")
    assert re.match(r"GET /r/tasks/t-1 got no response \(\w.*\); the request (may|was)", str(error))


@table(
    "kind",
    [
        each
        for each in rows_of(*BELOW_AT_TIMES)
        # trio's channels, processes and own mistakes are nothing of ours.
        if not each.id.startswith("trio.") or each.id.endswith("ResourceError")
        if each.id not in {"aiohttp.EofStream", "aiohttp.WSMessageTypeError", "aiohttp.WebSocketError"}
    ],
)
def test_optional_parts(kind: type[Exception]) -> None:
    """So does what an option, an injected client or the other event loop brings in."""
    assert issubclass(kind, foreign_failures())


@table("kind", [ValueError, KeyError, AssertionError, RuntimeError, RecursionError])
def test_mistakes(kind: type[Exception]) -> None:
    """A mistake in the code is no failure of the network, and stays what it is."""
    mistake = kind()
    assert map_error(CALL, mistake) is mistake


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@table(
    ("failure", "may_have_been_sent", "retryable", "is_timeout"),
    [
        pytest.param(httpx.ConnectError("refused"), False, True, False, id="no connection"),
        pytest.param(httpx.ConnectTimeout("late"), False, True, True, id="no connection in time"),
        pytest.param(httpx.PoolTimeout("late"), False, True, True, id="no place in a pool in time"),
        pytest.param(httpx.ProxyError("407"), False, True, False, id="the proxy refused"),
        pytest.param(httpx.UnsupportedProtocol("ftp"), False, False, False, id="no protocol of ours"),
        pytest.param(httpx.InvalidURL("too long"), False, False, False, id="no URL"),
        pytest.param(httpx.WriteTimeout("late"), True, True, True, id="not written in time"),
        pytest.param(httpx.WriteError("reset"), True, True, False, id="broke while it was written"),
        pytest.param(httpx.ReadTimeout("late"), True, True, True, id="not answered in time"),
        pytest.param(httpx.ReadError("reset"), True, True, False, id="broke while it was read"),
        pytest.param(httpx.RemoteProtocolError("closed"), True, True, False, id="closed without an answer"),
        pytest.param(TimeoutError("late"), True, True, True, id="our own limit"),
        pytest.param(anyio.ClosedResourceError(), True, True, False, id="closed under us"),
        pytest.param(ClientClosed(), True, False, False, id="the client was closed"),
        pytest.param(
            caused(httpx.ConnectError("bad"), ssl.SSLCertVerificationError(1, "self-signed")),
            False,
            False,
            False,
            id="a certificate that does not verify",
        ),
    ],
)
def test_what_a_failure_means(failure: Exception, may_have_been_sent: bool, retryable: bool, is_timeout: bool) -> None:
    """Only where no connection was made is it certain that nothing arrived; what cannot get better is not tried again."""
    error = transport_error(CALL, failure)
    seen = (error.may_have_been_sent, error.retryable, isinstance(error, TransportTimeout))
    assert seen == (may_have_been_sent, retryable, is_timeout)


def test_httpx_aiohttp() -> None:
    """It calls a connection that broke after the request a `ConnectTimeout`; we ask aiohttp itself."""
    import aiohttp

    broke = transport_error(CALL, caused(httpx.ConnectTimeout("broke"), aiohttp.ServerDisconnectedError()))
    refused = transport_error(CALL, caused(httpx.ConnectTimeout("no"), aiohttp.ConnectionTimeoutError()))
    assert (broke.may_have_been_sent, isinstance(broke, TransportTimeout)) == (True, False)
    assert (refused.may_have_been_sent, isinstance(refused, TransportTimeout)) == (False, True)
    assert "ServerDisconnectedError" in str(broke)


def test_long_words() -> None:
    """Of what a failure quotes from the server, an error keeps a few words."""
    assert len(str(transport_error(CALL, httpx.RemoteProtocolError("x" * 100_000)))) < 1000


def test_secret_in_a_failure() -> None:
    """A failure that quotes our own key is told without it, and is no cause to print."""
    quoting = httpx.RemoteProtocolError("illegal header line: Authorization sk-abcdefgh")
    error = map_error(CALL, quoting, [Key("sk-abcdefgh")])
    assert "sk-abcdefgh" not in str(error)
    assert (error.__cause__, error.__context__) == (None, None)


@table("words", [{}, {"verify_message": "self-signed certificate"}], ids=["bare", "of OpenSSL"])
def test_certificate(words: dict[str, str]) -> None:
    """A certificate that does not verify is named as the trouble, by whomever it was found."""
    trouble = ssl.SSLCertVerificationError(1, "self-signed certificate")
    vars(trouble).update(words)
    said = str(transport_error(CALL, caused(httpx.ConnectError("[SSL]"), trouble)))
    assert "certificate does not verify: " in said
    assert "self-signed certificate" in said


def test_pickles() -> None:
    """A `TransportError` can be sent home from a worker process."""
    error = transport_error(CALL, httpx.ReadTimeout("late"))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_zlib_error_is_listed() -> None:
    """The introspection above finds the one class whose name is no class name."""
    assert zlib.error in [each.values[0] for each in rows_of(*BELOW)]
