"""`upload`, `completion`, and the tasks with their workflows."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.tables import table

from cyberun_async.cli import main
from cyberun_async.local import LocalCyberun

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Outcome

    Command = Callable[..., Outcome]


def test_upload(cyberun: Command, server: LocalCyberun, tmp_path: Path):
    """It prints the key, which `-p image=` takes."""
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    key = cyberun("upload", "cat.png").out.strip()
    stored = server.storage.find(key)
    assert stored is not None
    assert stored.data == b"\x89PNG\r\n\x1a\n"
    assert cyberun("submit", "img2img", "-p", f"image={key}").code == 0


def test_upload_as_json(cyberun: Command, tmp_path: Path):
    """A program has the key with the file's path and size; the type is the one that is given."""
    (tmp_path / "notes").write_text("hello")
    (line,) = cyberun("upload", "notes", "--content-type", "text/markdown", "--json").lines
    assert (line["type"], line["path"], line["size"]) == ("upload", "notes", 5)
    assert "dGV4dC9tYXJrZG93bg==" in line["file_key"]


@pytest.mark.parametrize("name", ["gone.png", "."])
def test_upload_of_no_file(cyberun: Command, name: str):
    """What is no file is named."""
    shown = cyberun("upload", name)
    assert (shown.code, shown.err) == (2, f"cyberun-async: there is no file {name}\n")


def test_tasks_name_their_workflow(cyberun: Command, server: LocalCyberun):
    """Each task is listed with the slug of its workflow, and in JSON, too."""
    task_id = cyberun("submit", "text-to-image", "-p", "prompt=x").out.strip()
    rows = {row[0]: row for row in (line.split("\t") for line in cyberun("tasks").out.splitlines())}
    assert rows[task_id][3] == "text-to-image"
    assert {len(row) for row in rows.values()} == {5}
    lines = {line["task_id"]: line for line in cyberun("tasks", "--json").lines}
    assert lines[task_id]["workflow"] == "text-to-image"


def test_tasks_without_the_list_of_workflows(cyberun: Command, server: LocalCyberun):
    """A key that may not list workflows lists its tasks all the same, with the ids."""
    task_id = cyberun("submit", "text-to-image", "-p", "prompt=x").out.strip()
    server.faults.status(403, on="workflows.list")
    rows = {row[0]: row for row in (line.split("\t") for line in cyberun("tasks").out.splitlines())}
    assert len(rows[task_id][3]) == 36


@functools.cache
def completion(*arguments: str) -> str:
    """Give what the command prints, for which it assembles all others."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["completion", *arguments]) == 0
    return printed.getvalue()


@table("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str):
    """The script for each shell knows every command and its options."""
    script = completion(shell)
    assert all(word in script for word in ("submit", "conformance", "max-in-flight", "profile"))


def test_completion_as_json():
    """A program has the script as text."""
    line = json.loads(completion("fish", "--json"))
    assert (line["type"], line["shell"], "conformance" in line["script"]) == ("completion", "fish", True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash: apt-get install bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["sub"], {"submit"}, id="a command"),
        pytest.param(["wor"], {"workflow", "workflows"}, id="two commands"),
        pytest.param(["tasks", "--lim"], {"--limit"}, id="an option"),
    ],
)
def test_completion_in_bash(tmp_path: Path, words: list[str], expected: set[str]):
    """Bash completes commands and options by the script."""
    (tmp_path / "completion.bash").write_text(completion("bash"))
    line = " ".join(["cyberun-async", *words])
    program = f"""
        source completion.bash
        COMP_WORDS=({line}) COMP_CWORD={len(words)} COMP_LINE='{line}' COMP_POINT={len(line)}
        $(complete -p cyberun-async | sed 's/.*-F \\([^ ]*\\).*/\\1/') cyberun-async {words[-1]} ''
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected, done.stderr


def test_an_unknown_shell(cyberun: Command):
    """A shell that there is no script for is named with those that there are."""
    shown = cyberun("completion", "tcsh")
    assert shown.code == 2
    assert "bash" in shown.err
