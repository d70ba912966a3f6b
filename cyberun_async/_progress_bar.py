"""What a progress bar shows, wherever it is drawn."""

from math import isnan
from types import NoneType

from cyberun_async._protocol.events import ProgressEvent, TaskEvent
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._validators import check_kind

ALMOST = 0.9999
"""Shown as 100 %: a task that has done all its steps may still be at work."""


def text_bar(progress: float | ProgressEvent | None, width: int = 10) -> str:
    """Draw progress from 0.0 to 1.0 as `▰▰▰▱▱▱▱▱▱▱ 30 %`; what is not known is empty.

    Of an event its steps count where the server gives no progress.

    Raises:
        InvalidParameters: The progress is neither a number nor an event, or the width is no whole number.

    """
    share = progress_of(progress) if isinstance(progress, ProgressEvent) else progress
    check_kind(share, (int, float, NoneType), "progress", "a number from 0.0 to 1.0, a progress event, or None")
    check_kind(width, int, "width", "a whole number")
    # The ratio of two nothings is no number, and not known either.
    part = min(max(share, 0.0), 1.0) if share is not None and not isnan(share) else 0.0
    full = int(part * width)
    return f"{'▰' * full}{'▱' * (width - full)} {part:.0%}".replace("%", " %")


def progress_of(event: ProgressEvent) -> float | None:
    """Give the progress of an event from 0.0 to 1.0: as the server gives it, else by its steps."""
    if event.progress is not None or event.step_current is None or not event.step_total:
        return event.progress
    return min(max(event.step_current / event.step_total, 0.0), 1.0)


def details(event: ProgressEvent) -> list[str]:
    """Say where in its work a task is."""
    place = event.stage or (f"node {event.current_node}" if event.current_node else "")
    step = "" if event.step_current is None else f"step {event.step_current}/{event.step_total or '?'}"
    return [part for part in (place, step, event.message or "") if part]


class ProgressState:
    """How a task stands by the events so far.

    Attributes:
        status: The last status reported.
        progress: From 0.0 to 1.0, which only a completed task reaches; `None` before the first is reported.
        details: Node or stage, step, and message.

    """

    def __init__(self) -> None:
        """Nothing was reported yet."""
        self.status = TaskStatus.PENDING
        self.progress: float | None = None
        self.details: list[str] = []

    def take(self, event: TaskEvent) -> None:
        """Take an event into account."""
        if isinstance(event, ProgressEvent):
            self.details = details(event)
            progress = progress_of(event)
            if progress is not None:
                self.progress = min(progress, ALMOST)
        self.status = getattr(event, "status", self.status)
        if self.status == TaskStatus.COMPLETED:
            self.progress = 1.0
