"""What holds for every measurement: nothing watches it, and its rows end up in one table.

`nox -s bench` runs them, `nox -s bench -- --record` also writes the table into docs/performance.md. A goal that is missed
fails nothing: a measurement fails only when it cannot be taken.
"""

from __future__ import annotations

import inspect
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.harness import Row, Table, running

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
LIBRARIES = (
    "httpx httpcore httpx-sse anyio attrs cattrs aiohttp comfy-sdk fal-client replicate runwayml openai".split()  # noqa: SIM905
)
MINUTES = 5
ROWS = pytest.StashKey[list[Row]]()
LOAD = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the table of a run be kept."""
    parser.addoption("--record", action="store_true", help="write the table into docs/performance.md")


def pytest_configure(config: pytest.Config) -> None:
    """Start with no rows."""
    config.stash[ROWS] = []
    config.stash[LOAD] = os.getloadavg()[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is below this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.benchmark)
            item.add_marker(pytest.mark.timeout(MINUTES * 60))
            # The peers' own warnings are not ours to mend.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(autouse=True, scope="session")
def _nothing_blocks_the_loop() -> None:
    """Leave out the watch of tests/conftest.py, which costs time."""


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> None:
    """Likewise; the bare parts that we are compared with leave a lot behind."""


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """Take the rows of one module."""
    title = inspect.getdoc(request.module).partition("\n")[0].rstrip(".")
    return Table(title, request.config.stash[ROWS])


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Run the fast server in a process of its own, and give its base URL."""
    with running("server") as base_url:
        yield base_url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, and keep it if that was asked for."""
    rows = config.stash[ROWS]
    if not rows:
        return
    text = f"{_state()} {_run_on()}\n{_load(config.stash[LOAD])}\n\n{_tables(rows)}"
    terminalreporter.write_sep("=", "the figures")
    terminalreporter.write_line(text)
    if config.getoption("--record", default=False):
        page = PAGE.read_text()
        PAGE.write_text(re.sub(r"(?s)(?<=<!-- figures -->\n).*(?=<!-- end -->)", lambda _: f"\n{text}\n", page))


def _run_on() -> str:
    """Say in general words what the run was made on."""
    libraries = ", ".join(f"{name} {release}" for name in LIBRARIES if (release := _version(name)))
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} ({platform.machine()}), "
        f"{os.cpu_count()} shared cores, everything over loopback; {libraries}."
    )


def _state() -> str:
    """Say which state of the code was measured: the version, and the commit where there is one."""
    describe = ["git", "-C", str(PAGE.parent), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(describe, check=False, capture_output=True, text=True)
    commit = f", commit `{done.stdout.strip()}`" if done.returncode == 0 else ""
    return f"Measured: version {_version('cyberun-async')}{commit}."


def _load(before: float) -> str:
    """Say whether other programs ran; the measurements themselves keep one or two processes busy."""
    return (
        f"Average load of the machine's last minute: {before:.1f} before the run, {os.getloadavg()[0]:.1f} at its end."
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _tables(rows: list[Row]) -> str:
    """Write the rows as Markdown, one table for each section."""
    return "\n".join(
        f"### {section}\n\n"
        "| measure | cyberun-async | goal | | others | what it is made of |\n|---|---|---|---|---|---|\n"
        + "".join(
            f"| {row.measure} | {row.ours} | {row.goal or ''} | {row.verdict} | {row.others} | {row.figures} |\n"
            for row in those
        )
        for section, those in groupby(rows, key=lambda row: row.section)
    )
