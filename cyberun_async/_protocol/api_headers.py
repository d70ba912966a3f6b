"""Headers of the user's own for the API, as a gateway in front of it may want them. (Cloudflare Access, reserved names)"""

import re
from collections.abc import Mapping

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.secret import Key, Secret

ApiHeaders = tuple[tuple[str, Key], ...]
"""Names as they were given, and values, of which each may be a secret."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE = re.compile(rf"{_NAME.pattern}:.*")
_VALUE = re.compile(r"[\t -~]*")

_RESERVED = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-team-id",
    }
)
"""What the client sends itself, and what belongs to a connection."""


class SealedHeaders(tuple[object, ...]):
    """Names and values as they were given, with the values as secrets."""

    __slots__ = ()


def seal_headers(headers: object) -> object:
    """Give headers with their values as secrets, and what is no mapping as it is: a traceback shows local variables."""
    if not isinstance(headers, Mapping):
        return headers
    return SealedHeaders((name, Key(value) if isinstance(value, str) else value) for name, value in headers.items())


def parse_headers(lines: Secret[str]) -> SealedHeaders:
    """Read headers as the environment has them: `Name: value`, one a line.

    Raises:
        ConfigurationError: A line is none; it is named by its number, as all of it may be a secret.

    """
    sealed = [Key(line.strip()) for line in lines.reveal().splitlines()]
    wrong = [number for number, line in enumerate(sealed, 1) if line.reveal() and not _LINE.fullmatch(line.reveal())]
    if wrong:
        message = f"line {wrong[0]} of CYBERUN_HEADERS is no header: write 'Name: value', one a line"
        raise ConfigurationError(message)
    pairs = (line.reveal().partition(":") for line in sealed if line.reveal())
    return SealedHeaders((name, Key(value.strip())) for name, _, value in pairs)


def check_headers(headers: object) -> ApiHeaders:
    """Give what `seal_headers` has given, if all of it can be sent, and none of it is the client's own.

    Raises:
        ConfigurationError: It cannot, or is. The message has the header's name, and never its value.

    """
    if headers is None:
        return ()
    if not isinstance(headers, SealedHeaders):
        message = f"headers must be a mapping of names to values, not {type(headers).__name__}"
        raise ConfigurationError(message)
    pairs: ApiHeaders = tuple(headers)  # type: ignore[arg-type]
    for name, value in pairs:
        problem = _problem_of(name, value)
        if problem is not None:
            raise ConfigurationError(problem)
    names = [name.lower() for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = (
            f"headers has {twice!r} twice: upper and lower case are the same in names of headers, so leave one out"
        )
        raise ConfigurationError(message)
    return tuple((name, Key(value.reveal().strip(" \t"))) for name, value in pairs)


def _problem_of(name: object, value: object) -> str | None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"headers has a name that no request can carry ({name!r}): use letters, digits and hyphens"
    if name.lower() in _RESERVED:
        return f"the header {name} is set by the client itself: leave it out of headers"
    if not isinstance(value, Key):
        return f"the header {name} must be a string, not {type(value).__name__}"
    if not _VALUE.fullmatch(value.reveal()):
        return f"the header {name} has a character that no header can carry: use printable ASCII, without line breaks"
    return None


def merge_headers(before: ApiHeaders, given: ApiHeaders) -> ApiHeaders:
    """Add headers to those of before; one of the same name takes the other's place."""
    names = {name.lower() for name, _ in given}
    return (*((name, value) for name, value in before if name.lower() not in names), *given)
