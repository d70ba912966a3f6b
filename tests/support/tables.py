"""Tables of cases that are tried in one test: pytest's own work for each of thousands takes longer than they do."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.leftovers import no_task_left


def table(
    names: str | tuple[str, ...], rows: Iterable[Any], *, ids: Callable[[Any], str] | Iterable[str] | None = None
) -> Any:
    """Try a test with each row, as `pytest.mark.parametrize` does, but as one test, whose failure names each failing row.

    Fixtures are the same for all rows. Each row of an async test must end without a task left; threads and sockets are
    looked for after the last one.
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

        def arguments(values: Any) -> dict[str, Any]:
            return dict(zip(keys, values if len(keys) > 1 else [values], strict=True))

        @functools.wraps(test)
        def run(**given: Any) -> None:
            __tracebackhide__ = True
            failures = _Failures()
            for name, values in cases:
                with failures.noted(name):
                    test(**given, **arguments(values))
            failures.report()

        @functools.wraps(test)
        async def run_on_one_loop(**given: Any) -> None:
            __tracebackhide__ = True
            failures = _Failures()
            for name, values in cases:
                with failures.noted(name):
                    async with no_task_left():
                        await test(**given, **arguments(values))
            failures.report()

        run = run_on_one_loop if inspect.iscoroutinefunction(test) else run
        others = [each for name, each in signature.parameters.items() if name not in keys]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


class _Failures:
    """The failures of a table, each under the name of its row."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - reported at the end, with all others
            self._lines += [f"--- {name}", *traceback.format_exception(error)]

    def report(self) -> None:
        __tracebackhide__ = True
        if self._lines:
            pytest.fail("\n".join(self._lines), pytrace=False)


def _unpacked(row: Any) -> tuple[str, Any]:
    """Give what to call a row, and its values, whether it is a `pytest.param` or a plain one."""
    if hasattr(row, "marks") and hasattr(row, "values"):
        assert not row.marks
        values = row.values if len(row.values) > 1 else row.values[0]
        return str(row.id or repr(values)[:200]), values
    return repr(row)[:200], row
