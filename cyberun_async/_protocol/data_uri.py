"""Data URIs, as pages and language models hand files over: base64 or percent-encoded, with a media type.

Strict, since a byte that is guessed would be billed: what a browser passes over in silence is an error here. Nothing of
the data gets into a message.

Sources: https://www.rfc-editor.org/rfc/rfc2397, https://fetch.spec.whatwg.org/#data-urls
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error

from cyberun_async._errors import InvalidParameters

_DATA = re.compile(r"\s*data:", re.IGNORECASE)
_BASE64 = re.compile(r"\s*;\s*base64\s*\Z", re.IGNORECASE)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the word for it in RFC 9110
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|\"[^\"\\]*\"))*", re.ASCII)
_DIGITS = "0123456789ABCDEFabcdef"
_BYTES = {f"{high}{low}".encode(): bytes.fromhex(high + low) for high in _DIGITS for low in _DIGITS}

DEFAULT_TYPE = "text/plain;charset=US-ASCII"
"""What a data URI holds that does not say it."""


def read_data_uri(uri: str, max_bytes: int) -> tuple[bytes, str]:
    """Give the bytes of a data URI, and their media type.

    Raises:
        InvalidParameters: It is none, is damaged, holds nothing, or more than `max_bytes`.

    """
    if _DATA.match(uri) is None:
        raise _problem("it does not begin with 'data:'")
    head, comma, data = uri.partition(":")[2].partition(",")
    if not comma:
        raise _problem("it has no comma before its data")
    is_base64 = _BASE64.search(head) is not None
    media_type = _media_type(_BASE64.sub("", head).strip())
    content = _base64(data, max_bytes) if is_base64 else _percent_encoded(data, max_bytes)
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    if not content:
        raise _problem("it holds no bytes")
    return content, media_type


def _media_type(text: str) -> str:
    if not text:
        return DEFAULT_TYPE
    media_type = f"text/plain{text}" if text.startswith(";") else text
    if _MEDIA_TYPE.fullmatch(media_type) is None:
        raise _problem("its media type is not of the form 'image/png'")
    return media_type


def _base64(data: str, max_bytes: int) -> bytes:
    # Its letters, and what may stand between them, are not limited: they are there already.
    text = (_percent_encoded(data, len(data)) if "%" in data else _encoded(data)).translate(None, b"\t\n\f\r ")
    if len(text) // 4 * 3 > max_bytes + 2:
        raise _too_large(max_bytes)
    try:
        return b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except Base64Error:
        raise _problem("its data are not base64") from None


def _percent_encoded(data: str, max_bytes: int) -> bytes:
    if len(data) // 3 > max_bytes:
        raise _too_large(max_bytes)
    if "#" in data:
        raise _problem("it has a '#', where a browser would end it: write '%23'")
    first, *others = _encoded(data).split(b"%")
    decoded = [first]
    try:
        for part in others:
            # By a table, since there may be millions of them.
            decoded += (_BYTES[part[:2]], part[2:])
    except KeyError:
        raise _problem("it has a '%' without two hexadecimal digits: write '%25'") from None
    return b"".join(decoded)


def _encoded(data: str) -> bytes:
    try:
        return data.encode()
    except UnicodeEncodeError:
        raise _problem("it is not valid text") from None


def _problem(reason: str) -> InvalidParameters:
    return InvalidParameters([f"the data URI cannot be read: {reason}"])


def _too_large(max_bytes: int) -> InvalidParameters:
    return InvalidParameters([f"the data URI holds more than {max_bytes} bytes, which is max_bytes"])
