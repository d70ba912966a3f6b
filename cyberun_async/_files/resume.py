"""Whether a download resumes: continue, start over, or complete; decided by the response to a range request.

What was fetched of one version of a file must never be continued with bytes of another. A version is known by its strong
entity tag and its size. `range_headers` asks for what is missing with `If-Range`, and `read_delivery` decides:

| the response to the range request | decision |
| --- | --- |
| 206 from where the bytes end, with the same tag, and of the same size | continue |
| the same without a tag | continue if the checksum of the complete file will be compared; else start over |
| 206 of another size, another version, another range, or longer than its range | start over |
| 200 | start over, with the body of this response |
| 416 that says the size that is there, with a tag | complete: there is nothing more |
| any other 416 | start over |
| anything else | an error response: `storage_errors.py` says whether it is retried, with a fresh URL or not |

Starting over is never wrong. Where `read_delivery` gives `None` for a 206 or a 416, `remote_file.py` asks for the file
again without a range. A 206 that is longer than its range is not believed at all: some servers send the complete file
under the head of a part.

A file of which all bytes are there is confirmed by its last byte, asked for again: a 416, which most servers send
without a tag, says nothing of the version.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone

import attrs

from cyberun_async._files.checksums import Checksum, checksum_of, contradict, read_checksum
from cyberun_async._protocol.http_dates import parse_http_date
from cyberun_async._transport.content_codings import compressions

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_ACTUAL_SIZE = re.compile(rb"<ActualObjectSize>(\d{1,18})</ActualObjectSize>")
_SIZE = re.compile(r"\d{1,18}", re.ASCII)

_MAX_ETAG_CHARS = 1000
"""Characters of an entity tag: a longer one would not get through as a header."""


@attrs.frozen
class Have:
    """What is there of a file already.

    Attributes:
        size: Bytes from its beginning.
        etag: The version that they are of; without one, the download cannot resume.
        total: The size of the complete file in that version, if it is known.
        checksum: The checksum of the complete file in that version, if it is known.
        encoding: The `Content-Encoding` that the bytes have, if that is a compression.
        is_checked: Whether that will be compared in the end.

    """

    size: int = 0
    etag: str | None = None
    total: int | None = None
    checksum: Checksum | None = None
    encoding: str = ""
    is_checked: bool = True

    @property
    def resume_at(self) -> int:
        """Where the next request begins: after the last byte, or at it where all are there."""
        return self.size - 1 if 0 < self.size == self.total else self.size


NOTHING = Have()


@attrs.frozen(kw_only=True)
class Delivery:
    """What a response brings.

    Attributes:
        start: Where in the file its first byte belongs.
        end: Where in the file its last byte belongs, plus one, where the storage says so.
        total: The size of the complete file, if the storage says it.
        etag: The version of the file, where the storage names it so that bytes can be compared by it.
        checksum: The checksum of the complete file, if the storage says one that can be trusted.
        modified: When the file was made, in seconds since 1970, where the storage says so.
        encoding: The `Content-Encoding` that the file is stored with, if that is a compression.
        content_type: The `Content-Type`, where the storage says one that can be handed on.
        is_confirmed: Whether the response says itself of which version it is.

    """

    start: int
    end: int | None
    total: int | None
    etag: str | None
    checksum: Checksum | None
    modified: float | None
    encoding: str = ""
    content_type: str | None = None
    is_confirmed: bool = True

    @property
    def stored_at(self) -> datetime | None:
        """When the file was made, where that is a date that can be written."""
        try:
            return None if self.modified is None else datetime.fromtimestamp(self.modified, timezone.utc)
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def starts_over(self) -> bool:
        """Whether it brings the file from its first byte, so that nothing of what is there is used."""
        return self.start == 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing was missing; what the response has for a body is no part of the file then."""
        return self.start == self.total


def range_headers(have: Have, stop: int | None = None) -> dict[str, str]:
    """Ask for what is missing, up to some byte or to the end, or for everything should the file have changed."""
    if not have.size or have.etag is None:
        return {}
    last = "" if stop is None or stop == have.total else str(stop - 1)
    return {"Range": f"bytes={have.resume_at}-{last}", "If-Range": have.etag}


def read_delivery(status: int, headers: Mapping[str, str], have: Have) -> Delivery | None:
    """Give what a response to `range_headers` brings, or `None` where it brings nothing that can be used."""
    if status == 200:
        length = content_length(headers)
        return describe(headers, 0, length, length)
    if (said_range := content_range(headers)) is None:
        return None
    first, last, said = said_range
    total = have.total if said is None else said
    if total is None or (have.total is not None and total != have.total) or not _may_continue(headers, have):
        return None
    if status == 206 and first == have.resume_at and last is not None and first <= last < total:
        is_longer = is_longer_than_announced(headers, first, last)
        return None if is_longer else describe(headers, have.size, last + 1, total, have)
    if status == 416 and first is None and total == have.size and (not have.size or strong_etag(headers)):
        return describe(headers, have.size, total, total, have)
    return None


