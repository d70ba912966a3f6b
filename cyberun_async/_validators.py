"""Checks of arguments and options, each of which raises: kinds, callbacks, choices, counts. (validate, isinstance)"""

from collections.abc import Callable
from inspect import iscoroutine
from typing import TYPE_CHECKING, TypeVar

from cyberun_async._errors import ConfigurationError, InvalidParameters

if TYPE_CHECKING:
    from typing import TypeGuard

    import attrs
    from typing_extensions import Never

_C = TypeVar("_C", bound=type)


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


def is_whole_number(value: object, *, minimum: int = 0) -> "TypeGuard[int]":
    """Whether an argument is a whole number, and not a boolean, of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def one_of(*choices: str) -> "Callable[[object, attrs.Attribute[str], str], None]":
    """Make a validator of attrs that raises a `ConfigurationError` for any other text than these."""

    def check(_: object, field: "attrs.Attribute[str]", value: str) -> None:
        if value not in choices:
            choice = " or ".join(repr(word) for word in choices)
            raise ConfigurationError(f"{field.name} must be {choice}, not {value!r}")

    return check


def count_above_zero(_: object, field: "attrs.Attribute[int]", value: int) -> None:
    """Validate an option of attrs that counts something.

    Raises:
        ConfigurationError: It is no whole number, or below one.

    """
    if not is_whole_number(value, minimum=1):
        raise ConfigurationError(f"{field.name} must be a whole number above zero, not {value!r}")
