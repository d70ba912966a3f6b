"""The values that a fault may be given over HTTP: each of its kind, and within bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import get_args

from ._http import ApiError
from ._misbehaviour import ResetPoint

Check = Callable[[object], bool]

YEAR = 366 * 24 * 3600
MIB = 1 << 20
MOST = 2**31
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_NO_BODY = {204, 205, 304}


def whole_between(least: int, most: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def number_between(least: float, most: float) -> Check:
    # Neither infinity nor what is not a number is between two numbers.
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


def text_up_to(most: int) -> Check:
    def check(value: object) -> bool:
        # A lone surrogate has no bytes that could be sent.
        return isinstance(value, str) and len(value) <= most and not re.search("[\ud800-\udfff]", value)

    return check


def _one_of(*words: str) -> Check:
    return lambda value: value in words


def or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _header(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 1000 and value.isascii() and value.isprintable()


def _headers(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _TOKEN.fullmatch(name) and name.lower() not in {"content-length", "transfer-encoding"} and _header(text)
        for name, text in value.items()
    )


def _scalar(value: object) -> bool:
    return isinstance(value, bool) or or_none(text_up_to(2000))(value) or number_between(-MOST, MOST)(value)


CHECKS: Mapping[str, tuple[Check, str]] = {
    "code": (
        lambda value: whole_between(200, 599)(value) and value not in _NO_BODY,
        "a status from 200 to 599 whose answer has a body",
    ),
    "message": (text_up_to(2000), "text of at most 2,000 characters"),
    "headers": (_headers, "header fields of printable ASCII, without those that frame the body"),
    "seconds": (number_between(0, YEAR), "a number of seconds from 0 to a year"),
    "at": (_one_of(*get_args(ResetPoint)), f"one of: {', '.join(get_args(ResetPoint))}"),
    "keep": (whole_between(0, MOST), "a whole number from 0"),
    "size": (whole_between(1, 64 * MIB), "a whole number from 1 to 64 Mi"),
    "content_type": (_header, "a header's value of printable ASCII"),
    "body": (text_up_to(MIB), "text"),
    "every": (number_between(0.001, 3600), "a number of seconds from 0.001 to 3,600"),
    "word": (text_up_to(200), "text of at most 200 characters"),
    "after": (whole_between(0, MOST), "a whole number from 0"),
    "how": (_one_of("reset", "close"), "reset or close"),
    "event": (_one_of("completed", "failed", "cancelled"), "completed, failed or cancelled"),
    "on": (text_up_to(200), "the name of a call, or a pattern"),
    "times": (or_none(whole_between(1, MOST)), "a whole number from 1, or null"),
    "task_id": (or_none(text_up_to(200)), "a task's id, or null"),
    "probability": (number_between(0, 1), "a number from 0 to 1"),
}
"""By the name of the argument, since a name means the same in every fault."""


def check_options(options: Mapping[str, object]) -> None:
    """Refuse the first value that cannot be.

    Raises:
        ApiError: 400, which says what it must be.
    """
    for name, value in options.items():
        check, expected = CHECKS.get(name, (_scalar, "a text, a number or a boolean"))
        if not check(value):
            raise ApiError(400, f"{name[:100]} must be {expected}")
