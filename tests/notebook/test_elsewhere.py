"""What showing a wait costs where nobody looks, and what it does to a wait that somebody looks at."""

from __future__ import annotations

import subprocess
import sys
import traceback
from contextlib import AbstractContextManager, ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest
from support.scripted import SSE_HEAD, TASK, Remote, answer, hold
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import AbandonPolicy, AsyncClient, InvalidParameters, TaskCancelled, WaitTimeout, _notebook
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import cancel, complete, progress, status

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOW, PARAMETERS = "text-to-image", {"prompt": "a harbour", "width": 64, "height": 64}

PROGRAM = """
import asyncio, sys
from cyberun_async import AsyncClient
from cyberun_async.local import LocalCyberun
async def main():
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        await client.run("text-to-image", {"prompt": "x", "width": 64, "height": 64})
asyncio.run(main())
print([name for name in ("IPython", "ipywidgets", "cyberun_async._notebook") if name in sys.modules])
"""


@pytest.mark.slow
def test_a_program_pays_nothing() -> None:
    """Without IPython nothing of it is imported, though all of it is installed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.slow
def test_a_terminal_is_no_notebook() -> None:
    """In IPython's own terminal nothing is shown, and no widget is imported for it."""
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['IPython', 'cyberun_async._notebook']"]


class Page:
    """A drawing that only remembers."""

    lines: ClassVar[list[str]] = []
    fails: ClassVar[bool] = False

    def draw(self, part: float, text: str) -> None:
        """Remember the text."""
        self._add(f"{part:g} {text}")

    def close(self, text: str) -> None:
        """Likewise."""
        self._add(text)

    def _add(self, line: str) -> None:
        if self.fails:
            raise OSError("the kernel is gone")
        self.lines.append(line)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Page]]:
    """Make this process a notebook."""
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(_notebook, "_Widgets", Page)
    monkeypatch.setattr(Page, "lines", [])
    yield Page
    assert _notebook._drawn == 0


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Run a server whose tasks take milliseconds."""
    with LocalCyberun(pace=0.001) as running:
        yield running


async def test_each_event_is_drawn(page: type[Page], server: LocalCyberun) -> None:
    """Status, percentage and step come as they are told, and the last line says how it ended."""
    server.script(WORKFLOW, [status("running"), progress(1, 2), complete({})])
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        await client.run(WORKFLOW, PARAMETERS)
    assert page.lines[0] == "0 text-to-image"
    assert "1 text-to-image · completed" in page.lines[-2]
    assert page.lines[-1] == "text-to-image  completed  ▰▰▰▰▰▰▰▰▰▰ 100 %"


async def test_it_was_cancelled(page: type[Page], server: LocalCyberun) -> None:
    """A wait that raises leaves a line that says why."""
    server.script(WORKFLOW, [cancel()])
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        with pytest.raises(TaskCancelled):
            await client.run(WORKFLOW, PARAMETERS)
    assert page.lines[-1].startswith("text-to-image  cancelled  ")


@virtual
async def test_it_timed_out(page: type[Page]) -> None:
    """A deadline says what has become of the task, too."""
    async with served() as (server, client):
        Remote("running").on(server)
        server.on("run", answer(202, {"task_id": TASK}))
        server.on("events", hold(SSE_HEAD))
        with pytest.raises(WaitTimeout):
            await client.run(WORKFLOW, PARAMETERS, validate=False, timeout=60)
    assert page.lines[-1].startswith(f"text-to-image  timed out, left running: {TASK}  ")


async def test_it_was_refused(page: type[Page], server: LocalCyberun) -> None:
    """What raised is named where the task says nothing."""
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        with pytest.raises(InvalidParameters):
            await client.run(WORKFLOW, {})
    assert page.lines[-1].startswith("text-to-image  InvalidParameters  ")


@pytest.mark.parametrize(
    ("on_cancel", "outcome"), [("leave", "left running: {}"), ("cancel", "stopped, asked to cancel: {}")]
)
async def test_it_was_stopped(page: type[Page], server: LocalCyberun, on_cancel: AbandonPolicy, outcome: str) -> None:
    """A wait that is stopped says what has become of its task, and the caller is told the id as ever."""
    server.script(WORKFLOW, [status("running")])
    told: list[str] = []
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        with anyio.CancelScope() as scope:

            def note(task_id: str) -> None:
                told.append(task_id)
                scope.cancel()

            await client.run(WORKFLOW, PARAMETERS, on_cancel=on_cancel, on_submitted=note)
    assert page.lines[-1].startswith(f"text-to-image  {outcome.format(told[0])}  ")


async def test_it_was_stopped_before_there_was_a_task(page: type[Page], server: LocalCyberun) -> None:
    """Then there is no id to name."""
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.run(WORKFLOW, PARAMETERS)
    assert page.lines[-1].startswith("text-to-image  stopped  ")


async def test_a_wait_by_id_was_stopped(page: type[Page], server: LocalCyberun) -> None:
    """The title names the task already."""
    server.script(WORKFLOW, [status("running")])
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        task_id = await client.submit(WORKFLOW, PARAMETERS)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.wait_for_result(task_id)
    assert page.lines[-1].startswith(f"task {task_id}  left running  ")


@table("ending", ["completed", "failed", "cancelled"])
def test_a_task_that_has_ended_is_not_left(ending: str) -> None:
    """It does not run any more, whenever its wait was stopped."""
    assert _notebook._stopped("t", "x", ending, "leave") == "stopped"


async def test_a_stop_leaves_no_long_traceback(page: type[Page], server: LocalCyberun) -> None:
    """What is raised ends in the call that was made, and not in the depths of a connection."""
    server.script(WORKFLOW, [status("running")])
    depths: list[int] = []
    async with AsyncClient(server.api_key, base_url=server.base_url) as client, anyio.create_task_group() as group:
        task_id = await client.submit(WORKFLOW, PARAMETERS)

        async def wait() -> None:
            try:
                await client.wait_for_result(task_id)
            except anyio.get_cancelled_exc_class() as error:
                depths.append(len(list(traceback.walk_tb(error.__traceback__))))
                raise

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert depths == [2]


async def test_a_page_that_fails_changes_nothing(
    page: type[Page], server: LocalCyberun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A result that was paid for is given though it cannot be shown; the log says so."""
    monkeypatch.setattr(page, "fails", True)
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        assert (await client.run(WORKFLOW, PARAMETERS)).status == "completed"
    assert "the progress of a wait cannot be shown" in caplog.text


