"""Requests that go through to a container service as they are: never to another path, never with another key.

Source: https://docs.cyberun.cloud/api-reference/containers (`ANY /r/containers/{serviceSlug}/*`)
"""

import re
from collections.abc import AsyncIterable, Mapping
from types import NoneType
from urllib.parse import quote, unquote

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.containers import INVOKE_METHODS
from cyberun_async._protocol.paths import segment

Content = bytes | AsyncIterable[bytes]
"""The body of a request to a container service."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")
_SEGMENT_ENDS = re.compile(r"[/\\]")
_SAFE = "/?&=:@!$'()*+,;~%-._"

_OWN_HEADERS = frozenset({"authorization", "host", "x-team-id", "content-length"})
_OF_CONNECTIONS = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"}
)
_FORBIDDEN = _OWN_HEADERS | _OF_CONNECTIONS | {"transfer-encoding"}


@attrs.frozen(kw_only=True)
class ContainerRequest:
    """A request to a container service.

    Attributes:
        call: What is asked, for the errors: without the query, which may hold secrets.
        target: Its path below the base URL, with the query.
        headers: Further headers, by their usual spelling.
        content: The body, if there is one.

    """

    call: Call[None]
    target: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    content: Content | None = attrs.field(repr=False)

    @property
    def is_replayable(self) -> bool:
        """Whether its body can be sent again."""
        return not isinstance(self.content, AsyncIterable)


def container_request(
    slug: str, method: str, path: str, *, content: Content | None, headers: Mapping[str, str] | None
) -> ContainerRequest:
    """Check a request to a container service.

    Raises:
        InvalidParameters: It would not go to that service, or has a body or a header that cannot be sent.

    """
    problems = [problem for problem in (_problem_of_method(method), _problem_of_path(path)) if problem is not None]
    if content is not None and not isinstance(content, (bytes, bytearray, memoryview, AsyncIterable)):
        problems.append(f"content must be bytes or an async iterable of bytes, not {type(content).__name__}")
    problems.extend(_problems_of_headers({} if headers is None else headers))
    if problems:
        raise InvalidParameters(problems)
    base = f"/r/containers/{segment(slug, 'the service')}"
    plain, mark, query = path.partition("?")
    place = base + quote(plain, safe=_SAFE.replace("?", ""))
    call: Call[None] = Call(method, place, NoneType, repeatable=False)
    return ContainerRequest(
        call=call,
        target=f"{place}{mark}{quote(query, safe=_SAFE)}",
        headers={name.title(): value for name, value in (headers or {}).items()},
        content=bytes(content) if isinstance(content, (bytearray, memoryview)) else content,
    )


def _problem_of_method(method: object) -> str | None:
    if method in INVOKE_METHODS:
        return None
    return f"method must be one of {', '.join(INVOKE_METHODS)}, not {method!r}"


def _problem_of_path(path: object) -> str | None:
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        return f"path must begin with a single slash and stay on the service, not {path!r}"
    plain = path.partition("?")[0]
    # What one server decodes once, the next one may decode again.
    while (decoded := unquote(plain)) != plain:
        plain = decoded
    # Some servers cut off parameters of a segment, which makes `..;a` one of these, too.
    if {".", ".."}.intersection(part.partition(";")[0] for part in _SEGMENT_ENDS.split(plain)):
        return f"path must stay on the service, so no part of it may be '.' or '..': {path!r}"
    if not path.isprintable() or "#" in path:
        return f"path must be printable and without a fragment: {path!r}"
    return None


def _problems_of_headers(headers: object) -> list[str]:
    """Find what is wrong with headers; no value is repeated."""
    if not isinstance(headers, Mapping):
        return ["headers must be strings by name"]
    problems = []
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            problems.append("headers must be strings by name")
        elif name.lower() in _FORBIDDEN:
            problems.append(f"the header {name} is the client's own: leave it out")
        elif not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            problems.append(f"the header {name!r} cannot be sent")
    return problems
