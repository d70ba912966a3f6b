"""The command that takes many items through a workflow."""

import asyncio
import csv
import hashlib
import json as json_
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cyberun_async import (
    AsyncClient,
    Batch,
    CyberunError,
    InvalidParameters,
    Journal,
    Outcome,
    StatusEvent,
    TaskEvent,
    TaskStatus,
)
from cyberun_async._flows.together import side_by_side
from cyberun_async._protocol.batches import Resubmit
from cyberun_async._protocol.filenames import safe_name
from cyberun_async.cli._app import FROM_ENVIRONMENT, Json, Workflow, make_folder
from cyberun_async.cli._connect import Account, connect
from cyberun_async.cli._exit import ExitCode
from cyberun_async.cli._parameters import typed
from cyberun_async.cli._show import tell
from cyberun_async.cli._text import printable, write_json, write_line

Fields = dict[str, object]

SAVED_AT_ONCE = 8
"""Items whose files are fetched at the same time."""


async def batch(
    workflow: Workflow,
    inputs: Annotated[
        Path, Parameter(help="A file of JSON Lines, an object of parameters a line, or a CSV with their names on top.")
    ],
    /,
    *,
    out: Annotated[
        Path,
        Parameter(
            name=["--out", "-o"], help="The folder for the results; each item's files get a folder of their own in it."
        ),
    ],
    journal: Annotated[
        Path | None, Parameter(help="The file that remembers what was submitted; `journal` in `--out` by default.")
    ] = None,
    key: Annotated[
        str | None, Parameter(help="The field that names each item; by default its line number does.")
    ] = None,
    max_in_flight: Annotated[int, Parameter(help="Keep at most so many tasks going at once.")] = 100,
    timeout: Annotated[float | None, Parameter(help="Wait at most so many seconds for each task.")] = None,
    resubmit: Annotated[
        tuple[Resubmit, ...],
        Parameter(negative="", show_default=False, help="Submit these items again, each of which is billed again."),
    ] = (),
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> ExitCode:
    """Take the items of a file through a workflow.

    Started again with the same line, it goes on where it was.
    Ctrl-C once submits no more and sees through what runs; twice leaves, with the tasks running.

    Example: `cyberun-async batch text-to-image prompts.csv --out out/`
    """
    make_folder(out)
    items = dict(_read(inputs, key))
    tally = Tally(len(items), as_json=json)
    try:
        async with connect(account) as client:
            if _is_csv(inputs):
                items = await _typed(client, workflow, items)
            running = client.map(
                workflow,
                items.items(),
                max_in_flight=max_in_flight,
                timeout=timeout,
                on_event=tally.event,
                journal=Journal(journal or out / "journal"),
                resubmit=resubmit,
            )
            async with running:
                with tally.shown(), _interruptible(running, tally):
                    await side_by_side(*[lambda: _save_each(client, running, out, tally)] * SAVED_AT_ONCE)
    except asyncio.CancelledError:
        if tally.was_stopped:
            tell("left: the same line goes on where this one was")
            raise KeyboardInterrupt from None
        raise
    return tally.summary(out)


async def _typed(client: AsyncClient, workflow: str, items: Mapping[str, Fields]) -> dict[str, Fields]:
    """Read the texts of a CSV as what the workflow takes."""
    definitions = (await client.workflows.get(workflow)).parameters
    texts = {name: {field: str(text) for field, text in fields.items()} for name, fields in items.items()}
    return {name: typed(fields, definitions) for name, fields in texts.items()}


class Tally:
    """What has become of the items so far."""

    def __init__(self, total: int, *, as_json: bool) -> None:
        """Count from zero."""
        self.was_stopped = False
        self._total = total
        self._as_json = as_json
        self._began = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._running: set[str] = set()
        self._begun: set[str] = set()
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show a line that moves, where there is a terminal to show it on."""
        console = Console(stderr=True)
        if self._as_json or not console.is_terminal:
            yield
            return
        with Live(console=console, get_renderable=self._line, refresh_per_second=4):
            yield

    def event(self, event: TaskEvent) -> None:
        """Note how a task stands."""
        self._begun.add(event.task_id or "")
        if isinstance(event, StatusEvent) and event.status == TaskStatus.RUNNING:
            self._running.add(event.task_id)
        elif event.is_terminal or isinstance(event, StatusEvent):
            self._running.discard(event.task_id or "")

    def ended(self, outcome: Outcome, problem: str | None) -> None:
        """Note what became of an item."""
        word = "uncertain" if outcome.is_uncertain else "failed" if problem else "done"
        self._counts[word] += 1
        self._begun.discard(outcome.task_id or "")
        if self._as_json:
            write_json(
                {"type": "item", "key": outcome.key, "task_id": outcome.task_id, "outcome": word, "error": problem}
            )
        elif problem:
            write_line(printable(f"{outcome.key}: {problem}"))

    def summary(self, out: Path) -> ExitCode:
        """Show the sum of it, keep it beside the results, and give the exit code."""
        ended = sum(self._counts.values())
        words = ("done", "failed", "uncertain")
        counts = {word: self._counts[word] for word in words} | {"left": self._total - ended}
        fields = {"type": "summary", **counts, "seconds": round(time.monotonic() - self._began, 1)}
        (out / "summary.json").write_text(json_.dumps(fields) + "\n", encoding="utf-8")
        if self._as_json:
            write_json(fields)
        else:
            write_line(", ".join(f"{count} {word}" for word, count in counts.items()))
        if self.was_stopped:
            return ExitCode.INTERRUPTED
        return ExitCode.OK if counts["done"] == self._total else ExitCode.TASK_FAILED

    def _line(self) -> Text:
        ended, seconds = sum(self._counts.values()), time.monotonic() - self._began
        rate = ended / seconds if seconds else 0.0
        parts = [f"{self._counts['done']} of {self._total} done", f"{self._counts['failed']} failed"]
        parts += [
            f"{len(self._running)} running",
            f"{len(self._begun - self._running)} waiting",
            f"{rate * 60:.1f} a minute",
        ]
        if rate:
            left = round((self._total - ended) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
        return Text(", ".join(parts))


async def _save_each(client: AsyncClient, running: Batch, out: Path, tally: Tally) -> None:
    async for outcome in running:
        problem = None if outcome.error is None else str(outcome.error)
        try:
            await _save(client, outcome, out / _folder_of(outcome.key))
        except (CyberunError, OSError) as error:
            problem = f"not saved: {error}"
        tally.ended(outcome, problem)


async def _save(client: AsyncClient, outcome: Outcome, folder: Path) -> None:
    """Write down what became of an item, last of all, so that what is written down is also there."""
    note = folder / "outcome.json"
    fields = {
        "key": outcome.key,
        "task_id": outcome.task_id,
        "status": outcome.result.status if outcome.result else None,
        "output": outcome.result.output if outcome.result else None,
        "error": str(outcome.error) if outcome.error else None,
        "is_uncertain": outcome.is_uncertain,
    }
    text = json_.dumps(fields, indent=2) + "\n"
    if await to_thread.run_sync(_has, note, text):
        return
    await to_thread.run_sync(make_folder, folder)
    if outcome.succeeded and outcome.task_id is not None:
        await client.download(outcome.task_id, folder)
    await to_thread.run_sync(_write, note, text)


def _has(note: Path, text: str) -> bool:
    return note.is_file() and note.read_text(encoding="utf-8") == text


def _write(note: Path, text: str) -> None:
    note.write_text(text, encoding="utf-8")


def _folder_of(key: str) -> str:
    """Give a name that is safe everywhere, and different for each key."""
    name = safe_name(key)
    return name if name == key else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


@contextmanager
def _interruptible(running: Batch, tally: Tally) -> Iterator[None]:
    """Let one Ctrl-C stop the submitting, and a second one leave."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if tally.was_stopped and task is not None:
            task.cancel()
            return
        tally.was_stopped = True
        running.stop()
        tell("no more is submitted, and what runs is seen through; Ctrl-C again leaves it running")

    if sys.platform == "win32":
        yield
        return
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


# The items


def _read(path: Path, key: str | None) -> Iterator[tuple[str, Fields]]:
    """Give the key and the parameters of each line.

    Raises:
        InvalidParameters: The file cannot be read, a line is no item, or two have the same key.

    """
    seen: set[str] = set()
    for number, fields in _lines(path):
        name = number if key is None else fields.pop(key, None)
        if not isinstance(name, (str, int)) or str(name) in seen:
            what = "is there twice" if name is not None else "is missing"
            raise InvalidParameters([f"{path}, line {number}: the key {name!r} {what}"])
        seen.add(str(name))
        yield str(name), fields


def _lines(path: Path) -> Iterator[tuple[int, Fields]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if _is_csv(path):
                rows = csv.DictReader(file)
                yield from ((rows.line_num, {name: text for name, text in row.items() if text}) for row in rows)
            else:
                yield from (
                    (number, _object(path, number, line)) for number, line in enumerate(file, 1) if line.strip()
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidParameters([f"{path} cannot be read: {reason}"]) from None


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _object(path: Path, number: int, line: str) -> Fields:
    try:
        fields = json_.loads(line)
    except ValueError as error:
        raise InvalidParameters([f"{path}, line {number} is not JSON: {error}"]) from None
    if not isinstance(fields, Mapping):
        raise InvalidParameters([f"{path}, line {number} must be a JSON object of parameters"])
    return dict(fields)
