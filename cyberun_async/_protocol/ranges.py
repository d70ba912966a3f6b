"""Which bytes of a file an answer brings, and which are asked for.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import attrs

from cyberun_async._protocol.checksums import Checksum, checksum_of

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII | re.IGNORECASE)
_ACTUAL_SIZE = re.compile(rb"<ActualObjectSize>(\d{1,19})</ActualObjectSize>")


@attrs.frozen
class Have:
    """What is there of a file already.

    Attributes:
        size: Bytes from its beginning.
        etag: The version that they are of; without one, the file cannot be gone on with.

    """

    size: int = 0
    etag: str | None = None


NOTHING = Have()


@attrs.frozen(kw_only=True)
class Delivery:
    """What an answer brings.

    Attributes:
        start: Where in the file its first byte belongs.
        total: The size of the whole file, where the storage says so.
        etag: The version of the file, where the storage names it so that bytes can be compared by it.
        checksum: What the whole file has to come to, where the storage says so in a way that can be trusted.
        modified: When the file was made, in seconds since 1970, where the storage says so.

    """

    start: int
    total: int | None
    etag: str | None
    checksum: Checksum | None
    modified: float | None

    @property
    def is_complete(self) -> bool:
        """Whether nothing was missing; what the answer has for a body is no part of the file then."""
        return self.start == self.total


def range_headers(have: Have) -> dict[str, str]:
    """Ask for what is missing, or for everything should the file have changed."""
    if not have.size or have.etag is None:
        return {}
    return {"Range": f"bytes={have.size}-", "If-Range": have.etag}


def read_delivery(status: int, headers: Mapping[str, str], have: Have) -> Delivery | None:
    """Give what an answer to `range_headers` brings, or `None` where it brings nothing that can be used."""
    if status == 200:
        return _delivery(headers, 0, _length(headers))
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    first, _, total = (int(part) if part and part != "*" else None for part in match.groups())
    etag = strong_etag(headers)
    is_whole = status == 416 and total == have.size
    goes_on = status == 206 and first == have.size and (have.etag is None or etag in {None, have.etag})
    # An answer to If-Range may leave out what the first one said.
    return _delivery({"etag": have.etag or "", **headers}, have.size, total) if is_whole or goes_on else None


def size_in_refusal(body: bytes) -> int | None:
    """Read the size of a file from the body of a 416, where S3 has it; not every storage has the header for it."""
    match = _ACTUAL_SIZE.search(body)
    return int(match[1]) if match else None


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """Give the entity tag, unless it is one that two different sequences of bytes may share."""
    etag = headers.get("etag", "").strip()
    return etag if etag and not etag.startswith("W/") else None


def _delivery(headers: Mapping[str, str], start: int, total: int | None) -> Delivery:
    return Delivery(
        start=start,
        total=total,
        etag=strong_etag(headers),
        checksum=checksum_of(headers),
        modified=_modified(headers),
    )


def _length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _modified(headers: Mapping[str, str]) -> float | None:
    try:
        return parsedate_to_datetime(headers.get("last-modified", "")).timestamp()
    except ValueError:
        return None
