"""Ids and slugs on their way into paths, so that none of them can change the route."""

import re
from urllib.parse import quote

from cyberun_async._errors import InvalidParameters
from cyberun_async._validators import check_kind

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def segment(value: str, what: str) -> str:
    """Escape an id or slug into exactly one segment of a path.

    Raises:
        InvalidParameters: It is not a string, is empty, or is `.` or `..`, which no escape keeps in its place.

    """
    check_kind(value, str, what, "a string")
    if value in {"", ".", ".."}:
        raise InvalidParameters([f"{what} must not be {value!r}" if value else f"{what} must not be empty"])
    try:
        return quote(value, safe="@")
    except UnicodeEncodeError:
        raise InvalidParameters([f"{what} is not valid text: {value!r}"]) from None


def is_uuid(value: str) -> bool:
    """Whether a workflow is named by its id, and not by its slug."""
    return _UUID.fullmatch(value) is not None


def workflow_path(ref: str) -> str:
    """Give the path of a workflow; one with a UUID has another route."""
    escaped = segment(ref, "the workflow")
    return f"/r/workflows/{escaped}" if is_uuid(ref) else f"/r/workflows/slug/{escaped}"
