"""From the status and body of an answer to the error that it stands for."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import timezone
from email.utils import parsedate_to_datetime

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
from cyberun_async._protocol.hiding import hide
from cyberun_async._protocol.secret import Secret

_KINDS: Mapping[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: BadRequestError,
    429: RateLimitError,
}

_SHOWN = 2000
"""Characters of an answer that an error keeps."""

_ORIGIN = re.compile(r"(?P<scheme>https?)://(?:[^/?#\\]*@)?(?P<host>[\w.:\[\]-]+)(?![^/?#])", re.IGNORECASE)


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str,
    path: str,
    secrets: Sequence[Secret[str]] = (),
    task_id: str | None = None,
) -> APIError:
    """Give the error that an answer stands for, with every secret cut out of the server's words."""
    text = body.decode("utf-8", "replace")
    kind = _KINDS.get(status, ServerError if status >= 500 else APIError)
    return kind(
        status,
        hide(_message(text), secrets)[:_SHOWN] or _stand_in(status, headers),
        method=method,
        path=path,
        retry_after=parse_retry_after(headers.get("retry-after")),
        request_id=hide(headers.get("x-request-id", ""), secrets)[:_SHOWN] or None,
        body=hide(text, secrets)[:_SHOWN],
        task_id=task_id,
    )


def _message(text: str) -> str:
    """Give the server's own words: the one documented field of an error body."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    message = body.get("error_message") if isinstance(body, dict) else None
    return message.strip() if isinstance(message, str) else ""


def _stand_in(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:
        return f"it redirects to {_origin(headers.get('location', ''))}"
    return "the server gave no reason"


def _origin(url: str) -> str:
    """Give scheme and host of a URL; what else is in it may be a secret."""
    parts = _ORIGIN.match(url)
    return f"{parts['scheme']}://{parts['host']}" if parts else "another place"


def parse_retry_after(value: str | None, *, now: float | None = None) -> float | None:
    """Read a `Retry-After` header as seconds from now; a date in the past is 0, nonsense is `None`.

    Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # It is how `email.utils` gives the zone `-0000`, which is UTC.
            moment = moment.replace(tzinfo=timezone.utc)
        return max(0.0, moment.timestamp() - (time.time() if now is None else now))
    except (ValueError, OverflowError, TypeError, IndexError):  # The last two are of older releases.
        return None
