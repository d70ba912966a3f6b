"""Tables of cases that are tried in one test: pytest's own work for each of thousands takes longer than they do."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def table(
    names: str | tuple[str, ...], rows: Iterable[Any], *, ids: Callable[[Any], str] | Iterable[str] | None = None
) -> Any:
    """Try a test with each row, as `pytest.mark.parametrize` does, but as one test, whose failure names each failing row.

    It is for pure functions, and for waits by a clock that is not real: fixtures are the same for all rows, and what a row
    leaves behind is found after the last one.
    """
    keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    cases = [_unpacked(row) for row in rows]
    if ids is not None:
        cases = [
            (ids(row) if callable(ids) else name, row)
            for (_, row), name in zip(cases, cases if callable(ids) else ids, strict=True)
        ]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)

        @functools.wraps(test)
        def run(**given: Any) -> None:
            __tracebackhide__ = True
            failures: list[str] = []
            for name, values in cases:
                try:
                    test(**given, **dict(zip(keys, values if len(keys) > 1 else [values], strict=True)))
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - told below, with all others
                    failures += [f"--- {name}", *traceback.format_exception(error)]
            if failures:
                pytest.fail("\n".join(failures), pytrace=False)

        others = [each for name, each in signature.parameters.items() if name not in keys]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


def _unpacked(row: Any) -> tuple[str, Any]:
    """Give what to call a row, and its values, whether it is a `pytest.param` or a plain one."""
    if hasattr(row, "marks") and hasattr(row, "values"):
        assert not row.marks
        values = row.values if len(row.values) > 1 else row.values[0]
        return str(row.id or repr(values)[:200]), values
    return repr(row)[:200], row
