"""The command that takes many items through a workflow."""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cyberun_async import (
    AbandonPolicy,
    AsyncClient,
    Batch,
    CyberunError,
    Journal,
    Outcome,
    StatusEvent,
    TaskEvent,
    TaskStatus,
)
from cyberun_async._batch.decisions import Resubmit
from cyberun_async._concurrency import run_all
from cyberun_async.cli._batch_check import checked_items, forecast, show_forecast
from cyberun_async.cli._connect import Account, connect
from cyberun_async.cli._exit import ExitCode
from cyberun_async.cli._items import read_lines
from cyberun_async.cli._options import FROM_ENVIRONMENT, Json, Workflow, above_zero, make_folder
from cyberun_async.cli._results import Results
from cyberun_async.cli._signals import TERMINATION
from cyberun_async.cli._text import print_status, printable, write_json, write_line

MAX_CONCURRENT_SAVES = 8
"""Items whose files are fetched at the same time."""

SHUTDOWN_GRACE = 4
"""Seconds that SIGTERM leaves to what runs: containers are killed after ten, and leaving takes some."""


_STOPPED_BY = {"max_tasks": "--max-tasks", "stop_after_failures": "--max-failures"}


async def batch(
    workflow: Workflow,
    inputs: Annotated[Path, Parameter(help="JSON Lines, or CSV with the parameters' names on top.")],
    /,
    *,
    out: Annotated[
        Path,
        Parameter(name=["--out", "-o"], help="The folder for the results, with one folder an item."),
    ],
    journal: Annotated[
        Path | None, Parameter(help="The file that records what was submitted; else `journal` in `--out`.")
    ] = None,
    key: Annotated[
        str | None, Parameter(help="The field that names an item and its folder; else its line number.")
    ] = None,
    max_in_flight: Annotated[
        int, Parameter(validator=validators.Number(gte=1), help="Keep so many tasks in flight at most.")
    ] = 100,
    timeout: Annotated[
        float | None, Parameter(validator=above_zero, help="Wait so many seconds at most for each task.")
    ] = None,
    start_timeout: Annotated[
        float | None, Parameter(validator=above_zero, help="Let a task be queued for so many seconds at most.")
    ] = None,
    on_timeout: Annotated[
        AbandonPolicy, Parameter(show_choices=False, help="Then `leave` the task running, or `cancel` it.")
    ] = "leave",
    attempts: Annotated[
        int, Parameter(validator=above_zero, help="Let an item cost so many tasks while they fail.")
    ] = 1,
    max_tasks: Annotated[
        int | None, Parameter(validator=above_zero, help="Submit so many tasks at most in this run.")
    ] = None,
    max_failures: Annotated[
        int | None, Parameter(validator=above_zero, help="Submit nothing more after so many failed items.")
    ] = None,
    resubmit: Annotated[
        tuple[Resubmit, ...],
        Parameter(negative="", show_default=False, help="Submit and bill these again."),
    ] = (),
    check: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Only check every line, and count the tasks that would be billed.",
        ),
    ] = False,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> ExitCode:
    """Run a workflow for each item of a file; the same command resumes it.

    Example: `cyberun-async batch text-to-image prompts.csv --out out/`
    """
    journal = journal or out / "journal"
    results = Results(out, journal)
    lines = read_lines(inputs, key)
    async with connect(account) as client:
        items = await checked_items(client, workflow, lines, as_json=json)
        if check:
            steps = await forecast(workflow, items, journal, resubmit=resubmit, attempts=attempts)
            show_forecast(steps, max_tasks, attempts, as_json=json)
            return ExitCode.OK
        make_folder(out)
        tally = Tally(len(items), as_json=json)
        try:
            running = client.map(
                workflow,
                items.items(),
                max_in_flight=max_in_flight,
                timeout=timeout,
                start_timeout=start_timeout,
                on_timeout=on_timeout,
                on_event=tally.event,
                journal=Journal(journal),
                resubmit=resubmit,
                attempts=attempts,
                max_tasks=max_tasks,
                stop_after_failures=max_failures,
            )
            async with running:
                with tally.shown(), _interruptible(running, tally):
                    await run_all(*[lambda: _save_each(client, running, results, tally)] * MAX_CONCURRENT_SAVES)
        except asyncio.CancelledError:
            if not tally.was_stopped:
                raise
            print_status("interrupted: the same command resumes the batch")
        if running.stopped_by in _STOPPED_BY:
            print_status(f"stopped by {_STOPPED_BY[running.stopped_by]}: the same command resumes the batch")
    return tally.summary(results)


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
        """Note what became of an item; one that was not submitted, because the batch was stopped, is left."""
        if outcome.is_stopped:
            return
        word = "uncertain" if outcome.is_uncertain else "failed" if problem else "done"
        self._counts[word] += 1
        self._begun.discard(outcome.task_id or "")
        if self._as_json:
            write_json(
                {"type": "item", "key": outcome.key, "task_id": outcome.task_id, "outcome": word, "error": problem}
            )
        elif problem:
            write_line(printable(f"{outcome.key}: {problem}"))

    def summary(self, results: Results) -> ExitCode:
        """Show the sum of it, keep it beside the results, and give the exit code."""
        ended = sum(self._counts.values())
        words = ("done", "failed", "uncertain")
        counts = {word: self._counts[word] for word in words} | {"left": self._total - ended}
        fields = {"type": "summary", **counts, "seconds": round(time.monotonic() - self._began, 1)}
        if self._as_json:
            write_json(fields)
        else:
            write_line(", ".join(f"{count} {word}" for word, count in counts.items()))
        results.save_summary(fields)
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
        if rate and not self.was_stopped:
            left = round((self._total - ended) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
        return Text(", ".join(parts))


async def _save_each(client: AsyncClient, running: Batch, results: Results, tally: Tally) -> None:
    async for outcome in running:
        problem = None if outcome.error is None else str(outcome.error)
        try:
            if not outcome.is_stopped:
                await results.save(client, outcome)
        except CyberunError as error:
            problem = f"not saved: {error}"
        except OSError as error:
            problem = f"not saved: {error.filename} cannot be written: {error.strerror}"
        tally.ended(outcome, problem)


@contextmanager
def _interruptible(running: Batch, tally: Tally) -> Iterator[None]:
    """Let one Ctrl-C stop the submitting, and a second one leave; SIGTERM does the second some seconds after the first."""
    if sys.platform == "win32":
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    timers: list[asyncio.TimerHandle] = []

    def stop() -> None:
        if tally.was_stopped:
            task.cancel()
            return
        tally.was_stopped = True
        running.stop()
        if TERMINATION.was_requested:
            timers.append(loop.call_later(SHUTDOWN_GRACE, task.cancel))
            print_status(f"nothing more is submitted; tasks that do not end within {SHUTDOWN_GRACE} s are left running")
        else:
            print_status("nothing more is submitted; waiting for the running tasks, Ctrl-C again leaves them running")

    before = signal.getsignal(signal.SIGINT)
    # SIGTERM comes this way, too.
    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
