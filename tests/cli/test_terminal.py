"""On a real terminal: a bar that moves, Ctrl-C that leaves the task running, pipes that break."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async.local.scripts import after, complete, fail, progress, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.forking import ForkServer

    from cyberun_async.local import LocalCyberun

TIMEOUT = 15.0
"""Seconds until a test that is about to fail gives up."""

RUN = ("run", "text-to-image", "-p", "prompt=dusk", "-p", "width=64", "-p", "height=64", "--out", "out")

LIFE = [
    status("running"),
    after(1),
    progress(1, 4),
    after(1),
    progress(3, 4, stage="train", message="Nearly there"),
    after(1),
    progress(4, 4),
    after(1),
    complete(),
]

pytestmark = pytest.mark.slow


class Screen:
    """A command that runs in a terminal of 80 columns."""

    def __init__(
        self, forks: ForkServer, folder: Path, environment: dict[str, str], arguments: tuple[str, ...]
    ) -> None:
        self.text = ""
        self._ours, theirs = pty.openpty()
        self._process = forks.start(
            "-m",
            "cyberun_async",
            *arguments,
            env=environment,
            cwd=folder,
            streams=(theirs, theirs, theirs),
            start_new_session=True,
        )
        os.close(theirs)

    def read_until(self, wanted: str) -> None:
        """Read on until `wanted` has been shown."""
        seen = len(self.text)
        while wanted not in self.text[seen:]:
            assert self._read(), f"{wanted!r} was not shown in {self.text!r}"

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self._process.send_signal(number)

    def finish(self) -> int:
        """Read to the end, and give the exit code."""
        while self._read():
            pass
        return self._process.wait(TIMEOUT)

    def close(self) -> None:
        """End what still runs."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], TIMEOUT)[0]:
            return False
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the other side is closed.
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)


@pytest.fixture
def environment(held: LocalCyberun) -> dict[str, str]:
    """Know the account and the terminal, and nothing of those who run the tests."""
    known = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "PYTHONPATH", "COVERAGE_PROCESS_START")
        if name in os.environ
    }
    account = {"CYBERUN_BASE_URL": held.base_url, "CYBERUN_API_KEY": held.api_key}
    return known | account | {"TERM": "xterm-256color", "COLUMNS": "80", "LANG": "C.UTF-8"}


@pytest.fixture
def screen(forks: ForkServer, tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Screen]]:
    """Start commands in a terminal, in an empty folder."""
    screens: list[Screen] = []

    def start(*arguments: str, **more: str) -> Screen:
        screens.append(Screen(forks, tmp_path, environment | more, arguments))
        return screens[-1]

    yield start
    for each in screens:
        each.close()


def test_a_bar_moves_from_submitted_to_the_path_of_the_picture(
    screen: Callable[..., Screen], held: LocalCyberun, tmp_path: Path
):
    """Status, percentage, node, stage, step and message are shown while the task goes on."""
    held.script("text-to-image", LIFE)
    shown = screen(*RUN)
    shown.read_until("running")
    held.clock.advance_blocking(1)
    shown.read_until("25%")
    shown.read_until("node 3 · step 1/4")
    held.clock.advance_blocking(1)
    shown.read_until("75%")
    shown.read_until("train · step 3/4")
    held.clock.advance_blocking(1)
    shown.read_until("100%")
    assert "completed" not in shown.text, "all steps done is not the end"
    held.clock.advance_blocking(1)
    assert shown.finish() == 0
    assert "completed" in shown.text
    assert shown.text.endswith("out/output_00001_.png\r\n")
    assert (tmp_path / "out" / "output_00001_.png").is_file()
    assert shown.text.rindex("\x1b[?25h") > shown.text.rindex("\x1b[?25l"), "the cursor is back"


