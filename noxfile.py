"""What must hold before a change is taken: `nox` runs it all, `nox -s lint` a part of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
if len(sys.argv) == 1:
    # One session for each core; `coverage` and `skipped` wait for the others. A session that is asked for by its name is
    # run as usual, and shows what it prints while it prints it.
    nox.options.parallel = "auto"
# Whoever has one Python can run all of this; `coverage` sees to it that at least one did.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

# Images of containers tend to set it, for what runs once. Tests start programs by the hundred, each of which would compile
# all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

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

# The two longest start together, and what takes longest after them comes first.
nox.options.sessions = [
    "unmeasured",
    *(f"tests-{python}" for python in FOUND[-1:]),
    "docs",
    *(f"tests-{python}" for python in PYTHONS if python not in FOUND[-1:]),
    "typing",
    "lint",
    "coverage",
    "skipped",
]

BETWEEN = [
    "tests/test_guarantees.py",
    "tests/transport/test_cancel_safe.py",
    "tests/transport/test_cancellation.py",
    "tests/transport/test_loop.py",
    "tests/wait/test_cancelling.py",
    "tests/wait/test_race.py",
]
"""What is tested on a Python between the oldest and the newest: there, too, loops and cancellation may differ."""

QUICK = "not benchmark and not slow and not soak"
"""What needs no second, and is no sample of a sweep."""

MEASURED = f"covering or {QUICK} and not second_loop"
"""What covers the package. A test costs twice as much where it is measured."""

CORES = os.cpu_count() or 1

# A module stays with one worker, which then makes what its tests share once.
SPREAD = ["-n", str(CORES), "--dist", "loadfile"]

SKIPPED = Path(".nox", "skipped")
"""One file for each session, with a line for each skip: what was skipped, and why."""


def group(name: str) -> list[str]:
    return nox.project.dependency_groups(PYPROJECT, name)


def note_skips(session: nox.Session) -> dict[str, str]:
    """Forget what an earlier run of the session has skipped, and give the variable that says where to note it now."""
    SKIPPED.mkdir(parents=True, exist_ok=True)
    path = SKIPPED.resolve() / session.name
    path.unlink(missing_ok=True)
    return {"SKIPPED": str(path)}


def check_style(session: nox.Session) -> None:
    """Check style, spelling and layers, in about a second."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("lint-imports")


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Style, spelling and layers."""
    session.install(*group("lint"))
    check_style(session)


@nox.session
def quick(session: nox.Session) -> None:
    """What one runs before each commit: lint, and the tests of one Python that need no second."""
    session.install("-e", EVERYTHING, *group("lint"), *group("tests"))
    check_style(session)
    # Nothing runs beside it, and some tests wait: one worker more than there are cores.
    session.run("pytest", "-q", "-m", QUICK, *SPREAD, "-n", str(CORES + 1), *session.posargs)


@nox.session(allow_parallel=True)
def typing(session: nox.Session) -> None:
    """The package inside, and the types that it shows to its users."""
    session.install(EVERYTHING, *group("typing"))
    session.run("mypy")
    session.run("mypy", "tests/typing/api.py")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "cyberun_async", "--ignoreexternal")


@nox.session(allow_parallel=True)
def docs(session: nox.Session) -> None:
    """The site, without a warning and without a dead link inside, and as a browser shows it (`-- serve` shows it)."""
    session.install(EVERYTHING, *group("docs"))
    # The one picture that is kept, since README.md shows it; it changes only where the program does.
    session.run("python", "docs/draw_terminal.py")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")
    session.run("python", "docs/check_links.py", "docs/_build/html")
    session.run("python", "docs/check_site.py", "docs/_build/html", env=note_skips(session))
    if session.posargs == ["serve"]:
        session.run("python", "-m", "http.server", "--directory", "docs/_build/html")


@nox.session(python=PYTHONS, allow_parallel=True)
def tests(session: nox.Session) -> None:
    """The tests and every example of the documentation, against the installed package."""
    session.install(EVERYTHING, *group("tests"))
    # A script rather than `-m pytest`, which would put the checkout before the installed package.
    pytest = Path(session.bin, "pytest")
    if session.posargs:
        session.run(pytest, *session.posargs)
        return
    # What is covered is about the work and not about the version: it is measured on the newest Python that is found.
    if session.python == FOUND[-1]:
        command = ["coverage", "run", pytest, "-m", MEASURED]
    else:
        # asyncio comes with each Python; trio is the same on all.
        command = [pytest, "-m", f"{QUICK} and not second_loop", *(BETWEEN if session.python != FOUND[0] else [])]
    session.run(*command, *SPREAD, env=note_skips(session))


@nox.session(python=FOUND[-1:] or None, allow_parallel=True)
def unmeasured(session: nox.Session) -> None:
    """All that is left for the newest Python: tests that take seconds, samples of sweeps, and the second loop."""
    session.install(EVERYTHING, *group("tests"))
    pytest = Path(session.bin, "pytest")
    # In a new checkout each worker would compile all tests for itself.
    session.run(pytest, "--collect-only", "-qq", silent=True)
    # Many of the slow ones wait for other programs rather than for a core.
    left = f"not benchmark and not ({MEASURED})"
    session.run(pytest, "-m", left, *SPREAD, "-n", str(CORES + 1), env=note_skips(session))


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


@nox.session(venv_backend="none")
def skipped(session: nox.Session) -> None:
    """What was skipped, how often, and what to install for it."""
    for python in PYTHONS:
        if python not in FOUND:
            session.log(f"not tested on Python {python}: there is none; `uv python install {python}`")
    reasons = Counter(line for path in sorted(SKIPPED.glob("*")) for line in path.read_text().splitlines())
    for reason, count in reasons.most_common():
        session.log(f"skipped {count} times: {reason}")
    if not reasons:
        session.log("no test was skipped")


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
    session.run(Path(session.bin, "pytest"), "-m", "soak", *arguments, env={"SOAK_SEED": seed})
    session.log(f"seed {seed}")


@nox.session
def bench(session: nox.Session) -> None:
    """The measurements of tests/benchmarks (`-- --record` writes docs/performance.md); they want an idle machine."""
    session.install(EVERYTHING, *group("bench"))
    session.run("pytest", "tests/benchmarks", "-m", "benchmark", *session.posargs)
