"""What happens to a task, shown as it happens: lines for logs, one JSON object a line for programs.

What was asked for goes to stdout; what only accompanies it goes to stderr, so that the first can be piped.
"""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from cyberun_async import (
    CancelledEvent,
    CompletedEvent,
    ErrorEvent,
    FailedEvent,
    ProgressEvent,
    StatusEvent,
    TaskEvent,
    TaskResult,
    UnknownEvent,
)
from cyberun_async._progress_bar import details, progress_of
from cyberun_async._protocol.events import encode_event
from cyberun_async._protocol.json_text import parse_json
from cyberun_async.cli._text import BrokenOutput, print_status, write_json, write_line


class Display(Protocol):
    """How a command reports on its task."""

    def submitted(self, workflow: str, task_id: str) -> None:
        """Report that the task exists."""

    def following(self) -> AbstractContextManager[object]:
        """Keep the progress in view for as long as this is open."""

    def event(self, event: TaskEvent) -> None:
        """Report an event."""

    def completed(self, result: TaskResult) -> None:
        """Report that there is a result."""

    def fetching(self) -> AbstractContextManager[object]:
        """Keep the downloads in view for as long as this is open."""

    def fetched(self, file: str, done: int, total: int | None) -> None:
        """Report how much of a file has arrived."""

    def saved(self, path: Path) -> None:
        """Report that a file is on disk."""


class Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self) -> None:
        """Nothing was shown yet."""
        self._last: object = None

    def submitted(self, workflow: str, task_id: str) -> None:
        """Name the task; where that cannot be seen, its id is worth a line of the output."""
        if not print_status(f"{workflow}: task {task_id}"):
            write_line(task_id)

    def following(self) -> AbstractContextManager[object]:
        """Lines need no keeping."""
        return nullcontext()

    def event(self, event: TaskEvent) -> None:
        """Show one line for each status, stage and tenth of the way: a log is no place for thousands of steps."""
        progress = progress_of(event) if isinstance(event, ProgressEvent) else None
        tenth = None if progress is None else int(progress * 10)
        key = (tenth, event.stage) if isinstance(event, ProgressEvent) else describe(event)
        if key != self._last:
            self._last = key
            print_status(describe(event))

    def completed(self, result: TaskResult) -> None:
        """Its event has said so."""

    def fetching(self) -> AbstractContextManager[object]:
        """Lines need no keeping."""
        return nullcontext()

    def fetched(self, file: str, done: int, total: int | None) -> None:
        """The path is printed once the file is complete."""

    def saved(self, path: Path) -> None:
        """Give the path, which is what was asked for."""
        write_line(str(path))


class JsonLines(Lines):
    """One JSON object a line, each with its `type`; the shapes are promised in docs/cli.md."""

    def submitted(self, workflow: str, task_id: str) -> None:
        """Name the task."""
        announce(workflow, task_id, as_json=True)

    def event(self, event: TaskEvent) -> None:
        """Show every event, in the words of the API."""
        write_json(event_as_json(event))

    def completed(self, result: TaskResult) -> None:
        """Show the result without its presigned URLs."""
        write_json(result_as_json(result, links=False))

    def saved(self, path: Path) -> None:
        """Show path and size."""
        write_json({"type": "file", "path": str(path), "size": path.stat().st_size})


def display(*, as_json: bool) -> Display:
    """Choose how to show: JSON where it is asked for, a live bar on a terminal, lines otherwise."""
    if as_json:
        return JsonLines()
    if sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console

        from cyberun_async.cli._bar import Bar

        console = Console(stderr=True, highlight=False)
        if not console.is_dumb_terminal:
            return Bar(console)
    return Lines()


def announce(workflow: str, task_id: str, *, as_json: bool) -> None:
    """Write the id of a task that was submitted; it is paid for, so where stdout is broken stderr gets it."""
    try:
        if as_json:
            write_json({"type": "submitted", "workflow": workflow, "task_id": task_id})
        else:
            write_line(task_id)
    except (BrokenOutput, BrokenPipeError):
        print_status(f"{workflow}: task {task_id}")
        raise


def describe(event: TaskEvent) -> str:
    """Say in one line what happened."""
    match event:
        case StatusEvent():
            return event.status
        case ProgressEvent():
            percent = "progress" if (progress := progress_of(event)) is None else f"{progress:.0%}"
            return ", ".join([percent, *details(event)])
        case CompletedEvent() | CancelledEvent():
            return event.status
        case FailedEvent():
            return f"failed: {event.error}" if event.error else "failed"
        case ErrorEvent():
            return f"the server could not read the task: {event.message or 'no reason given'}"
        case UnknownEvent():
            return f"{event.name}: {event.data}"


def event_as_json(event: TaskEvent) -> dict[str, object]:
    """Give an event's fields as the API names them, with `type` and the event's name."""
    name, data = encode_event(event)
    fields = {"data": data, "task_id": event.task_id} if isinstance(event, UnknownEvent) else parse_json(data)
    assert isinstance(fields, Mapping)
    return {"type": "event", "event": name, "source": event.source, **fields}


def result_as_json(result: TaskResult, *, links: bool) -> dict[str, object]:
    """Give a result's fields in the SDK's words; presigned URLs let anyone fetch the files, so they are left out unless asked for."""
    files = [{"key": file.key, "name": file.name} | ({"url": file.url} if links else {}) for file in result.files]
    return {
        "type": "result",
        "task_id": result.id,
        "status": result.status,
        "error": result.error,
        "completed_at": result.completed_at,
        "output": result.output,
        "files": files,
    }
