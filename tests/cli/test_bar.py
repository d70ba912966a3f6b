"""The line that the bar draws, at every width and in every encoding."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from support.tables import table

from cyberun_async import (
    CancelledEvent,
    CompletedEvent,
    FailedEvent,
    ProgressEvent,
    StatusEvent,
    TaskEvent,
    TaskStatus,
    UnknownEvent,
)
from cyberun_async.cli._bar import Bar

if TYPE_CHECKING:
    from collections.abc import Sequence

TRAINING = ProgressEvent(
    task_id="t",
    progress=0.5,
    stage="process_data",
    step_current=15000,
    step_total=30000,
    message="Matching features between frames",
)


def draw(events: Sequence[TaskEvent], *, width: int = 100, encoding: str = "utf-8") -> str:
    """Give the line as it stands at the end."""
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="")
    console = Console(file=written, force_terminal=True, width=width, highlight=False, legacy_windows=False)
    bar = Bar(console)
    with bar.following():
        for event in events:
            bar.event(event)
    written.seek(0)
    return Text.from_ansi(written.read()).plain.rstrip("\n").splitlines()[-1]


@table("width", [60, 70, 80, 120, 300])
@table("status", ["running", "provisioning"])
def test_the_line_is_whole_and_never_fills_the_terminal(width: int, status: str):
    """A full line would be broken by the `^C` of a Ctrl-C; status, percentage and time are there at any width."""
    line = draw([StatusEvent(task_id="t", status=TaskStatus(status)), TRAINING], width=width)
    assert cell_len(line) <= width - 2
    assert status in line
    assert " 50% 0:00:0" in line


def test_a_wide_terminal_shows_where_the_task_is():
    """Stage, step and message."""
    assert draw([TRAINING], width=140).endswith("process_data · step 15000/30000 · Matching features between frames")


def test_the_usual_terminal_has_room_for_node_and_step():
    """Eighty columns, a node and a step of two figures: nothing of it is cut."""
    event = ProgressEvent(task_id="t", progress=1.0, current_node="12", step_current=20, step_total=20)
    assert draw([event], width=80).endswith("node 12 · step 20/20")


ENDS = {
    "completed": (CompletedEvent(task_id="t"), "✓ completed", "100%"),
    "failed": (FailedEvent(task_id="t", error="out of memory"), "✗ failed", " 50%"),
    "cancelled": (CancelledEvent(task_id="t"), "■ cancelled", " 50%"),
}


@table("end", ENDS)
def test_the_end_is_marked(end: str):
    """A bar is full where the task completed, and stays where it stood otherwise."""
    event, mark, percent = ENDS[end]
    line = draw([TRAINING, event])
    assert line.startswith(mark)
    assert percent in line


def test_all_steps_done_is_not_the_end():
    """The server may still be drawing, or storing the files."""
    line = draw([StatusEvent(task_id="t", status=TaskStatus.RUNNING), ProgressEvent(task_id="t", progress=1.0)])
    assert "running" in line
    assert "100%" in line


def test_a_task_that_reports_no_progress_is_full_in_the_end():
    """Nothing is known on the way, so no percentage is made up."""
    assert "%" not in draw([StatusEvent(task_id="t", status=TaskStatus.RUNNING)])
    assert "100%" in draw([CompletedEvent(task_id="t")])


def test_a_terminal_without_unicode_gets_a_bar_that_it_can_show():
    """Nothing but ASCII."""
    line = draw([StatusEvent(task_id="t", status=TaskStatus.RUNNING), TRAINING], width=140, encoding="ascii")
    assert line.isascii()
    assert "process_data, step 15000/30000, Matching" in line


def test_a_download_shows_how_far_it_is_however_long_its_name():
    """Where the storage does not tell the size, what has arrived is still counted."""
    written = io.StringIO()
    bar = Bar(Console(file=written, force_terminal=True, width=80, highlight=False, legacy_windows=False))
    with bar.fetching():
        bar.fetched("a picture with many words in its name " * 5, 1_000_000, 4_000_000)
        bar.fetched("b", 3_000_000, None)
    shown = Text.from_ansi(written.getvalue()).plain
    assert "a picture with many" in shown
    assert "1.0/4.0 MB" in shown
    assert "3.0/? MB" in shown


def test_a_file_that_is_there_at_once_has_no_speed():
    """It came before a speed could be told, and no question mark says so."""
    written = io.StringIO()
    bar = Bar(Console(file=written, force_terminal=True, width=80, highlight=False, legacy_windows=False))
    with bar.fetching():
        bar.fetched("a", 4_000_000, 4_000_000)
    shown = Text.from_ansi(written.getvalue()).plain
    assert "4.0/4.0 MB" in shown
    assert "?" not in shown


def test_words_and_events_that_nobody_knew_are_shown_as_they_are():
    """And cannot move the cursor."""
    events = [
        StatusEvent(task_id="t", status=TaskStatus("pau\x1b[2Jsed")),
        UnknownEvent(task_id="t", name="x", data=""),
    ]
    assert "pau [2Jsed" in draw(events)
