"""Convert JSON values whose type differs from the documented one, but which can mean only one thing.

Each function takes a value that is not `null`, and gives what it means, `None` where it is how a server says "none",
or raises `StructureError`. The messages hold a value's type, never the value. The second argument is the one of the
codec's hooks, which these are without a function around them: it would be a tenth of the cost of an event.

| type | converted |
| --- | --- |
| text | whole numbers (ids, node ids) |
| whole number | `7.0`, `"7"`, `"7.0"` |
| number | whole numbers, `"0.35"` |
| boolean | `"true"`, `"false"` in any case |
| moment | a space instead of `T`, `+0000`, seconds or milliseconds since 1970; `""`, `0`, 1970 to the second and the year 1 are none |
| status | a known value in any case, `canceled` |
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from math import isfinite

import attrs

from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.timestamps import parse_timestamp


class StructureError(Exception):
    """A value does not fit the type that it is to become."""

    def __init__(self, problem: str) -> None:
        """Begin at the place of the value itself."""
        self.problem = problem
        self.path = ""

    def below(self, step: str) -> "StructureError":
        """Say that the value is part of another one."""
        self.path = step + self.path
        return self

    @property
    def as_part(self) -> str:
        """What is wrong, seen from the field that the place is in."""
        return f"{self.path}: {self.problem}" if self.path else self.problem

    def __str__(self) -> str:
        """Name the place, and what is wrong there."""
        return f"${self.path}: {self.problem}"


@attrs.frozen
class Partial:
    """What could be read of a value, and what is wrong with the rest."""

    value: object
    problem: str


def expected(what: str, value: object) -> StructureError:
    """Give the error for a value of another type."""
    return StructureError(f"expected {what}, not {type(value).__name__}")


_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE).fullmatch


def text_of(value: object, _: object = None) -> str | None:
    """Convert to text."""
    if isinstance(value, str):
        return value
    if type(value) is int and value.bit_length() <= 256:
        return str(value)
    if type(value) is float and value.is_integer():
        return str(int(value))
    raise expected("a string", value)


def whole_number_of(value: object, _: object = None) -> int | None:
    """Convert to a whole number."""
    number = number_of(value) if type(value) is str else value
    if type(number) is int:
        return number
    if type(number) is float and number.is_integer():
        return int(number)
    if number is None:
        return None
    raise expected("a whole number", value)


def number_of(value: object, _: object = None) -> float | None:
    """Convert to a number; a whole one in text stays exact."""
    if type(value) is str:
        text = value.strip()
        if not text:
            return None
        if _NUMBER(text) is None:
            raise expected("a number", value)
        number = float(text)
        return int(text) if text.lstrip("+-").isdigit() else number if isfinite(number) else _too_large()
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            _too_large()
    raise expected("a number", value)


def _too_large() -> float:
    problem = "expected a number that a float can hold"
    raise StructureError(problem) from None


def float_of(value: object, _: object = None) -> float | None:
    """Convert to a floating-point number."""
    number = number_of(value)
    return None if number is None else float(number)


def share_of(value: object, _: object = None) -> float | None:
    """Convert to a number from 0 to 1; `"35%"` is one."""
    if type(value) is float and 0.0 <= value <= 1.0:
        return value
    text = value.strip() if type(value) is str else ""
    number = _percent_of(text, value) if text.endswith("%") else float_of(value)
    if number is not None and not 0.0 <= number <= 1.0:
        problem = f"expected a number from 0 to 1, not {type(value).__name__} beyond"
        raise StructureError(problem)
    return number


def _percent_of(text: str, value: object) -> float:
    number = float_of(text[:-1])
    if number is None:
        raise expected("a number", value)
    return number / 100


def boolean_of(value: object, _: object = None) -> bool | None:
    """Convert to a boolean."""
    word = value.strip().lower() if isinstance(value, str) else None
    if word == "":
        return None
    if word in {"true", "false"}:
        return word == "true"
    if type(value) is bool:
        return value
    raise expected("true or false", value)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST_YEAR = 1970
_LEAST_SECONDS = 1e8
_LEAST_MILLISECONDS = 1e11
"""Seconds reach the year 1973 at the one, and 5138 at the other, where milliseconds begin with 1973."""
_GO_ZERO = -62135596800
"""Seconds from 1970 to the year 1, which is the zero value of a time in Go."""


def moment_of(value: object, _: object = None) -> datetime | None:
    """Convert to an aware datetime."""
    if type(value) is str:
        try:
            moment = parse_timestamp(value)
        except ValueError:
            return _moment_of_text(value.strip())
        # The year first: to compare the moment of each event would take longer.
        return moment if moment.year > _FIRST_YEAR or (moment.year > 1 and moment != _EPOCH) else None
    if type(value) is int or type(value) is float:
        return _since_epoch(value)
    raise expected("a timestamp", value)


def _moment_of_text(text: str) -> datetime | None:
    if not text:
        return None
    if _NUMBER(text):
        return _since_epoch(float(text))
    try:
        return parse_timestamp(text)
    except ValueError:
        problem = "expected a timestamp as in RFC 3339, not other text"
        raise StructureError(problem) from None


def _since_epoch(number: float) -> datetime | None:
    if number in {0, _GO_ZERO, 1000 * _GO_ZERO}:
        return None
    seconds = number / 1000 if _LEAST_MILLISECONDS <= number < 1000 * _LEAST_MILLISECONDS else number
    if not _LEAST_SECONDS <= seconds < _LEAST_MILLISECONDS:
        problem = "expected a timestamp, not a number beyond any date"
        raise StructureError(problem)
    return _EPOCH + timedelta(seconds=seconds)


def status_of(value: object, _: object = None) -> TaskStatus | None:
    """Convert to a status; an unknown value stays as it is."""
    if not isinstance(value, str):
        raise expected("a status", value)
    return TaskStatus(value) if value.strip() else None


CONVERSIONS: Mapping[type, Callable[[object, object], object]] = {
    str: text_of,
    int: whole_number_of,
    float: float_of,
    bool: boolean_of,
    datetime: moment_of,
    TaskStatus: status_of,
}
"""By the type that a value is to become."""