@pytest.mark.parametrize("word", ["0", "false", "Off", "no"])
def test_it_can_be_turned_off(page: type[Page], monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """`CYBERUN_PROGRESS` is read for each wait."""
    monkeypatch.setenv("CYBERUN_PROGRESS", word)
    with _notebook.shown("x", None, task_id=None, on_cancel="leave") as (on_event, _):
        assert on_event is None
    monkeypatch.setenv("CYBERUN_PROGRESS", "1")
    with _notebook.shown("x", None, task_id=None, on_cancel="leave") as (on_event, _):
        assert on_event is not None


def shown_number(number: int) -> AbstractContextManager[tuple[object, object]]:
    """Show one of many."""
    return _notebook.shown(str(number), None, task_id=None, on_cancel="leave")


def test_ten_are_shown_at_once(page: type[Page]) -> None:
    """The eleventh is not, and there is room again when one has ended."""
    with ExitStack() as waits:
        told = [waits.enter_context(shown_number(n))[0] is not None for n in range(11)]
    with _notebook.shown("x", None, task_id=None, on_cancel="leave") as (on_event, _):
        assert on_event is not None
    assert told == [True] * 10 + [False]


def test_stopped_where_no_traceback_is_left(page: type[Page]) -> None:
    """A stop that comes without a traceback, as from a program that cleared it, ends the drawing as any other."""
    wait = shown_number(1)
    wait.__enter__()
    wait.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert _notebook._drawn == 0


def test_nothing_to_draw_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither ipywidgets nor rich can be imported, a wait is not drawn."""
    for module in ("ipywidgets", "rich.columns"):
        monkeypatch.setitem(sys.modules, module, None)
    assert _notebook._drawing() is None
