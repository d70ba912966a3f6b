"""The live progress bar of a terminal."""

from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console, OverflowMethod
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text
from rich.theme import Theme

from cyberun_async import TaskEvent, TaskResult, TaskStatus
from cyberun_async._progress_bar import ProgressState
from cyberun_async.cli._text import printable, write_line

_STYLES = {
    TaskStatus.RUNNING: "cyan",
    TaskStatus.COMPLETED: "green",
    TaskStatus.FAILED: "red",
    TaskStatus.CANCELLED: "yellow",
}

_THEME = Theme(
    {
        "bar.back": "grey30",
        "bar.complete": "cyan",
        "bar.finished": "green",
        "bar.pulse": "cyan",
        "progress.elapsed": "dim",
        "progress.percentage": "bold",
    }
)

_MARKS = {TaskStatus.COMPLETED: "✓", TaskStatus.FAILED: "✗", TaskStatus.CANCELLED: "■"}
_PLAIN_MARKS = {TaskStatus.COMPLETED: "+", TaskStatus.FAILED: "x", TaskStatus.CANCELLED: "-"}


class Bar:
    """One line that moves: status, bar, percentage, node or stage, step, and the time so far."""

    def __init__(self, console: Console) -> None:
        """Look at the terminal."""
        self._console = console
        console.push_theme(_THEME)
        self._is_unicode = console.encoding.lower().startswith("utf")
        width = min(40, max(10, console.width - 52))
        self._progress = Progress(
            _MarkColumn(is_unicode=self._is_unicode),
            _StatusColumn(),
            BarColumn(bar_width=width),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            _DetailColumn(console, beside=width + 32, is_unicode=self._is_unicode),
            console=console,
            redirect_stdout=False,
        )
        self._task = TaskID(0)
        self._state = ProgressState()
        name = Column(no_wrap=True, overflow="ellipsis", max_width=max(16, console.width - 54))
        self._downloads = Progress(
            TextColumn("  {task.description}", markup=False, table_column=name),
            BarColumn(bar_width=20),
            DownloadColumn(),
            _SpeedColumn(),
            console=console,
            redirect_stdout=False,
            transient=True,
        )
        self._files: dict[str, TaskID] = {}

    def submitted(self, workflow: str, task_id: str) -> None:
        """Name the task above the bar."""
        self._console.print(Text.assemble((printable(workflow), "bold"), (f"  task {printable(task_id)}", "dim")))

    def following(self) -> AbstractContextManager[object]:
        """Draw the bar; where it stands at the end, it stays."""
        self._task = self._progress.add_task("", total=None, status=self._state.status, detail="")
        return self._progress

    def event(self, event: TaskEvent) -> None:
        """Move the bar."""
        state = self._state
        state.take(event)
        detail = printable((" · " if self._is_unicode else ", ").join(state.details))
        self._progress.update(self._task, status=state.status, detail=detail)
        if state.progress is not None:
            # All steps may be done and the task at work: below one, the spinner and the clock go on.
            self._progress.update(self._task, total=1.0, completed=state.progress)
        if event.is_terminal:
            self._progress.stop_task(self._task)

    def completed(self, result: TaskResult) -> None:
        """The bar says so."""

    def fetching(self) -> AbstractContextManager[object]:
        """Draw one bar for each file that is on its way; none of them stays."""
        return self._downloads

    def fetched(self, file: str, done: int, total: int | None) -> None:
        """Move the file's bar."""
        if file not in self._files:
            self._files[file] = self._downloads.add_task(printable(file), total=total)
        self._downloads.update(self._files[file], completed=done, total=total)

    def saved(self, path: Path) -> None:
        """Give the path, which is what was asked for."""
        write_line(str(path))


class _MarkColumn(ProgressColumn):
    """A spinner that becomes a mark when the task has ended."""

    def __init__(self, *, is_unicode: bool) -> None:
        super().__init__()
        self._spinner = SpinnerColumn("dots" if is_unicode else "line", style="cyan")
        self._marks = _MARKS if is_unicode else _PLAIN_MARKS

    def render(self, task: Task) -> Text:
        status = task.fields["status"]
        if status in self._marks:
            return Text(self._marks[status], style=_STYLES[status])
        spinning = self._spinner.render(task)
        return spinning if isinstance(spinning, Text) else Text(" ")


class _StatusColumn(ProgressColumn):
    """The status, in a column that is as wide as the longest one, so that the bar stands still."""

    def render(self, task: Task) -> Text:
        status = task.fields["status"]
        return Text(f"{printable(status):<9}", style=_STYLES.get(status, "yellow"))


class _SpeedColumn(TransferSpeedColumn):
    """The speed, once it can be measured; a small file is complete before."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.finished_speed or task.speed else Text()


class _DetailColumn(ProgressColumn):
    """Node or stage, step and message, cut so that a line never fills the terminal: the `^C` that it echoes would break it."""

    def __init__(self, console: Console, *, beside: int, is_unicode: bool) -> None:
        super().__init__()
        self._console = console
        self._beside = beside
        self._overflow: OverflowMethod = "ellipsis" if is_unicode else "crop"

    def render(self, task: Task) -> Text:
        text = Text(task.fields["detail"], style="dim", no_wrap=True)
        text.truncate(max(1, self._console.width - self._beside), overflow=self._overflow)
        return text
