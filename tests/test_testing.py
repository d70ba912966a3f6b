"""The pytest plugin, as users' own test runs load it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

USERS_TESTS = """
import pytest


async def submits_and_waits(client):
    result = await client.run("text-to-image", {"prompt": "a lighthouse at dusk"})
    assert result.files[0].name.endswith(".png")


MARK


async def test_runs_a_task(cyberun, cyberun_client):
    await submits_and_waits(cyberun_client)
    assert cyberun.requests[-1].path.endswith("/result")


def test_needs_no_loop(cyberun):
    assert not cyberun.requests
"""


@pytest.mark.parametrize(
    ("plugin", "runs"),
    [("anyio", 3), ("pytest_asyncio", 2), ("pytest_trio", 2)],
)
def test_serves_each_async_plugin(tmp_path: Path, plugin: str, runs: int) -> None:
    """A user's tests get a server and an open client under anyio's plugin, pytest-asyncio and pytest-trio."""
    if find_spec(plugin) is None:
        pytest.skip(f"needs {plugin}: pip install --group tests")
    mark = {"anyio": "anyio", "pytest_asyncio": "asyncio", "pytest_trio": "trio"}[plugin]
    (tmp_path / "test_users.py").write_text(USERS_TESTS.replace("MARK", f"@pytest.mark.{mark}"))
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    plugins = ["anyio", "cyberun_async.testing"]
    plugins += {"pytest_asyncio": ["pytest_asyncio.plugin"], "pytest_trio": ["pytest_trio.plugin"]}.get(plugin, [])
    options = [option for name in plugins for option in ("-p", name)]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"] if plugin == "pytest_asyncio" else []
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{runs} passed" in run.stdout, run.stdout + run.stderr
