"""What a storage says about the contents of a file, where it can be trusted."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping

import attrs

_MD5 = re.compile(r'"?([0-9a-f]{32})"?', re.IGNORECASE)

# Their entity tags look like an MD5 and are none.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
_ENCRYPTIONS_WITHOUT_MD5 = ("aws:kms", "aws:kms:dsse", "aws:fsx")


@attrs.frozen
class Checksum:
    """What a whole file comes to.

    Attributes:
        algorithm: As `hashlib` calls it.
        value: In hexadecimal.

    """

    algorithm: str
    value: str


def checksum_of(headers: Mapping[str, str]) -> Checksum | None:
    """Give the best checksum of the whole file that the headers of a full or partial answer carry."""
    for text in (_member(headers.get("repr-digest", ""), "sha-256"), headers.get("x-amz-checksum-sha256", "")):
        if sha256 := _hex(text, 32):
            return Checksum("sha256", sha256)
    if md5 := _hex(_member(headers.get("x-goog-hash", ""), "md5"), 16) or _md5_etag(headers):
        return Checksum("md5", md5)
    return None


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
    return next((value.strip(":") for key, _, value in members if key == name), "")


def _hex(text: str, size: int) -> str | None:
    """Read a checksum in Base64; one of another size is of another thing, such as of the parts of a file."""
    try:
        value = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    return value.hex() if len(value) == size else None
