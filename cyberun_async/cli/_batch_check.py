"""What a batch would do with its items: each of them is validated, and looked up in the journal, before one is submitted."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import anyio

from cyberun_async import AsyncClient, InvalidParameters, Journal
from cyberun_async._batch.decisions import Resubmit, next_step
from cyberun_async._batch.journal import store_of
from cyberun_async._batch.journal_rows import Row
from cyberun_async._batch.journal_store import Rows
from cyberun_async._protocol.validation import definitions_of
from cyberun_async.cli._items import Fields, Lines, check_items
from cyberun_async.cli._parameters import get_workflow
from cyberun_async.cli._text import print_status, write_json, write_line

_STEPS = {"submit": "submit", "wait": "wait", "give back": "finished", "report": "uncertain"}
"""What `--check` calls that which a batch decides of an item."""


async def checked_items(client: AsyncClient, workflow: str, lines: Lines, *, as_json: bool) -> dict[str, Fields]:
    """Give all items, or show what is wrong with any of them.

    Raises:
        InvalidParameters: One cannot be submitted, so none is.

    """
    items = check_items(lines, definitions_of(await get_workflow(client, workflow)))
    for problem in items.problems:
        if as_json:
            write_json({"type": "problem", "line": problem.line, "message": problem.text})
        else:
            print_status(f"{lines.path}, line {problem.line}: {problem.text}")
    if items.problems:
        count = len({problem.line for problem in items.problems})
        what = "1 line" if count == 1 else f"{count} lines"
        raise InvalidParameters([f"{lines.path}: {what} cannot be submitted, so nothing was"])
    return items.by_key


async def forecast(
    workflow: str, items: Collection[str], path: Path, *, resubmit: Collection[Resubmit], attempts: int
) -> Counter[str]:
    """Count what a batch would do with its items, by what the journal has of each."""
    rows: dict[str, Row] = {}
    if await anyio.Path(path).exists():
        rows = {row.key: row async for row in Rows(store_of(Journal(path))) if row.workflow == workflow}
    return Counter(_STEPS[next_step(rows.get(key), resubmit=resubmit, attempts=attempts)] for key in items)


def show_forecast(steps: Counter[str], max_tasks: int | None, attempts: int, *, as_json: bool) -> None:
    """Show what a batch would do with its items.

    Args:
        steps: What `forecast` has counted.
        max_tasks: How many tasks it may submit.
        attempts: How many tasks an item may cost.
        as_json: Whether to write JSON.

    """
    submit = steps["submit"] if max_tasks is None else min(steps["submit"], max_tasks)
    counts = {"submit": submit, **{step: steps[step] for step in ("wait", "finished", "uncertain")}}
    if max_tasks is not None:
        counts["left"] = steps["submit"] - submit
    if as_json:
        write_json({"type": "check", "items": steps.total(), **counts})
        return
    billed = "is billed" if attempts == 1 else f"is billed up to {attempts} times"
    rest = f"{counts['wait']} to wait for, {counts['finished']} finished, {counts['uncertain']} uncertain"
    left = f", {counts['left']} left" if max_tasks is not None else ""
    write_line(f"{steps.total()} items: {submit} to submit, each of which {billed}, {rest}{left}")