def _may_continue(headers: Mapping[str, str], have: Have) -> bool:
    """Whether a response is of the version that is there, or will turn out not to be."""
    if not have.size:
        return True
    etag = strong_etag(headers)
    # Nothing is joined where all is there, so the checksum would prove no more than that there was such a version.
    is_proven = have.is_checked and have.checksum is not None and have.resume_at == have.size
    is_alike = _encoding(headers) == have.encoding and not contradict(have.checksum, checksum_of(headers))
    return is_alike and (etag == have.etag if etag else is_proven)


def is_same_version(one: Delivery, other: Delivery) -> bool:
    """Whether two responses are certain to be of one version of a file, so that their bytes may be joined."""
    return one.etag is not None and has_same_facts(one, other)


def has_same_facts(one: Delivery, other: Delivery) -> bool:
    """Whether two responses may be of one version of a file."""
    is_alike = other.etag == one.etag and other.encoding == one.encoding and other.total in {None, one.total}
    return is_alike and not contradict(one.checksum, other.checksum)


def size_in_error(body: bytes) -> int | None:
    """Read the size of a file from the body of a 416, where S3 has it; not every storage has the header for it."""
    match = _ACTUAL_SIZE.search(body)
    return int(match[1]) if match else None


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """Give the entity tag, unless two different sequences of bytes may share it, or it cannot be sent back."""
    etag = headers.get("etag", "").strip()
    return etag if is_usable_etag(etag) and not etag.startswith("W/") else None


def is_usable_etag(etag: str) -> bool:
    """Whether an entity tag can be sent back as a header."""
    return etag.isascii() and etag.isprintable() and 0 < len(etag) <= _MAX_ETAG_CHARS


def content_length(headers: Mapping[str, str]) -> int | None:
    """Give the length of a body, where the headers say it."""
    length = headers.get("content-length", "").strip()
    return int(length) if _SIZE.fullmatch(length) else None


def content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None, int | None] | None:
    """Read `Content-Range`: the first byte, the last one, and the size of the file, each where it is said."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    first, last, total = (int(part) if part and part != "*" else None for part in match.groups())
    return first, last, total


def is_longer_than_announced(headers: Mapping[str, str], first: int, last: int) -> bool:
    """Whether the body of a part has more bytes than its range."""
    return (content_length(headers) or 0) > last + 1 - first


def describe(
    headers: Mapping[str, str], start: int, end: int | None, total: int | None, have: Have = NOTHING
) -> Delivery:
    """Give what a response brings by its headers: these bytes of the file, after those that are there."""
    etag = strong_etag(headers)
    return Delivery(
        start=start,
        end=end,
        total=total,
        etag=etag or have.etag,
        checksum=have.checksum or checksum_of(headers),
        modified=parse_http_date(headers.get("last-modified")),
        encoding=_encoding(headers),
        content_type=_content_type(headers),
        is_confirmed=etag is not None or not have.size,
    )


def _content_type(headers: Mapping[str, str]) -> str | None:
    said = headers.get("content-type", "").strip()
    return said if said.isascii() and said.isprintable() and said else None


def _encoding(headers: Mapping[str, str]) -> str:
    return ", ".join(compressions(headers.get("content-encoding", "")))


# Which version the bytes in a temporary file are of, in a file beside it


def write_version(have: Have, place: str) -> bytes:
    """Write down of which version bytes are, and on which machine, since when it runs, they were written."""
    checksum = None if have.checksum is None else attrs.astuple(have.checksum)
    version = {"etag": have.etag, "total": have.total, "checksum": checksum, "encoding": have.encoding}
    return json.dumps({**version, "on": place}).encode()


def read_version(text: bytes, size: int, place: str) -> Have:
    """Read what `write_version` wrote; anything else means that there is nothing to resume.

    A machine that lost its power may have lost what was not flushed to the disk, and leaves NULs in its place. So what
    was written before the last start, or elsewhere, is resumed only where a checksum will be compared.
    """
    try:
        version = json.loads(text.decode())
    except (ValueError, RecursionError):
        return NOTHING
    match version:
        case {
            "etag": str(etag),
            "total": int() | None as total,
            "checksum": said,
            "encoding": str(encoding),
            "on": on,
        } if is_usable_etag(etag):
            have = Have(size, etag, total, read_checksum(said), encoding)
            is_safe = on == place or have.checksum is not None
            return have if is_safe and (total is None or 0 <= size <= total) else NOTHING
    return NOTHING
