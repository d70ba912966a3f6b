"""Which bytes a GET asks for: the part of RFC 9110 section 14 that one range needs."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class Unsatisfiable(Exception):
    """The range begins past the end."""


def requested_range(headers: Mapping[str, str], size: int, etag: str, modified: str) -> range | None:
    """Say which bytes to send; None stands for all of them.

    Anything but one well-formed range is passed over, as the standard allows, and so is a range whose ``If-Range`` names another
    state of the object.

    Raises:
        Unsatisfiable: if no byte of the object is in the range.
    """
    match = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if match is None or headers.get("if-range", etag) not in (etag, modified):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, stop = max(0, size - int(last)), size
        if int(last) == 0:
            raise Unsatisfiable
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size:
        raise Unsatisfiable
    return range(start, stop)
