"""What a storage says about the contents of a file, where it can be trusted.

Sources: https://www.rfc-editor.org/rfc/rfc9530 (`Repr-Digest`),
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html (`x-amz-checksum-…`),
https://cloud.google.com/storage/docs/xml-api/reference-headers (`x-goog-hash`).
"""

import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from typing import Protocol
from zlib import crc32

import attrs

from cyberun_async._transport.content_codings import compressions

_MD5 = re.compile(r'"?([0-9a-f]{32})"?', re.IGNORECASE)

# Their entity tags look like an MD5 and are none.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
_ENCRYPTIONS_WITHOUT_MD5 = ("aws:kms", "aws:kms:dsse", "aws:fsx")

_SIZES = {"sha256": 32, "sha512": 64, "sha1": 20, "crc32": 4, "md5": 16}
"""The algorithms that are understood, the best first, and the bytes of their values."""


@attrs.frozen
class Checksum:
    """A checksum of a complete file.

    Attributes:
        algorithm: As `hashlib` calls it, or `crc32`.
        value: In hexadecimal.
        is_sure: Whether the storage calls it a checksum. An entity tag only looks like one: it may be of anything.

    """

    algorithm: str
    value: str
    is_sure: bool = attrs.field(default=True, eq=False)


def checksum_of(headers: Mapping[str, str]) -> Checksum | None:
    """Give the best checksum of the complete file that the headers of a full or partial response carry."""
    said = dict(_said_in_base64(headers))
    for algorithm, size in _SIZES.items():
        for text in said[algorithm]:
            if value := _hex(text, size):
                return Checksum(algorithm, value)
    if not _is_decompressed(headers) and (md5 := _md5_etag(headers)):
        return Checksum("md5", md5, is_sure=False)
    return None


def contradict(one: Checksum | None, other: Checksum | None) -> bool:
    """Whether two checksums are of different bytes for sure."""
    if one is None or other is None or one.algorithm != other.algorithm:
        return False
    return one.is_sure and other.is_sure and one.value != other.value


class Digest(Protocol):
    """What `hashlib` computes a checksum by."""

    @property
    def name(self) -> str:
        """The algorithm."""

    def update(self, data: bytes, /) -> None:
        """Take in the next bytes."""

    def hexdigest(self) -> str:
        """Give the checksum of all bytes so far."""


class _Crc32:
    """A CRC-32, which `hashlib` does not have."""

    name = "crc32"

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def new_digest(algorithm: str) -> Digest:
    """Start to compute a checksum; it guards against accidents, not against attacks."""
    return _Crc32() if algorithm == _Crc32.name else hashlib.new(algorithm, usedforsecurity=False)


def read_checksum(value: object) -> Checksum | None:
    """Read what `attrs.astuple` has made of a checksum; anything else is none."""
    match value:
        case [str(algorithm), str(digits), bool(is_sure)] if re.fullmatch(r"[0-9a-f]+", digits):
            return Checksum(algorithm, digits, is_sure) if len(digits) == 2 * _SIZES.get(algorithm, 0) else None
    return None


def _said_in_base64(headers: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    digest, goog = headers.get("repr-digest", ""), headers.get("x-goog-hash", "")
    yield "sha256", [_member(digest, "sha-256"), headers.get("x-amz-checksum-sha256", "")]
    yield "sha512", [_member(digest, "sha-512")]
    yield "sha1", [headers.get("x-amz-checksum-sha1", "")]
    yield "crc32", [headers.get("x-amz-checksum-crc32", "")]
    yield "md5", [] if _is_decompressed(headers) else [_member(goog, "md5")]


def _is_decompressed(headers: Mapping[str, str]) -> bool:
    """Whether what comes is not what is stored, of which the storage's hash and entity tag are.

    Source: https://cloud.google.com/storage/docs/transcoding
    """
    stored, sent = headers.get("x-goog-stored-content-encoding", ""), headers.get("content-encoding", "")
    return bool(compressions(stored)) and not compressions(sent)


def _md5_etag(headers: Mapping[str, str]) -> str | None:
    """Read the entity tag of S3 and its kin: an MD5, unless the file came in parts ("…-3") or is encrypted by a key."""
    match = _MD5.fullmatch(headers.get("etag", "").strip())
    encrypted = (
        headers.get("x-amz-server-side-encryption", "") in _ENCRYPTIONS_WITHOUT_MD5
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )
    return match[1].lower() if match and not encrypted else None


def _member(text: str, name: str) -> str:
    """Give one value of a header such as `sha-256=:…:, md5=…`."""
    members = (member.strip().partition("=") for member in text.split(","))
    return next((value.strip(":") for key, _, value in members if key.lower() == name), "")


def _hex(text: str, size: int) -> str | None:
    """Read a checksum in Base64; one of another size is of another thing, such as of the parts of a file."""
    try:
        value = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    return value.hex() if len(value) == size else None
