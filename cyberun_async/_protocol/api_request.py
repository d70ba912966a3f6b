"""Any endpoint, also one without a method of its own: checking its path, and what is given of its response. (escape hatch)"""

import re
from collections.abc import Mapping
from types import NoneType
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.containers import INVOKE_METHODS
from cyberun_async._protocol.record import Record

T_co = TypeVar("T_co", covariant=True)

REPEATABLE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that are retried: of the others, it is the endpoint that decides what a second request does."""

_LONE_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})")
_JSON = re.compile(r"application/([\w.+-]+\+)?json", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class APIResponse(Generic[T_co]):
    """The response to `AsyncClient.request()`.

    Its `repr` shows no header, data or content, in which there may be secrets and presigned URLs.

    Attributes:
        status: The HTTP status code, from 200 to 299.
        headers: The headers by their names in lower case; several of one name are joined by a comma.
        request_id: The server's id of the request (`X-Request-Id`), or `None` where it sends none.
        data: The record that was asked for with `returns=`; else the parsed JSON, or `None` where the body is empty or,
            by its `Content-Type`, no JSON.
        content: The body as it came.

    Source: https://docs.cyberun.cloud/api-reference

    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    request_id: str | None
    data: T_co = attrs.field(repr=False)
    content: bytes = attrs.field(default=b"", repr=False)


def api_call(method: object, path: object, returns: type[Any], *, json: object, params: object) -> Call[Any]:
    """Give the call of an endpoint below the base URL.

    Raises:
        InvalidParameters: The method, the path or the parameters cannot be, with every problem.

    """
    problems = [*_problems_with_path(path), *_problems_with_params(params)]
    verb = method.upper() if isinstance(method, str) else method
    if verb not in INVOKE_METHODS:
        problems.insert(0, f"method must be one of {', '.join(INVOKE_METHODS)}, not {method!r}")
    if problems:
        raise InvalidParameters(problems)
    assert isinstance(verb, str)
    assert isinstance(path, str)
    assert isinstance(params, (Mapping, NoneType))
    return Call(
        verb,
        # What is escaped already stays as it is.
        quote(_LONE_PERCENT.sub("%25", path), safe="/%!$&'()*+,;=:@"),
        returns,
        query=[(name, _text(item)) for name, value in (params or {}).items() for item in _items(value)],
        body=json,
        repeatable=verb in REPEATABLE_METHODS,
    )


def check_returns(returns: object) -> None:
    """Refuse what a response cannot be structured into.

    Raises:
        InvalidParameters: It is no record of this package.

    """
    is_record = isinstance(returns, type) and issubclass(returns, Record) and attrs.has(returns)
    if returns is not None and not is_record:
        raise InvalidParameters([f"returns must be a record's class, such as Task, or None, not {returns!r}"])


def has_json(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a response has JSON, which one without a `Content-Type` is taken to have."""
    kind = headers.get("content-type", "")
    return bool(body.strip()) and (not kind.strip() or bool(_JSON.match(kind.strip())))


def _problems_with_path(path: object) -> list[str]:
    """Say why a path would leave the base URL, or not be one."""
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        return [f"path must begin with a single slash, below base_url, as in '/r/tasks', not {path!r}"]
    if "?" in path or "#" in path:
        return [f"path must have no query or fragment: pass params, not {path!r}"]
    # Some servers take a backslash, or a slash that is escaped, for a slash, and a proxy before them may decode as well.
    plain = path
    while (decoded := unquote(plain).replace("\\", "/")) != plain:
        plain = decoded
    if not plain.isprintable() or {".", ".."} & set(plain.split("/")):
        return [f"path must stay below base_url, without '.', '..' or control characters, not {path!r}"]
    return []


def _problems_with_params(params: object) -> list[str]:
    if params is None:
        return []
    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        return [f"params must be a mapping of values by name, not {type(params).__name__}"]
    return [
        f"params[{name!r}] must be text, a number, a boolean, None or a list of those, not {type(item).__name__}"
        for name, value in params.items()
        for item in _items(value)
        if not isinstance(item, (str, int, float)) or not _is_text(name + str(item))
    ]


def _items(value: object) -> "list[Any]":
    """Give the values of a parameter, which may have several, or none."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _text(value: "str | float") -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
