"""JSON: written strictly by the standard, and read also where one value of it breaks the standard.

A number that no float can hold, or that is none, is `None`; bytes that are no UTF-8 are replacement characters; a
byte-order mark and control characters in strings are let through. None of these costs the rest of a response.
"""

import json
import re
from collections.abc import Callable
from math import isfinite

from cyberun_async._errors import DecodeError, InvalidParameters
from cyberun_async._protocol.json_shape import MAX_DEPTH, MAX_VALUES, check_shape


def encode_json(value: object) -> bytes:
    """Write a request's body.

    Raises:
        InvalidParameters: Something in it has no JSON form.

    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameters([f"the values must be of the kinds that JSON has ({error})"]) from None


def _no_number(_: str) -> None:
    """Stand for `NaN` and `Infinity`, which Python's own encoder writes."""


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number, strict=False)

parse_at: Callable[[str, int], tuple[object, int]] = _decoder.raw_decode
"""Parses the value that begins at a place, and gives it and where it ends."""

_scan: Callable[[str, int], tuple[object, int]] = _decoder.scan_once  # type: ignore[attr-defined]
"""Does the same, without a function of Python around it; raises `StopIteration` with the place where no value begins."""

_AROUND = " \t\n\r\ufeff"
"""White space, and the mark that a proxy may put in front."""

_OF_A_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_SHALLOW = 2 * MAX_DEPTH
"""Characters up to which no text is too deep, since what opens must close; most events have fewer."""

UNCHECKED = 64 * 1024
"""Characters of which no text can have too many values."""


def parse_json(data: bytes | str, most: int = MAX_VALUES) -> object:
    """Parse a JSON text.

    Args:
        data: The text.
        most: The most commas and containers that a large one may have.

    Raises:
        DecodeError: It is not JSON, nests deeper than any response of the API, or has too many values.

    """
    problem = ""
    try:
        # The decoder would look for white space by regular expressions, at a quarter of the cost of reading an event.
        text = (data if isinstance(data, str) else data.decode("utf-8", "replace")).strip(_AROUND)
        size = len(text)
        if size > UNCHECKED:
            for _ in check_shape(text, most):
                pass
        value, end = _scan(text, 0)
        if end < size:
            raise json.JSONDecodeError("Extra data", text, end)
        if _SHALLOW < size <= UNCHECKED and _opens(text) > MAX_DEPTH and _is_too_deep(value):
            raise RecursionError
        return mended(value) if "\\" in text and may_have_halves(text) else value
    except StopIteration as stop:
        problem = str(json.JSONDecodeError("Expecting value", text, stop.value))
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    # Outside, since the error would keep the whole text for a context.
    raise DecodeError(f"not JSON ({problem})")


def _opens(text: str) -> int:
    return text.count("[") + text.count("{")


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        containers = [each for each in level if isinstance(each, (dict, list))]
        level = [part for each in containers for part in (each.values() if isinstance(each, dict) else each)]
    return any(isinstance(each, (dict, list)) for each in level)


def may_have_halves(text: str) -> bool:
    """Whether something in a JSON text may be half of a surrogate pair."""
    return _OF_A_SURROGATE.search(text) is not None


def mended(value: object) -> object:
    """Give a value without halves of surrogate pairs, which no file, header or terminal takes."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    return value
