"""What every call of the local API has in common: errors, pages, bodies, and path parameters."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TypeVar
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

T = TypeVar("T")


class ApiError(Exception):
    """An error response, in the one shape Cyberun documents: a status and ``{"error_message": "..."}``."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    # Some of the words are the caller's, and may hold what has no bytes.
    body = json.dumps({"error_message": message}, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, headers=headers, media_type="application/json")


def answer_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error.status, error.message, error.headers)


def answer_http_error(_: Request, error: Exception) -> Response:
    """Put Starlette's own error responses (no such path, no such method) into the documented shape."""
    assert isinstance(error, HTTPException)
    message = "resource not found" if error.status_code == 404 else error.detail.lower()
    return error_response(error.status_code, message, error.headers)


def not_found() -> ApiError:
    return ApiError(404, "resource not found")


def path_param(request: Request, name: str) -> str:
    """Read one segment of the path. Routing is on the raw path, so that an escaped slash stays inside its segment."""
    return unquote(request.path_params[name])


def path_uuid(request: Request, name: str) -> str:
    """Read a segment that must be a UUID. One that is not names nothing here: 404, this server's choice."""
    try:
        return str(uuid.UUID(path_param(request, name)))
    except ValueError:
        raise not_found() from None


async def read_json(request: Request, *, optional: bool = False, most: int | None = None) -> dict[str, object]:
    """Read a JSON object from the body; 400 for anything else, and 413 beyond `most` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if most is not None and len(body) > most:
            raise ApiError(413, f"request body must not exceed {most} bytes")
    if optional and not body:
        return {}
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "request body is not valid JSON") from None
    if not isinstance(value, dict):
        raise ApiError(400, "request body must be a JSON object")
    return value


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def page(request: Request, name: str, items: Sequence[T], show: Callable[[T], Mapping[str, object]]) -> Response:
    """Answer with the page that was asked for. https://docs.cyberun.cloud/api-reference"""
    current = _query_int(request, "current_page", default=1, most=None)
    size = _query_int(request, "per_page", default=20, most=100)
    shown: Iterable[T] = items[(current - 1) * size : current * size]
    meta = {"current_page": current, "per_page": size, "total_count": len(items)}
    return JSONResponse({name: [show(item) for item in shown], "page_meta": meta})


def _query_int(request: Request, name: str, *, default: int, most: int | None) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    # Out of range is not documented; this server rejects it instead of clamping, so that a mistake shows.
    # Python does not read a number of thousands of digits.
    if not (text.isascii() and text.isdigit() and len(text) < 19) or not 1 <= int(text) <= (most or int(text)):
        raise ApiError(400, f"{name} must be an integer " + (f"from 1 to {most}" if most else "of at least 1"))
    return int(text)


def wire_time(moment: datetime | None) -> str | None:
    """Write a moment as Cyberun does: RFC 3339 in UTC, ending in Z."""
    if moment is None:
        return None
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
