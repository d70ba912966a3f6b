"""The progress of a wait, drawn below the cell of a notebook: by ipywidgets where that is installed, else by rich.

It is imported only where IPython was imported before.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Any, Protocol

from cyberun_async._errors import TaskError, WaitTimeout
from cyberun_async._progress_bar import ProgressState, text_bar
from cyberun_async._protocol.events import TaskEvent
from cyberun_async._protocol.redaction import redact
from cyberun_async._settings import from_environment

log = logging.getLogger("cyberun_async.notebook")

MAX_DRAWN = 10
"""Waits drawn at once: a page full of bars is no help."""

ENDS = {"completed", "failed", "cancelled"}

OnSubmitted = Callable[[str], object]

OFF = {"0", "false", "no", "off"}

_drawn = 0


class _Drawing(Protocol):
    """A bar with a text beside it, on the page."""

    def draw(self, part: float, text: str) -> None:
        """Draw it anew."""

    def close(self, text: str) -> None:
        """Leave a text in its place, which a notebook that is saved keeps."""


def shown(
    title: str, on_submitted: OnSubmitted | None, *, task_id: str | None, on_cancel: str
) -> "AbstractContextManager[tuple[Callable[[TaskEvent], None] | None, OnSubmitted | None]]":
    """Draw the progress of a wait while it runs, and leave its outcome in place.

    Args:
        title: What is waited for.
        on_submitted: What the caller wants to be called with the id.
        task_id: The id, where it is known already.
        on_cancel: What becomes of the task when the wait is stopped.

    Returns:
        What to call with each event, or `None` where nothing is drawn; and what to call with the id.

    """
    drawing = _drawing() if _drawn < MAX_DRAWN and _is_wanted() else None
    return (
        nullcontext((None, on_submitted))
        if drawing is None
        else _Wait(title, drawing, on_submitted, task_id, on_cancel)
    )


def _is_wanted() -> bool:
    if (from_environment("CYBERUN_PROGRESS") or "").lower() in OFF:
        return False
    # A terminal's IPython has no kernel.
    get_shell = getattr(sys.modules["IPython"], "get_ipython", None)
    return get_shell is not None and getattr(get_shell(), "kernel", None) is not None


def _drawing() -> _Drawing | None:
    for kind in (_Widgets, _Rich):
        with suppress(ImportError):
            return kind()
    return None


class _Wait:
    """One wait, drawn from its beginning to its end."""

    def __init__(
        self, title: str, drawing: _Drawing, on_submitted: OnSubmitted | None, task_id: str | None, on_cancel: str
    ) -> None:
        self._title = title
        self._drawing = drawing
        self._on_submitted = on_submitted
        self._task_id = task_id
        self._on_cancel = on_cancel
        self._state = ProgressState()

    def __enter__(self) -> tuple[Callable[[TaskEvent], None], OnSubmitted]:
        global _drawn  # noqa: PLW0603 - there is one page
        _drawn += 1
        self._draw()
        return self._take, self._submitted

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _drawn  # noqa: PLW0603 - likewise
        _drawn -= 1
        if error is None:
            outcome: str = self._state.status
        elif isinstance(error, Exception):
            outcome = _outcome(error, self._title)
        else:
            outcome = _stopped(self._task_id, self._title, self._state.status, self._on_cancel)
            if traceback is not None:
                # Where the wait stood when the stop button was pressed says nothing, in more than a hundred lines.
                traceback.tb_next = None
        _carefully(self._drawing.close, f"{self._title}  {outcome}  {text_bar(self._state.progress)}")

    def _submitted(self, task_id: str) -> object:
        self._task_id = task_id
        return None if self._on_submitted is None else self._on_submitted(task_id)

    def _take(self, event: TaskEvent) -> None:
        self._state.take(event)
        progress = self._state.progress
        percent = [] if progress is None else [f"{progress:.0%}"]
        self._draw(self._state.status, *percent, *self._state.details)

    def _draw(self, *words: str) -> None:
        _carefully(self._drawing.draw, self._state.progress or 0.0, redact(" · ".join([self._title, *words])))


def _carefully(act: Callable[..., None], *arguments: object) -> None:
    """Draw, or do not: a result that was paid for is not lost for want of a picture."""
    try:
        act(*arguments)
    except Exception:
        log.exception("the progress of a wait cannot be shown")


def _outcome(error: Exception, title: str) -> str:
    match error:
        case TaskError():
            return error.status
        case WaitTimeout(task_id=str(task_id), remote="left"):
            return f"timed out, left running{_named(task_id, title)}"
        case WaitTimeout():
            return "timed out"
        case _:
            return type(error).__name__


def _stopped(task_id: str | None, title: str, status: str, on_cancel: str) -> str:
    """Say what has become of a task whose wait was stopped."""
    if task_id is None or status in ENDS:
        return "stopped"
    return ("left running" if on_cancel == "leave" else "stopped, asked to cancel") + _named(task_id, title)


def _named(task_id: str, title: str) -> str:
    """Name a task where the title does not."""
    return "" if task_id in title else f": {task_id}"


class _Widgets:
    """A widget, whose bar moves in the browser."""

    def __init__(self) -> None:
        from ipywidgets import FloatProgress, HBox, Label  # type: ignore[import-untyped]

        self._bar = FloatProgress(max=1.0)
        self._label = Label()
        self._box = HBox([self._bar, self._label])
        self._place = _Place(self._box)

    def draw(self, part: float, text: str) -> None:
        self._bar.value = part
        self._label.value = text

    def close(self, text: str) -> None:
        self._place.write(text)
        # A kernel keeps each widget until it is closed, and a layout or a style is one, too.
        bar, label, box = self._bar, self._label, self._box
        for widget in (bar.style, bar.layout, bar, label.style, label.layout, label, box.layout, box):
            widget.close()


class _Rich:
    """An output that is drawn anew each time; the live display of rich itself needs ipywidgets."""

    def __init__(self) -> None:
        from rich.columns import Columns
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        self._bar = ProgressBar(1.0, width=30)
        self._text = Text()
        self._line = Columns([self._bar, self._text])
        self._place = _Place(self._line)

    def draw(self, part: float, text: str) -> None:
        self._bar.update(part)
        self._text.plain = text
        self._place.put(self._line)

    def close(self, text: str) -> None:
        self._place.write(text)


class _Place:
    """An output below the cell, in whose place another can be put."""

    def __init__(self, thing: object) -> None:
        from IPython.display import display

        self._handle: Any = display(thing, display_id=True)  # type: ignore[no-untyped-call]

    def put(self, thing: object) -> None:
        self._handle.update(thing)

    def write(self, text: str) -> None:
        self._handle.update({"text/plain": text}, raw=True)
