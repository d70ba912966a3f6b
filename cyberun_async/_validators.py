"""Checks of arguments and options: kinds, numbers, counts, choices, callbacks. (validate, isinstance, must be)

A check raises; a question answers. An argument that is wrong is `InvalidParameters`, an option `ConfigurationError`. What a
workflow takes is checked in `_protocol/validation.py`.
"""

import math
import sys
from collections.abc import Callable
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, TypeVar

from cyberun_async._errors import ConfigurationError, InvalidParameters

if TYPE_CHECKING:
    from typing import TypeGuard

    import attrs
    from typing_extensions import Never

_C = TypeVar("_C", bound=type)

SECONDS = "a number of seconds above zero"
"""What a time must be, for messages."""


def check_kind(value: object, kind: type | tuple[type, ...], name: str, expected: str) -> None:
    """Refuse an argument of another kind.

    Args:
        value: The argument.
        kind: What it must be an instance of.
        name: What it is called.
        expected: What it must be, in words.

    Raises:
        InvalidParameters: It is of another kind.

    """
    if iscoroutine(value):
        raise InvalidParameters([f"{name} is a coroutine, not {expected}: await the call that gives it"])
    if not isinstance(value, kind):
        raise InvalidParameters([f"{name} must be {expected}, not {type(value).__name__}"])


def check_callback(value: Callable[..., object] | None, name: str) -> None:
    """Refuse what cannot be called.

    Raises:
        InvalidParameters: It cannot, and is not `None`.

    """
    if value is not None and not callable(value):
        raise InvalidParameters([f"{name} must be a function or None, not {type(value).__name__}"])


_FORGOTTEN = {"iterate": ("__iter__",), "enter": ("__enter__", "__exit__"), "await_it": ("__await__",)}


def explain_misuse(**messages: str) -> Callable[[_C], _C]:
    """Have a class say what to write instead where `async` is left out, or `await` is too much.

    Python's own message names the special method that is missing. Type checkers do not see the methods, and go on
    reporting the mistake.

    Args:
        messages: What to say for `iterate` (`for`), `enter` (`with`) and `await_it` (`await`).

    """

    def decorate(cls: _C) -> _C:
        for use, message in messages.items():
            for name in _FORGOTTEN[use]:
                setattr(cls, name, _raising(message))
        return cls

    return decorate


def _raising(message: str) -> Callable[..., "Never"]:
    def method(*_: object) -> "Never":
        raise ConfigurationError(message)

    return method


def is_number(value: object) -> "TypeGuard[float]":
    """Whether an argument is a number, and not a boolean, that a float can hold."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and (isinstance(value, float) or abs(value) <= sys.float_info.max)
    )


def is_whole_number(value: object, *, minimum: int = 0) -> "TypeGuard[int]":
    """Whether an argument is a whole number, and not a boolean, of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def check_above_zero(value: object, name: str, expected: str = "a number above zero") -> None:
    """Refuse an option that is no number above zero.

    Raises:
        ConfigurationError: It is none.

    """
    if not (is_number(value) and value > 0):
        raise _refused(name, expected, value)


def check_not_negative(value: object, name: str, expected: str = "zero or a number above it") -> None:
    """Refuse an option that is no number of at least zero.

    Raises:
        ConfigurationError: It is none.

    """
    if not (is_number(value) and value >= 0):
        raise _refused(name, expected, value)


def check_finite(value: object, name: str, expected: str = "a finite number") -> None:
    """Refuse an option that is no finite number.

    Raises:
        ConfigurationError: It is none.

    """
    if not (is_number(value) and math.isfinite(value)):
        raise _refused(name, expected, value)


def check_count(value: object, name: str, *, minimum: int = 1) -> None:
    """Refuse an option that does not count something.

    Raises:
        ConfigurationError: It is no whole number, or below the minimum.

    """
    if not is_whole_number(value, minimum=minimum):
        raise _refused(name, f"a whole number {'above zero' if minimum else 'of at least zero'}", value)


def check_one_of(value: object, name: str, *choices: str) -> None:
    """Refuse an option that is not among the choices.

    Raises:
        ConfigurationError: It is not.

    """
    if value not in choices:
        raise _refused(name, " or ".join(map(repr, choices)), value)


def check_function(value: object, name: str, expected: str = "a function") -> None:
    """Refuse an option that cannot be called.

    Raises:
        ConfigurationError: It cannot.

    """
    if not callable(value):
        raise _refused(name, expected, value)


def _refused(name: str, expected: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"{name} must be {expected}, not {value!r}")


def validator(
    check: Callable[..., None], *args: object, **options: object
) -> "Callable[[object, attrs.Attribute[Any], Any], None]":
    """Make a check of a value and a name into a validator of attrs, for a field of that name."""

    def validate(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        check(value, field.name, *args, **options)

    return validate