def test_a_failed_task_leaves_its_bar_where_it_stood(screen: Callable[..., Screen], held: LocalCyberun):
    """The reason is on the line below."""
    held.script("text-to-image", [status("running"), after(1), progress(1, 4), fail("CUDA out of memory")])
    shown = screen(*RUN)
    shown.read_until("running")
    held.clock.advance_blocking(1)
    assert shown.finish() == 3
    assert "failed: CUDA out of memory" in re.sub(r"\s+", " ", shown.text)
    assert "100%" not in shown.text


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (lambda screen: screen.press(b"\x03"), 130),
        (lambda screen: screen.send(signal.SIGINT), 130),
        (lambda screen: screen.send(signal.SIGTERM), 143),
    ],
    ids=["Ctrl-C", "SIGINT", "SIGTERM"],
)
def test_leaving_leaves_the_task_running_and_says_how_to_come_back(
    screen: Callable[..., Screen], held: LocalCyberun, tmp_path: Path, stop: Callable[[Screen], None], code: int
):
    """The command that is shown gets the picture in the end, and the terminal has its cursor back."""
    held.script("text-to-image", LIFE)
    shown = screen(*RUN)
    shown.read_until("running")
    stop(shown)
    assert shown.finish() == code
    assert "Traceback" not in shown.text
    assert shown.text.rindex("\x1b[?25h") > shown.text.rindex("\x1b[?25l")
    back = re.search(r"Resume with: cyberun-async (wait \S+ --out out)\r\n", shown.text)
    again = screen(*back[1].split())
    again.read_until("running")
    held.clock.advance_blocking(4)
    assert again.finish() == 0
    assert (tmp_path / "out" / "output_00001_.png").is_file()


def test_leaving_a_local_cyberun_says_that_it_is_gone(screen: Callable[..., Screen]):
    """There is nothing to come back to, so no command is shown that could not work."""
    shown = screen("run", "text-to-image", "-p", "prompt=dusk", "--local")
    shown.read_until("running")
    shown.press(b"\x03")
    assert shown.finish() == 130
    assert "The local test server has stopped" in shown.text
    assert "Resume with" not in shown.text


def test_a_terminal_that_cannot_redraw_gets_lines(screen: Callable[..., Screen], held: LocalCyberun):
    """No control sequence is sent to it."""
    held.script("text-to-image", [status("running"), complete()])
    shown = screen(*RUN, TERM="dumb")
    assert shown.finish() == 0
    assert "\x1b" not in shown.text
    assert "completed" in shown.text.splitlines()


def test_lists_are_tables_with_heads(screen: Callable[..., Screen]):
    """People get columns, where a pipe gets tabs."""
    shown = screen("workflows")
    assert shown.finish() == 0
    assert "WORKFLOW" in shown.text
    assert "\t" not in shown.text


def test_serve_prints_what_points_a_client_at_it_until_ctrl_c(screen: Callable[..., Screen]):
    """The lines can be pasted into a shell, and work; stopping it is not an error."""
    shown = screen("serve")
    shown.read_until("Ctrl-C stops it.")
    exports = dict(re.findall(r"export (CYBERUN_\w+)=(\S+)\r\n", shown.text))
    other = screen("workflows", **exports)
    assert other.finish() == 0
    assert "text-to-image" in other.text
    shown.press(b"\x03")
    assert shown.finish() == 0


def test_serve_says_what_listening_on_every_address_means(screen: Callable[..., Screen]):
    """It prints an address that clients of this machine can use, and what others do."""
    shown = screen("serve", "--host", "0.0.0.0")
    shown.read_until("Ctrl-C stops it.")
    exports = dict(re.findall(r"export (CYBERUN_\w+)=(\S+)\r\n", shown.text))
    assert exports["CYBERUN_BASE_URL"].startswith("http://127.0.0.1:")
    assert "other machines reach it" in shown.text
    other = screen("workflows", **exports)
    assert other.finish() == 0
    shown.press(b"\x03")
    assert shown.finish() == 0


def test_a_reader_that_goes_away_ends_the_command_quietly(environment: dict[str, str], tmp_path: Path):
    """`cyberun-async workflows | head -1` prints one line, and nothing on stderr."""
    command = f"{sys.executable} -m cyberun_async workflows --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
