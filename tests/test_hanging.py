"""A test that hangs fails, by its name, and ends no run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

HANGING = """
import time

import anyio
import pytest

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

async def test_waits(anyio_backend):
    await anyio.Event().wait()

# These two hold the loop while they sleep: it turns no less for that, and takes no processor.
async def test_turns(anyio_backend):
    while True:
        time.sleep(0.01)
        await anyio.lowlevel.checkpoint()

async def test_takes_no_end(anyio_backend):
    while True:
        try:
            time.sleep(0.01)
            await anyio.lowlevel.checkpoint()
        except BaseException:
            pass

async def test_is_fine(anyio_backend):
    pass
"""


@pytest.mark.slow
def test_each_kind_of_hanging(tmp_path: Path) -> None:
    """What waits for nothing, and what turns for ever, whether or not it can be interrupted."""
    shutil.copy(HERE / "conftest.py", tmp_path)
    (tmp_path / "test_hanging.py").write_text(HANGING)
    config = ["-c", str(HERE.parent / "pyproject.toml"), "--rootdir", str(tmp_path), "-o", f"pythonpath={HERE}"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *config,
        "-p",
        "no:cacheprovider",
        "-n",
        "1",
        "--timeout",
        "2",
        str(tmp_path),
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    told = [line.partition(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    hanging = {line.rpartition("::")[2].partition("[")[0] for line in told}
    assert hanging == {"test_waits", "test_turns", "test_takes_no_end"}, done.stdout
    assert "1 passed" in done.stdout
