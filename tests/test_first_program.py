"""The program that the tutorial ends with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cyberun_async.local import LocalCyberun

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[1] / "docs" / "examples" / "first_picture.py"


def run(server: LocalCyberun, directory: Path, key: str) -> subprocess.CompletedProcess[str]:
    """Run it as a reader does."""
    return subprocess.run(
        [sys.executable, PROGRAM, "a", "harbour"],
        cwd=directory,
        env=os.environ | {"CYBERUN_BASE_URL": server.base_url, "CYBERUN_API_KEY": key, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_it_draws_a_picture(tmp_path: Path) -> None:
    """It tells how far the task is, and puts a picture where it says."""
    with LocalCyberun() as server:
        done = run(server, tmp_path, server.api_key)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "step 20 of 20" in done.stdout
    assert (tmp_path / lines[-1]).read_bytes().startswith(b"\x89PNG")


def test_it_says_what_is_wrong(tmp_path: Path) -> None:
    """A key that is wrong is one line, without a traceback."""
    with LocalCyberun() as server:
        done = run(server, tmp_path, "sk-0123456789abcdef")

    assert done.returncode == 1
    assert done.stderr.startswith("AuthenticationError: ")
    assert len(done.stderr.splitlines()) == 1
