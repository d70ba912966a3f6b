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


def test_has_a_client_without_a_loop(cyberun_client):
    assert not cyberun_client.is_closed


@FIXTURE
async def finished(cyberun_client):
    task_id = await cyberun_client.submit("text-to-image", {"prompt": "a lake"})
    yield task_id
    result = await cyberun_client.wait_for_result(task_id)
    assert result.status == "completed"
    torn_down.append(cyberun_client)


torn_down = []


MARK


async def test_other_fixtures_use_the_client_to_the_end(finished, cyberun_client):
    assert (await cyberun_client.tasks.get(finished)).id == finished


def test_then_it_was_closed():
    assert torn_down
    assert all(client.is_closed for client in torn_down)
"""


IN_ONE_LOOP = """
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_one(cyberun_client):
    await cyberun_client.ping()


async def test_other(cyberun_client):
    await cyberun_client.ping()
"""


@pytest.mark.slow
@pytest.mark.covering
@pytest.mark.parametrize(
    ("plugin", "runs"),
    [("anyio", 7), ("pytest_asyncio", 5 + 2), ("pytest_trio", 5)],
)
def test_serves_each_async_plugin(tmp_path: Path, plugin: str, runs: int) -> None:
    """A user's tests get a server and an open client under anyio's plugin, pytest-asyncio and pytest-trio.

    Where pytest-asyncio runs tests in the loop of their module, the client lives there, too.
    """
    if find_spec(plugin) is None:
        pytest.skip(f"needs {plugin}: pip install --group tests")
    mark = {"anyio": "anyio", "pytest_asyncio": "asyncio", "pytest_trio": "trio"}[plugin]
    # pytest-asyncio runs in its strict mode here, in which it takes no other fixture of a user's than its own.
    fixture = "__import__('pytest_asyncio').fixture" if plugin == "pytest_asyncio" else "pytest.fixture"
    tests = USERS_TESTS.replace("MARK", f"@pytest.mark.{mark}").replace("FIXTURE", fixture)
    (tmp_path / "test_users.py").write_text(tests)
    if plugin == "pytest_asyncio":
        (tmp_path / "test_in_one_loop.py").write_text(IN_ONE_LOOP)
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
