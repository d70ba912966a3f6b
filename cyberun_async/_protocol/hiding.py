"""Keeping keys and signatures out of what others have written."""

import re
from collections.abc import Iterable

_KEY = re.compile(r"(?<![\w-])(?:[sda]k-|eyJ)[\w.~+/=-]{8,}")
"""A key of one of the documented families, or a JWT."""

_SIGNATURE = re.compile(r"(?<=[^\s\"'<>?])\?[^\s\"'<>?]*(?:signature|credential|token)[^\s\"'<>]*", re.IGNORECASE)
"""The query of a signed link."""


def hide(text: str, secrets: Iterable[str] = ()) -> str:
    """Cut out what must not get into a log: our own key, whatever looks like one, and the signatures of links."""
    for secret in secrets:
        text = text.replace(secret, "[key]")
    return _SIGNATURE.sub("?[signature]", _KEY.sub("[key]", text))
