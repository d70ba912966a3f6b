"""Run every example of README.md and docs/*.md against a local Cyberun.

What an example is, and how one that cannot be run is marked, is written in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from sybil import Sybil
from sybil.evaluators.python import pad
from sybil.example import SybilFailure
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import CodeBlockParser, SkipParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil import Example

    from cyberun_async.local import LocalCyberun

RUNNABLE = (
    "cyberun-async ",
    "KEY=$(cyberun-async ",
    "CYBERUN_LOG=debug cyberun-async ",
    "python -m cyberun_async ",
    "cat ",
    "ls ",
)
"""The commands that an example may give; all others have to be marked as skipped."""

SHELL = re.compile(r"[$<>|&;`]")
"""What only a shell understands."""

RESULT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_python(example: Example) -> None:
    """Run a block: a whole program as it is, a fragment with `await` inside an open `client`."""
    source = pad(example.parsed, example.line + example.parsed.line_offset)
    code = compile(source, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    namespace = example.namespace
    namespace["__name__"] = "__main__"
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, namespace)  # noqa: S102 - that is what examples are for
        return

    async def with_client() -> None:
        from cyberun_async import AsyncClient

        async with AsyncClient() as namespace["client"]:
            await eval(code, namespace)  # noqa: S307 - see above

    anyio.run(with_client)


def run_console(example: Example) -> None:
    """Run the commands of a block, and compare what they print where the block shows it."""
    last_code = 0
    blocks = re.split(r"^\$ ", re.sub(r"\\\n", " ", example.parsed), flags=re.MULTILINE)
    commands = [block.partition("\n")[::2] for block in blocks if block.strip()]
    for (command, shown), following in zip(commands, [*commands[1:], ("", "")], strict=True):
        if command == "echo $?":
            printed = f"{last_code}\n"
        # The package is installed already.
        elif wanted := re.sub(r"^pip install [^&]*(?:&& |$)", "", command):
            printed, last_code = _run(example, wanted)
            if last_code and following[0] != "echo $?":
                raise SybilFailure(example, f"$ {command}\n{printed}exit code {last_code}")
        if shown.strip() and not doctest.OutputChecker().check_output(shown, printed, RESULT):
            raise SybilFailure(example, f"$ {command}\nshown:\n{shown}\nprinted:\n{printed}")


def _run(example: Example, command: str) -> tuple[str, int]:
    if not command.startswith(RUNNABLE):
        problem = f"cannot be run here, mark it with <!-- skip: next -->: {command}"
        raise SybilFailure(example, problem)
    if command.startswith("cyberun-async ") and not SHELL.search(command):
        # As the installed script does it, which has a test of its own, and without half a second of imports.
        from cyberun_async.cli import main

        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            code = main(shlex.split(command)[1:])
        return printed.getvalue(), code
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(  # noqa: S602 - an example is written for a shell
        command,
        shell=True,
        executable=shutil.which("bash"),
        env=os.environ | {"PATH": os.pathsep.join((scripts, os.environ["PATH"]))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout, done.returncode


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Note what was skipped where `nox` asks for it, which says so at its end."""
    # Each worker of pytest-xdist has a reporter, too.
    if "SKIPPED" in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        skips = [report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])]
        with Path(os.environ["SKIPPED"]).open("a", encoding="utf-8") as file:
            file.writelines(f"{reason}\n" for reason in skips)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Begin the traceback of a failed example on its page.

    Sybil's own filter expects a frame of its own, and breaks off the whole run where there is
    none: a `ResourceWarning` that becomes an error when the example is over already.
    """
    if isinstance(item, SybilItem):
        item.add_marker(pytest.mark.slow)
        item._traceback_filter = lambda info: info.traceback.cut(path=item.path)


@pytest.fixture(scope="session")
def local_cyberun() -> Iterator[LocalCyberun]:
    """Offer one local Cyberun to all examples."""
    from cyberun_async.local import LocalCyberun

    with LocalCyberun() as server:
        yield server


@pytest.fixture(scope="session")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Keep one directory for each page, so that an example finds what the one before it made."""

    class Directories(dict[Path, Path]):
        def __missing__(self, page: Path) -> Path:
            self[page] = tmp_path_factory.mktemp(page.stem)
            return self[page]

    return Directories()


@pytest.fixture
def as_a_user(
    request: pytest.FixtureRequest,
    local_cyberun: LocalCyberun,
    directories: dict[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stand where a reader stands: in a directory of their own, with their account at hand."""
    monkeypatch.chdir(directories[request.path])
    monkeypatch.setenv("CYBERUN_BASE_URL", local_cyberun.base_url)
    monkeypatch.setenv("CYBERUN_API_KEY", local_cyberun.api_key)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser("python", run_python),
        CodeBlockParser("console", run_console),
        SkipParser(),
    ],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    excludes=["docs/_build/**"],
    fixtures=["as_a_user"],
).pytest()
