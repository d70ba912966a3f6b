"""Arguments of another kind than a public call takes. (validate, isinstance)"""

from collections.abc import Callable

from cyberun_async._errors import InvalidParameters


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
    if not isinstance(value, kind):
        raise InvalidParameters([f"{name} must be {expected}, not {type(value).__name__}"])


def check_callback(value: Callable[..., object] | None, name: str) -> None:
    """Refuse what cannot be called.

    Raises:
        InvalidParameters: It cannot, and is not `None`.

    """
    if value is not None and not callable(value):
        raise InvalidParameters([f"{name} must be a function or None, not {type(value).__name__}"])
