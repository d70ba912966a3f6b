"""From the status and body of an error response to the class of the exception. (HTTP status, error mapping)"""

import re
import time
from collections.abc import Mapping, Sequence

from cyberun_async._errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from cyberun_async._protocol.error_text import body_text
from cyberun_async._protocol.http_dates import parse_http_date
from cyberun_async._protocol.redaction import MAX_SHOWN, redact, redacted
from cyberun_async._protocol.secret import Secret

_PASSING = frozenset({408, 425, 429})
_NEVER_BETTER = frozenset({501, 505})
"""Of the failures of a server, those that say what it cannot do at all."""

_KINDS: Mapping[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: BadRequestError,
    429: RateLimitError,
}

ERROR_TEXT = 64 * 1024
"""Bytes of an error response's body that are read."""

_ORIGIN = re.compile(r"(?P<scheme>https?)://(?:[^/?#\\]*@)?(?P<host>[\w.:\[\]-]+)(?![^/?#])", re.IGNORECASE)


def is_passing_status(status: int) -> bool:
    """Whether the same request may succeed a little later, as far as the status of an error response says that."""
    # Proxies have numbers of their own beyond the standard's, such as 522 and 530.
    return status in _PASSING or (status >= 500 and status not in _NEVER_BETTER)


def api_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str,
    path: str,
    secrets: Sequence[Secret[str]] = (),
    advice: str | None = None,
    task_id: str | None = None,
) -> APIError:
    """Give the exception for an error response, with every secret redacted in the server's words."""
    text = body.decode("utf-8", "replace")
    kind = _KINDS.get(status, ServerError if status >= 500 else APIError)
    return kind(
        status,
        redact(body_text(text) or "", secrets)[:MAX_SHOWN] or _stand_in(status, headers),
        method=method,
        path=path,
        retry_after=retry_after_of(headers),
        request_id=request_id_of(headers, secrets),
        body=redacted(body, secrets),
        is_page=is_page(headers, text),
        advice=advice,
        task_id=task_id,
    )


def request_id_of(headers: Mapping[str, str], secrets: Sequence[Secret[str]] = ()) -> str | None:
    """Give the server's id of a request, or `None` where it has sent none."""
    return redact(headers.get("x-request-id", ""), secrets)[:MAX_SHOWN] or None


_PAGES = ("text/html", "application/xhtml+xml")

_CHALLENGES = ("cf-mitigated", "x-amzn-waf-action")
"""Headers by which a firewall says that it has answered in the place of the server."""


def is_page(headers: Mapping[str, str], text: str) -> bool:
    """Whether an error response is a web page or a challenge, as what stands in front of an API sends it.

    Sources: https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response/ and
    https://docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-how-it-works.html
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return (
        kind in _PAGES
        or any(name in headers for name in _CHALLENGES)
        or text.lstrip("\ufeff \t\r\n")[:15].lower().startswith(("<!doctype html", "<html"))
    )


def _stand_in(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:
        return f"it redirects to {_origin(headers.get('location', ''))}"
    return "the server gave no reason"


def _origin(url: str) -> str:
    """Give scheme and host of a URL; what else is in it may be a secret."""
    parts = _ORIGIN.match(url)
    return f"{parts['scheme']}://{parts['host']}" if parts else "another place"


_SECONDS = re.compile(r"\d+(\.\d*)?(\s*,\s*\d+(\.\d*)?)*", re.ASCII).fullmatch


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Read the `Retry-After` of a response; a date counts from the response's own `Date`, whose clock it is from."""
    return parse_retry_after(headers.get("retry-after"), now=parse_http_date(headers.get("date")))


def parse_retry_after(value: str | None, *, now: float | None = None) -> float | None:
    """Read a `Retry-After` header as seconds from now; a date in the past is 0, nonsense is `None`.

    Of several numbers, which is how a repeated header arrives, the longest counts.

    Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS(value):
        return max(float(each) for each in value.split(","))
    moment = parse_http_date(value)
    return None if moment is None else max(0.0, moment - (time.time() if now is None else now))
