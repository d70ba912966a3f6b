"""A table of cases says which of its rows fail, and tries them all."""

from __future__ import annotations

import pytest
from support.tables import table


@table("value", [pytest.param(1, id="one"), pytest.param("x", id="ex"), pytest.param(2, id="two")])
@table(("factor", "result"), [(1, 1), (2, 2)])
def product(value: int, factor: int, result: int) -> None:
    """Stands for a test."""
    assert value * factor == result


def test_each_failing_row_is_named() -> None:
    """With its traceback, in a table of tables, too; the rows that pass are not."""
    with pytest.raises(pytest.fail.Exception) as caught:
        product()

    said = str(caught.value)
    assert "--- ex" in said
    assert "--- two\n" in said
    assert "--- one" not in said
    assert "--- (1, 1)" in said
    assert said.count("assert value * factor == result") == 4


@table("value", [1, 2], ids=["first", "second"])
def test_all_rows_of_a_test_are_tried(value: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A test keeps its fixtures."""
    assert value in {1, 2}
    assert tmp_path_factory


def test_names_that_are_made() -> None:
    """Names may be listed or made of the rows."""

    def fail(value: int) -> None:
        raise LookupError(value)

    for ids in (["first"], lambda value: f"number {value}"):
        with pytest.raises(pytest.fail.Exception, match=r"--- (first|number 1)\n"):
            table("value", [1], ids=ids)(fail)()
