"""What every test of the command line needs: a local Cyberun, and a way to run a command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cyberun_async.cli import main
from cyberun_async.local import LocalCyberun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.forking import ForkServer


class Outcome(NamedTuple):
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The objects that `--json` wrote."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="session")
def server() -> Iterator[LocalCyberun]:
    """Offer one local Cyberun, whose tasks take milliseconds, to all commands."""
    with LocalCyberun(pace=0.001) as local:
        yield local


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Have imported what commands need."""
    from support.forking import ForkServer  # There is none on Windows.

    with ForkServer("cyberun_async.cli._main", "cyberun_async.local") as forks:
        yield forks


@pytest.fixture
def held() -> Iterator[LocalCyberun]:
    """Offer a local Cyberun whose clock the test moves."""
    with LocalCyberun(clock="held") as local:
        yield local


@pytest.fixture
def cyberun(
    server: LocalCyberun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """Run a command in an empty folder, with the account of `server` in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CYBERUN_BASE_URL", server.base_url)
    monkeypatch.setenv("CYBERUN_API_KEY", server.api_key)

    def run(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = main(arguments)
        return Outcome(code, *capfd.readouterr())

    return run
