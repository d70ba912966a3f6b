"""What must hold before a change is taken: `nox` runs it all, `nox -s lint` a part of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
# `tests` comes late because what it prints last is what one looks for first.
nox.options.sessions = ["lint", "typing", "docs", "tests", "coverage"]
# Whoever has one Python can run all of this; `coverage` sees to it that at least one did.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
EVERYTHING = ".[cli,http2,local,notebook,otel,testing]"

CORE_IS_NOT = "*/cyberun_async/cli/*,*/cyberun_async/local/*"
"""What the floor of the core leaves out: programs around the SDK, with a floor of their own."""
FLOOR_OF_THE_REST = 90


def is_found(python: str) -> bool:
    """Whether there is such a Python; a version manager may have a command for one that it hides."""
    try:
        return subprocess.run([f"python{python}", "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


FOUND = [python for python in PYTHONS if is_found(python)]

CORE = [f"tests/{folder}" for folder in ("events", "protocol", "resources", "transport", "waiting")]
"""What is tested on a Python between the oldest and the newest: there, too, loops and connections may differ."""

QUICK = "not benchmark and not slow"

# Tests wait as long as they compute, so two workers for each core. The longest of the slow tests is among the first
# by name, and must not be left for the end. Workers have to find the same tests, and some of those stand in sets.
SPREAD = ["-n", str(2 * (os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]


def group(name: str) -> list[str]:
    return nox.project.dependency_groups(PYPROJECT, name)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling and layers."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("lint-imports")


@nox.session
def typing(session: nox.Session) -> None:
    """The package inside, and the types that it shows to its users."""
    session.install(EVERYTHING, *group("typing"))
    session.run("mypy")
    session.run("mypy", "tests/typing/api.py")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "cyberun_async", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """The site, without a warning and without a dead link inside, and as a browser shows it (`-- serve` shows it)."""
    session.install(EVERYTHING, *group("docs"))
    # The one picture that is kept, since README.md shows it; it changes only where the program does.
    session.run("python", "docs/draw_terminal.py")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")
    session.run("python", "docs/check_links.py", "docs/_build/html")
    session.run("python", "docs/check_site.py", "docs/_build/html")
    if session.posargs == ["serve"]:
        session.run("python", "-m", "http.server", "--directory", "docs/_build/html")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests and every example of the documentation, against the installed package."""
    session.install(EVERYTHING, *group("tests"))
    # A script rather than `-m pytest`, which would put the checkout before the installed package.
    pytest = Path(session.bin, "pytest")
    if session.posargs:
        session.run(pytest, *session.posargs)
        return
    # What is slow, and what is covered, is about the work and not about the version: the first Python that is found
    # sees to that. To measure costs two thirds of the time, so that hardly a slow test is needed to cover anything.
    if session.python == FOUND[0]:
        commands = [["coverage", "run", pytest, "-m", f"{QUICK} or covering"], [pytest, "-m", "slow and not covering"]]
    else:
        commands = [[pytest, "-m", QUICK, *(CORE if session.python != FOUND[-1] else [])]]
    for command in commands:
        try:
            session.run(*command, *SPREAD, env={"PYTHONHASHSEED": "0"})
        except CommandFailed:
            # Real servers, browsers and kills share the machine with whatever else runs on it: what fails has a second
            # try, alone, and what fails twice is broken.
            session.run(*command, "--last-failed", "--last-failed-no-failures", "none")


@nox.session(venv_backend="uv")
def tests_lowest(session: nox.Session) -> None:
    """The tests with the oldest releases that pyproject.toml promises to work with."""
    session.install(EVERYTHING, *group("tests"), "--resolution", "lowest-direct")
    session.run("pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Every line and branch of the core has been run by a test."""
    session.install(*(each for each in group("tests") if each.startswith("coverage")))
    session.run("coverage", "combine")
    session.run("coverage", "report", f"--omit={CORE_IS_NOT}")
    session.run("coverage", "report", f"--include={CORE_IS_NOT}", f"--fail-under={FLOOR_OF_THE_REST}")


@nox.session
def soak(session: nox.Session) -> None:
    """The sweeps in full (`-- --seed N` runs those of an earlier soak again); they take as long as they take."""
    session.install(EVERYTHING, *group("tests"))
    arguments = list(session.posargs)
    seed = str(int.from_bytes(os.urandom(4), "big"))
    if "--seed" in arguments:
        at = arguments.index("--seed")
        seed = arguments[at + 1]
        del arguments[at : at + 2]
    session.log(f"seed {seed}")
    session.run(Path(session.bin, "pytest"), "-m", "soak", *arguments, env={"SOAK_SEED": seed, "PYTHONHASHSEED": "0"})
    session.log(f"seed {seed}")


@nox.session
def bench(session: nox.Session) -> None:
    """The measurements of tests/benchmarks (`-- --record` writes docs/performance.md); they want an idle machine."""
    session.install(EVERYTHING, *group("bench"))
    session.run("pytest", "tests/benchmarks", "-m", "benchmark", *session.posargs)
