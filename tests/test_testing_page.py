"""The tests of docs/testing.md, as a user would copy them, under each async plugin."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"

SETTINGS = {
    "anyio": ("anyio", "anyio_mode = auto"),
    "pytest_asyncio": ("pytest_asyncio.plugin", "asyncio_mode = auto"),
    "pytest_trio": ("pytest_trio.plugin", "trio_mode = true"),
}
"""What the page says to set for each; anyio's plugin is there always, since anyio is."""


def page_as_module() -> str:
    """Give the page's blocks of tests as one module."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return "import pytest\n\n" + "\n\n".join(block for block in blocks if "def test_" in block)


@pytest.mark.slow
@pytest.mark.parametrize("plugin", SETTINGS)
def test_the_tests_to_copy_pass(tmp_path: Path, plugin: str) -> None:
    """Each test of the page passes as it stands, without marks, with the settings that the page gives."""
    if find_spec(plugin) is None:
        pytest.skip(f"needs {plugin}: pip install --group tests")
    module, setting = SETTINGS[plugin]
    assert f"`{setting}`" in PAGE.read_text()
    (tmp_path / "test_page.py").write_text(page_as_module())
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{setting}\n")
    options = [option for name in dict.fromkeys(["anyio", module, "cyberun_async.testing"]) for option in ("-p", name)]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"] if plugin == "pytest_asyncio" else []
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options],
        cwd=tmp_path,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    # anyio's plugin runs each async test on asyncio and on trio.
    tests = re.findall(r"^(async )?def test_", page_as_module(), re.MULTILINE)
    expected = sum(2 if plugin == "anyio" and is_async else 1 for is_async in tests)
    assert f"{expected} passed" in run.stdout, run.stdout + run.stderr
