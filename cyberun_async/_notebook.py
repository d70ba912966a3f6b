"""How a wait goes on, drawn below the cell of a notebook: by ipywidgets where that is installed, else by rich.

It is imported only where IPython was imported before.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Protocol

from cyberun_async._errors import TaskError, WaitTimeout
from cyberun_async._protocol.bars import Standing, text_bar
from cyberun_async._protocol.events import TaskEvent
from cyberun_async._protocol.hiding import hide
from cyberun_async._settings import from_environment

log = logging.getLogger("cyberun_async.notebook")

MOST = 10
"""Waits drawn at once: a page full of bars tells nothing."""

OFF = {"0", "false", "no", "off"}

_drawn = 0


class _Drawing(Protocol):
    """A bar with a text beside it, on the page."""

    def draw(self, part: float, text: str) -> None:
        """Draw it anew."""

    def finish(self, text: str) -> None:
        """Leave a text in its place, which a notebook that is saved keeps."""


def shown(title: str) -> "AbstractContextManager[Callable[[TaskEvent], None] | None]":
    """Draw a wait for as long as it goes on, and leave how it ended.

    Returns:
        What to call with each event, or `None` where nothing is drawn.

    """
    drawing = _drawing() if _drawn < MOST and _is_wanted() else None
    return nullcontext() if drawing is None else _shown(title, drawing)


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


@contextmanager
def _shown(title: str, drawing: _Drawing) -> Iterator[Callable[[TaskEvent], None]]:
    global _drawn  # noqa: PLW0603 - there is one page, whoever draws on it
    standing = Standing()

    def draw(*words: str) -> None:
        _carefully(drawing.draw, standing.progress or 0.0, hide(" · ".join([title, *words])))

    def on_event(event: TaskEvent) -> None:
        standing.take(event)
        percent = [] if standing.progress is None else [f"{standing.progress:.0%}"]
        draw(standing.status, *percent, *standing.details)

    _drawn += 1
    outcome = "stopped"
    try:
        draw()
        yield on_event
        outcome = standing.status
    except Exception as error:
        outcome = _outcome(error)
        raise
    finally:
        _drawn -= 1
        _carefully(drawing.finish, f"{title}  {outcome}  {text_bar(standing.progress)}")


def _carefully(act: Callable[..., None], *arguments: object) -> None:
    """Draw, or do not: a result that was paid for is not lost for want of a picture."""
    try:
        act(*arguments)
    except Exception:
        log.exception("the progress of a wait cannot be shown")


def _outcome(error: Exception) -> str:
    match error:
        case TaskError():
            return error.status
        case WaitTimeout():
            return "timed out"
        case _:
            return type(error).__name__


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

    def finish(self, text: str) -> None:
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

    def finish(self, text: str) -> None:
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
