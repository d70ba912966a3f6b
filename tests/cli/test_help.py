"""What a new user of the command line reads: the help of every command, and the first mistakes."""

from __future__ import annotations

import fcntl
import functools
import io
import os
import pty
import re
import shlex
import struct
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from support.tables import table

from cyberun_async.cli import main
from cyberun_async.cli._main import COMMANDS, app

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.forking import ForkServer

    from conftest import Outcome

    Command = Callable[..., Outcome]

NAMES = [command.__name__ for commands in COMMANDS.values() for command in commands]

ROW = re.compile(r"│ [* ]*(?P<name>-[\w-]+|[A-Z_]+)(?P<aliases>( -\S+)*)( [A-Z]+(\.\.\.)?)? {2,}(?P<said>.*?) *│")
"""An option or an argument, with what is said of it."""

SENTENCE = re.compile(r"[A-Z][^.].*[^ ]\.( \[.*\])*")
"""One sentence at least, and behind it the choices and the default."""


WIDE = 300
"""Columns that leave each option on a line of its own."""


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave each option on a line of its own."""
    monkeypatch.setenv("COLUMNS", str(WIDE))
    # A console keeps the width that it was made with, perhaps by another test.
    monkeypatch.setattr(app, "console", Console())


@functools.cache
def help_of(name: str, width: int) -> str:
    """Give the help of a command, or of the whole for "", on a terminal of some width."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "console", Console(file=shown, width=width))
        assert main([*filter(None, [name]), "--help"]) == 0
    return shown.getvalue()


@table("name", NAMES)
def test_each_option_has_a_sentence(name: str):
    """The help of a command says of each argument and option, in a sentence, what it does."""
    rows = [row for line in help_of(name, WIDE).splitlines() if (row := ROW.fullmatch(line))]
    said = {row["name"]: row["said"] for row in rows}
    options = {word for argument in app[name].assemble_argument_collection() for word in argument.names}

    assert {option for option in options if option.startswith("--")} <= said.keys()
    assert [text for text in said.values() if not SENTENCE.fullmatch(text)] == []
    assert "--json" in said


@table("name", NAMES)
def test_each_command_has_an_example_that_can_be_typed(name: str):
    """The example in the help of a command is a line that the command understands."""
    (example,) = re.findall(r"^Example: cyberun-async (.*?) *$", help_of(name, WIDE), re.MULTILINE)

    command, bound, _ = app.parse_args(shlex.split(example), exit_on_error=False, print_error=False)

    assert (command.__name__, bool(bound.arguments)) == (name, True)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=["nothing", "--help", "-h"])
def test_the_first_screen(cyberun: Command, arguments: list[str]):
    """Whoever types nothing sees every command in order, a line to begin with, and where the key is."""
    shown = cyberun(*arguments)
    assert re.findall(r"^│ ([a-z]+) ", shown.out, re.MULTILINE) == NAMES
    assert "cyberun-async run text-to-image -p prompt=dusk --local --out out/" in shown.out
    assert "CYBERUN_API_KEY" in shown.out
    assert shown.code == 0


def read_in_a_terminal(forks: ForkServer, columns: int, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    command = ["-m", "cyberun_async", *arguments]
    with forks.start(*command, env=environment | {"TERM": "xterm"}, cwd=".", streams=(theirs, theirs, theirs)):
        os.close(theirs)
        shown = b""
        # Linux ends a terminal whose other side is gone with an error.
        try:
            while block := os.read(ours, 65536):
                shown += block
        except OSError:
            pass
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("arguments", [["--help"], ["batch", "--help"]], ids=" ".join)
def test_the_help_fits_the_terminal(forks: ForkServer, columns: int, arguments: list[str]):
    """On a terminal the boxes are as wide as it is, and nothing is cut off."""
    lines = read_in_a_terminal(forks, columns, *arguments).splitlines()
    assert {len(line) for line in lines if line[:1] in {"╭", "│", "╰"}} == {columns}
    assert max(map(len, lines)) == columns
    assert "…" not in "".join(lines)


def test_each_command_is_on_its_page():
    """The table of docs/cli.md has a row for each command."""
    page = Path(__file__).parents[2].joinpath("docs", "cli.md").read_text(encoding="utf-8")
    rows = " ".join(re.findall(r"^\| (`[a-z].*?) \|", page, re.MULTILINE))
    assert {name for name in NAMES if not re.search(rf"`{name}[` ]", rows)} == set()


@table("name", ["", *NAMES])
def test_the_help_fits_one_screen(name: str):
    """At 100 columns and 30 lines, usage and example are in sight, with a line left for the prompt."""
    shown = help_of(name, 100)
    assert len(shown.splitlines()) <= 29
    assert shown.startswith("Usage: cyberun-async")
    assert re.search(r"(Example|Without an account): cyberun-async ", shown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    {
        "a command": (
            ["rnu"],
            'Unknown command "rnu". Did you mean "run"? ... (cyberun-async --help shows what there is)',
        ),
        "an option": (
            ["run", "text-to-image", "--otu", "x"],
            "Unknown option: --otu. Did you mean --out? (cyberun-async run --help shows what there is)",
        ),
        "a port": (["serve", "--port", "99999"], "... --port. ... (cyberun-async serve --help shows what there is)"),
        "a workflow": (
            ["workflow", "text-to-imag"],
            "... 404: ... did you mean 'text-to-image'? (cyberun-async workflows lists what there is)",
        ),
        "a task": (["result", "t-1"], "... 404: ... (cyberun-async tasks lists what there is)"),
        "a parameter": (
            ["run", "text-to-image", "-p", "promp=dusk"],
            "'promp' is not a parameter of this workflow (did you mean 'prompt'?); 'prompt' is required",
        ),
        "a file": (["run", "text-to-image", "-P", "gone"], "-P gone cannot be read: No such file or directory"),
    }.values(),
)
def test_a_slip_names_what_helps(cyberun: Command, arguments: list[str], said: str):
    """A mistyped word is answered with one line that names the likely word, or the command that lists them."""
    shown = cyberun(*arguments)
    pattern = ".*".join(map(re.escape, said.split("...")))
    assert re.fullmatch(rf"cyberun-async: {pattern}\n", shown.err)


def test_no_key_names_every_way_to_give_one(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """Where there is no key, the message has the variable, the option, and what works without."""
    monkeypatch.delenv("CYBERUN_API_KEY")
    shown = cyberun("tasks")
    assert (shown.code, shown.err) == (
        2,
        (
            "cyberun-async: there is no API key: run cyberun-async login, set CYBERUN_API_KEY, or name a file that holds "
            "it with --key-file "
            "(run, workflows and workflow need none with --local)\n"
        ),
    )
