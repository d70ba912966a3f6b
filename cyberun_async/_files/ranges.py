"""A part of a file: named as Python slices and HTTP ranges name it, and what a response to a request for it brings.

| the response | what comes |
| --- | --- |
| 206 that begins where it was asked to, and is no longer | the part |
| 200 | the complete file, of which the part is cut out here: the storage takes no ranges |
| 416 that says a size beyond which the part lies | nothing |
| anything else of these | not to be used: the file is asked for without a range |

Source: https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
"""

import re
from collections.abc import Mapping
from email.utils import format_datetime

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._files.resume import (
    NOTHING,
    Delivery,
    content_range,
    describe,
    is_longer_than_announced,
    read_delivery,
)
from cyberun_async._protocol.http_dates import parse_http_date
from cyberun_async._validators import is_whole_number


@attrs.frozen
class ByteRange:
    """A part of a file, as a slice.

    Attributes:
        start: Its first byte; below zero, counted from the end of the file.
        stop: The byte after its last one; `None` is the end of the file.

    """

    start: int = 0
    stop: int | None = None

    @property
    def is_complete_file(self) -> bool:
        """Whether it is all of the file."""
        return self.start == 0 and self.stop is None

    @property
    def headers(self) -> dict[str, str]:
        """The header that asks a storage for it."""
        if self.is_complete_file:
            return {}
        if self.start < 0:
            return {"Range": f"bytes={self.start}"}
        return {"Range": f"bytes={self.start}-{'' if self.stop is None else self.stop - 1}"}

    def bounds(self, size: int) -> tuple[int, int]:
        """Where it begins and ends in a file of this size; both are the same where it holds nothing."""
        start, stop, _ = slice(self.start, self.stop).indices(size)
        return start, stop


COMPLETE_FILE = ByteRange()


def check_range(start: object, stop: object) -> ByteRange:
    """Check the bounds of a part of a file.

    Raises:
        InvalidParameters: They are no whole numbers, or hold nothing in any file.

    """
    if not isinstance(start, int) or isinstance(start, bool):
        raise InvalidParameters([f"start must be a whole number of bytes, not {start!r}"])
    if stop is None:
        return ByteRange(start)
    if not is_whole_number(stop):
        raise InvalidParameters([f"stop must be a whole number of bytes, or None for the end, not {stop!r}"])
    if start < 0 or stop <= start:
        raise InvalidParameters([f"stop must be above start, and start not negative, not {start} and {stop}"])
    return ByteRange(start, stop)


_HTTP_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.ASCII | re.IGNORECASE)


def read_http_range(header: str) -> ByteRange | None:
    """Read a `Range` header; one that names several ranges, or none, is ignored, as RFC 9110 allows for: `None`."""
    match = _HTTP_RANGE.fullmatch(header.strip())
    first, last = (int(digits) if digits else None for digits in match.groups()) if match else (None, None)
    if first is None:
        # No last bytes at all would be `bytes=-0`.
        return ByteRange(-last) if last else None
    if last is None:
        return ByteRange(first)
    return ByteRange(first, last + 1) if first <= last else None


def read_part(status: int, headers: Mapping[str, str], wanted: ByteRange) -> Delivery | None:
    """Give what a response to a request for a part brings, or `None` where it brings nothing that can be used."""
    if status == 200:
        return read_delivery(status, headers, NOTHING)
    if (said := content_range(headers)) is None:
        return None
    first, last, total = said
    if status == 416 and first is None and total is not None and wanted.bounds(total) == (total, total):
        return describe(headers, total, total, total)
    if status != 206 or first is None or last is None or is_longer_than_announced(headers, first, last):
        return None
    return describe(headers, first, last + 1, total) if _is_wanted(first, last, total, wanted) else None


def _is_wanted(first: int, last: int, total: int | None, wanted: ByteRange) -> bool:
    """Whether a part is what was asked for, or the beginning of it."""
    if not first <= last or (total is not None and last >= total):
        return False
    if wanted.start < 0:
        return total is not None and first == wanted.bounds(total)[0]
    return first == wanted.start and (wanted.stop is None or last < wanted.stop)


def is_version(if_range: str, delivery: Delivery) -> bool:
    """Whether a response is of the version that an `If-Range` header names: by its strong ETag, or by its date."""
    if if_range.startswith(('"', "W/")):
        return if_range == delivery.etag
    moment = parse_http_date(if_range)
    return moment is not None and moment == delivery.modified


def response_headers(
    status: int, delivery: Delivery | None, content_type: str, start: int, stop: int | None
) -> dict[str, str]:
    """Give the headers of a response that hands bytes of a file on, by what the storage said of it."""
    size = None if delivery is None else delivery.total
    headers = {"Accept-Ranges": "bytes"}
    if status == 416:
        return {**headers, "Content-Range": f"bytes */{size}", "Content-Length": "0"}
    headers["Content-Type"] = content_type
    if stop is not None:
        headers["Content-Length"] = str(stop - start)
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{'*' if size is None else size}"
    if delivery is not None and delivery.etag is not None:
        headers["ETag"] = delivery.etag
    if delivery is not None and delivery.stored_at is not None:
        headers["Last-Modified"] = format_datetime(delivery.stored_at, usegmt=True)
    if delivery is not None and delivery.encoding:
        headers["Content-Encoding"] = delivery.encoding
    return headers
