"""How the command is started, and what it says where a part of it is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cyberun_async
from cyberun_async.local import LocalCyberun, LocalWorkflow

pytestmark = pytest.mark.slow

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from cyberun_async.cli import main
sys.exit(main())
"""


def start(*command: str) -> subprocess.CompletedProcess[str]:
    """Start Python as a user would."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, timeout=15)


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        (["cyclopts"], ["--help"], "cli"),
        (["rich"], ["--help"], "cli"),
        (["starlette"], ["workflows", "--local"], "local"),
        (["uvicorn"], ["serve"], "local"),
        (["PIL"], ["run", "text-to-image", "--local"], "local"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_missing_extra_is_one_line_that_says_what_to_install(missing: list[str], arguments: list[str], extra: str):
    """No traceback, and the exit code of a mistake in use."""
    done = start("-c", WITHOUT.format(missing=missing), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        f" needs the extra {extra!r}: pip install '.[{extra}]' in a checkout of cyberun-async\n"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.covering  # Nothing else runs `python -m cyberun_async`.
@pytest.mark.parametrize(
    "command",
    [["-m", "cyberun_async"], [str(Path(sys.executable).with_name("cyberun-async"))]],
    ids=["module", "script"],
)
def test_it_starts_as_a_module_and_as_a_script(command: list[str]):
    """Both are the same program."""
    is_module = command[0] == "-m"
    done = (
        start(*command, "--version")
        if is_module
        else subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=15)
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0.1.0")


def test_a_pipe_without_unicode_gets_what_it_can_take(monkeypatch: pytest.MonkeyPatch):
    """A letter that cannot be written costs itself, and not the command."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    monkeypatch.setenv("PYTHONUTF8", "0")
    with LocalCyberun(demos=False) as server:
        server.add_workflow(LocalWorkflow("town", description="Zürich"))
        monkeypatch.setenv("CYBERUN_BASE_URL", server.base_url)
        monkeypatch.setenv("CYBERUN_API_KEY", server.api_key)
        done = start("-m", "cyberun_async", "workflows")
    assert (done.returncode, done.stdout) == (0, "town\t1\tactive\tZ\\xfcrich\n")


def test_the_local_server_names_its_extra():
    """`import cyberun_async.local` says which extra is missing, and so do the fixtures, which import it."""
    program = (
        WITHOUT.format(missing=["starlette"]).partition("from cyberun_async.cli")[0] + "import cyberun_async.local"
    )
    done = start("-c", program)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: cyberun_async.local needs the extra 'local': pip install '.[local]' in a checkout of cyberun-async"
    )


@pytest.fixture(scope="module")
def loading() -> list[str]:
    """Import the SDK, ask for the help, and say after each what is loaded; what the help shows comes in between."""
    program = """
import sys, cyberun_async
print("cyclopts" in sys.modules)
from cyberun_async.cli import main
main(["--help"])
print("uvicorn" in sys.modules)
"""
    return start("-c", program).stdout.splitlines()


def test_help_names_every_command(loading: list[str]):
    """Whoever types --help sees what there is."""
    shown = "\n".join(loading)
    commands = "run submit wait events result download cancel tasks workflows workflow serve"
    assert [command for command in commands.split() if f" {command} " not in shown] == []


def test_help_does_not_load_the_local_cyberun(loading: list[str]):
    """What a command does not need, it does not wait for."""
    assert loading[-1] == "False"


def test_the_sdk_does_not_load_the_command_line(loading: list[str]):
    """The extra stays one."""
    assert loading[0] == "False"
    assert "cli" not in cyberun_async.__all__
