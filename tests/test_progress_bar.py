"""How a task stands by its events, for whoever draws that."""

from __future__ import annotations

import pytest
from support.tables import table

from cyberun_async import CompletedEvent, FailedEvent, ProgressEvent, StatusEvent, TaskEvent, TaskStatus, text_bar
from cyberun_async._progress_bar import ALMOST, ProgressState

RUNNING = StatusEvent(task_id="t", status=TaskStatus.RUNNING)
HALF = ProgressEvent(task_id="t", progress=0.5)


@table(
    ("events", "progress"),
    [
        pytest.param([], None, id="nothing told"),
        pytest.param([RUNNING], None, id="no progress told"),
        pytest.param([RUNNING, HALF], 0.5, id="half"),
        pytest.param([HALF, ProgressEvent(task_id="t", stage="decoding")], 0.5, id="a stage without a number"),
        pytest.param([ProgressEvent(task_id="t", progress=1.0)], ALMOST, id="all steps done, but not over"),
        pytest.param([HALF, CompletedEvent(task_id="t")], 1.0, id="completed"),
        pytest.param([HALF, FailedEvent(task_id="t", error="oom")], 0.5, id="failed"),
    ],
)
def test_progress(events: list[TaskEvent], progress: float | None) -> None:
    """Progress stays where it was last told, and is whole only once the task has completed."""
    standing = ProgressState()
    for event in events:
        standing.take(event)
    assert standing.progress == progress


@table(
    ("event", "bar"),
    [
        pytest.param(ProgressEvent(task_id="t", progress=0.5), "▰▰▱▱ 50 %", id="as the server gives it"),
        pytest.param(ProgressEvent(task_id="t", step_current=1, step_total=4), "▰▱▱▱ 25 %", id="by its steps"),
        pytest.param(
            ProgressEvent(task_id="t", step_current=9, step_total=4), "▰▰▰▰ 100 %", id="more steps than there are"
        ),
        pytest.param(ProgressEvent(task_id="t", step_current=1), "▱▱▱▱ 0 %", id="steps of an unknown total"),
    ],
)
def test_text_bar_of_an_event(event: ProgressEvent, bar: str) -> None:
    """A bar takes an event, whose steps count where the server gives no progress."""
    assert text_bar(event, width=4) == bar
