"""What showing a wait costs where nobody looks, and what it does to a wait that somebody looks at."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest

from cyberun_async import AsyncClient, InvalidParameters, TaskCancelled, WaitTimeout, _notebook
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

    def finish(self, text: str) -> None:
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
    """Run a quick server."""
    with LocalCyberun() as running:
        yield running


async def test_each_event_is_drawn(page: type[Page], server: LocalCyberun) -> None:
    """Status, percentage and step come as they are told, and the last line says how it ended."""
    server.script(WORKFLOW, [status("running"), progress(1, 2), complete({})])
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        await client.run(WORKFLOW, PARAMETERS)
    assert page.lines[0] == "0 text-to-image"
    assert "1 text-to-image · completed" in page.lines[-2]
    assert page.lines[-1] == "text-to-image  completed  ▰▰▰▰▰▰▰▰▰▰ 100 %"


@pytest.mark.parametrize(
    ("life", "timeout", "error", "outcome"),
    [
        pytest.param([cancel()], None, TaskCancelled, "cancelled", id="cancelled"),
        pytest.param([status("running")], 0.3, WaitTimeout, "timed out", id="timed out"),
    ],
)
async def test_how_it_ended(  # noqa: PLR0917 - fixtures and a table
    page: type[Page],
    server: LocalCyberun,
    life: list[object],
    timeout: float | None,
    error: type[Exception],
    outcome: str,
) -> None:
    """A wait that raises leaves a line that says why."""
    server.script(WORKFLOW, life)  # type: ignore[arg-type]
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        with pytest.raises(error):
            await client.run(WORKFLOW, PARAMETERS, timeout=timeout)
    assert page.lines[-1].startswith(f"text-to-image  {outcome}  ")


async def test_it_was_refused(page: type[Page], server: LocalCyberun) -> None:
    """What raised is named where the task says nothing."""
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        with pytest.raises(InvalidParameters):
            await client.run(WORKFLOW, {})
    assert page.lines[-1].startswith("text-to-image  InvalidParameters  ")


async def test_it_was_left(page: type[Page], server: LocalCyberun) -> None:
    """A wait that is cancelled leaves a line as well."""
    server.script(WORKFLOW, [status("running")])
    async with AsyncClient(server.api_key, base_url=server.base_url) as client:
        with anyio.move_on_after(0.3):
            await client.run(WORKFLOW, PARAMETERS)
    assert page.lines[-1].startswith("text-to-image  stopped  ")


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
    with _notebook.shown("x") as on_event:
        assert on_event is None
    monkeypatch.setenv("CYBERUN_PROGRESS", "1")
    with _notebook.shown("x") as on_event:
        assert on_event is not None


def test_ten_are_shown_at_once(page: type[Page]) -> None:
    """The eleventh is not, and there is room again when one has ended."""
    with ExitStack() as waits:
        told = [waits.enter_context(_notebook.shown(str(n))) is not None for n in range(11)]
    with _notebook.shown("x") as on_event:
        assert on_event is not None
    assert told == [True] * 10 + [False]


def test_nothing_to_draw_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither ipywidgets nor rich can be imported, a wait is not drawn."""
    for module in ("ipywidgets", "rich.columns"):
        monkeypatch.setitem(sys.modules, module, None)
    assert _notebook._drawing() is None
