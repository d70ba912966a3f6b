"""Checks of arguments and options: what passes, and what a message says of what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.tables import table

from cyberun_async import ConfigurationError
from cyberun_async._validators import (
    check_above_zero,
    check_count,
    check_finite,
    check_function,
    check_not_negative,
    check_one_of,
    is_number,
    is_whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INF, NAN = float("inf"), float("nan")


@table(
    ("value", "number", "whole"),
    [
        (0, True, True),
        (-1, True, False),
        (1.5, True, False),
        (INF, True, False),
        (NAN, True, False),
        (True, False, False),
        ("1", False, False),
        (None, False, False),
        (10**400, False, True),
    ],
)
def test_questions(value: object, number: bool, whole: bool) -> None:
    """A boolean is no number, nor is what no float can hold; a whole number may be as large as it likes."""
    assert (is_number(value), is_whole_number(value)) == (number, whole)


@table(
    ("check", "fine", "wrong", "expected"),
    [
        pytest.param(check_above_zero, [1, 0.1, INF], [0, -1, NAN, True, "1"], "a number above zero", id="above zero"),
        pytest.param(
            check_not_negative, [0, 0.0, INF], [-1, NAN, None], "zero or a number above it", id="not negative"
        ),
        pytest.param(check_finite, [0, -1.5], [INF, NAN, 10**400, "1"], "a finite number", id="finite"),
        pytest.param(check_count, [1, 10**400], [0, 1.0, True], "a whole number above zero", id="count"),
        pytest.param(
            lambda value, name: check_count(value, name, minimum=0),
            [0, 1],
            [-1, False],
            "a whole number of at least zero",
            id="count from zero",
        ),
        pytest.param(
            lambda value, name: check_one_of(value, name, "a", "b"), ["a"], ["c", None, []], "'a' or 'b'", id="one of"
        ),
        pytest.param(check_function, [print], [1, None], "a function", id="function"),
    ],
)
def test_checks(check: Callable[[object, str], None], fine: list[object], wrong: list[object], expected: str) -> None:
    """A check gives nothing back, or raises with the name, what is expected, and what was given."""
    for value in fine:
        check(value, "x")
    for value in wrong:
        with pytest.raises(ConfigurationError) as caught:
            check(value, "x")
        assert str(caught.value) == f"x must be {expected}, not {value!r}"
