"""Tables: columns on a terminal, a block for each row where they do not fit, tabs in a pipe."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cyberun_async.cli._text import printable, write_line

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
"""Blanks between two columns."""


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write columns for people, or one row a line with tabs for programs; nothing where there are no rows."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not cells:
        return
    if not sys.stdout.isatty():
        for row in cells:
            write_line("\t".join(row))
        return
    from rich.console import Console

    console = Console()
    if least_width(heads, cells) <= console.width:
        _print_columns(console, heads, cells)
        return
    for number, row in enumerate(cells):
        if number:
            console.print()
        for line in stacked(heads, row):
            console.print(line, highlight=False, markup=False, overflow="fold")


def least_width(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Give the width that the columns need if they wrap between words; the first column does not wrap."""
    columns = zip(heads, *rows, strict=True)
    widths = [
        max(len(part) for cell in column for part in ([cell] if number == 0 else cell.split() or [""]))
        for number, column in enumerate(columns)
    ]
    return sum(widths) + GAP * (len(heads) - 1)


def stacked(heads: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    """Give a row as a line for each of its cells that is not empty."""
    width = max(map(len, heads)) + GAP
    return (f"{head:{width}}{cell}" for head, cell in zip(heads, row, strict=True) if cell)


def _print_columns(console: "Console", heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(head, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
