"""The tree of errors, as the classes hang on each other."""

from __future__ import annotations

from collections.abc import Iterator

from cyberun_async import CyberunError


def draw() -> str:
    """Write it as nested items, each a link to the reference and the first sentence of its docstring."""
    return "\n".join(_branch(CyberunError, 0))


def _branch(error: type[Exception], depth: int) -> Iterator[str]:
    also = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins" and base is not Exception]
    says = (error.__doc__ or "").partition("\n")[0].rstrip(".")
    yield f"{'  ' * depth}- {{py:exc}}`~cyberun_async.{error.__name__}` {f'(`{also[0]}`) ' if also else ''}· {says}"
    for each in error.__subclasses__():
        if each.__module__ == "cyberun_async":
            yield from _branch(each, depth + 1)
