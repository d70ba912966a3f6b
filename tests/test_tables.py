"""A table of cases says which of its rows fail, and tries them all."""

from __future__ import annotations

import anyio
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


async def test_the_rows_of_an_async_test() -> None:
    """They are tried on one loop, and one that leaves a task behind is named."""
    tried: list[str] = []

    @table("row", ["clean", "leaving", "failing"])
    async def rows(row: str) -> None:
        tried.append(row)
        assert row != "failing"
        if row == "leaving":
            group.start_soon(anyio.sleep_forever, name="a sleeper")

    async with anyio.create_task_group() as group:
        with pytest.raises(pytest.fail.Exception) as caught:
            await rows()
        group.cancel_scope.cancel()

    said = str(caught.value)
    assert tried == ["clean", "leaving", "failing"]
    assert "left behind: task a sleeper" in said.partition("--- 'leaving'")[2].partition("--- ")[0]
    assert 'assert row != "failing"' in said.partition("--- 'failing'")[2]
    assert "--- 'clean'" not in said
