"""Find the words of an error in whatever JSON a server puts them.

Documented is `{"error_message": "..."}`; frameworks and proxies have shapes of their own.
"""

import json
import re
from collections.abc import Mapping
from html import unescape

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.json_text import parse_json

_NAMES = (
    "error_message",
    "task_error",
    "error",
    "message",
    "detail",
    "details",
    "errors",
    "msg",
    "reason",
    "error_description",
    "title",
    "description",
)
_MAX_DEPTH = 4
_MAX_PARTS = 10
_MAX_JSON = 500
"""Characters of an object that has no words, and is shown as it is."""

_TITLE = re.compile(r"<title[^>]*>([^<]{1,300})", re.IGNORECASE)
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2}").search
_MAX_PAGE = 300
"""Characters that are shown of a page."""

_CHARACTERS_PER_UNREADABLE = 5
"""Of so many characters one may be unreadable, as in text that is not UTF-8."""


def error_text(value: object) -> str | None:
    """Give the words of a parsed JSON value: by the names that errors have, else the value itself; `None` for nothing.

    The text is as the server wrote it: secrets are not redacted.
    """
    words = _words(value, _MAX_DEPTH)
    if words is not None or isinstance(value, bool):
        return words
    if isinstance(value, dict):
        stated = {name: item for name, item in value.items() if not _says_nothing(item)}
        value = next((stated[name] for name in _NAMES if name in stated), stated)
    return None if _says_nothing(value) else json.dumps(value, ensure_ascii=False)[:_MAX_JSON]


def _says_nothing(value: object) -> bool:
    return value in (None, False, "", [], {}) or (isinstance(value, str) and not value.strip())


def body_text(body: str) -> str | None:
    """Give the words of an error response's body, which need not be JSON."""
    try:
        value = parse_json(body)
    except DecodeError:
        return _words_of_page(body)
    return error_text(value)


def _words(value: object, depth: int) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        found = (_words(value[name], depth - 1) for name in _NAMES if name in value)
        words = next((each for each in found if each), None)
        place = _place_of(value.get("loc")) if words else ""
        return f"{place}: {words}" if place else words
    if isinstance(value, list):
        parts = [words for item in value[:_MAX_PARTS] if (words := _words(item, depth - 1))]
        return "; ".join(parts) or None
    return None


def _place_of(location: object) -> str:
    """Write a place as FastAPI and pydantic give it."""
    return ".".join(map(str, location)) if isinstance(location, list) and len(location) <= _MAX_PARTS else ""


def _words_of_page(text: str) -> str | None:
    """Give plain text as it is, and of HTML the title or else what can be seen."""
    is_page = "<" in text
    if is_page:
        title = _TITLE.search(text)
        text = unescape(title[1] if title else _UNSEEN.sub(" ", text))[:_MAX_PAGE]
    text = " ".join(text.split())
    is_readable = text.isprintable() and text.count("\ufffd") * _CHARACTERS_PER_UNREADABLE < len(text)
    if text[:1] in {"{", "["}:  # JSON that was truncated, or is invalid.
        return text[:_MAX_PAGE] if is_readable and _WORD(text) else None
    return text if text and is_readable else None
