"""The commands that the documentation gives to try the bots."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.web import EXAMPLES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["telegram", "discord"])
def test_it_starts_with_one_command(name: str, tmp_path: Path) -> None:
    """A person types a command, sees how far it is, has the picture, and leaves with Ctrl-C while another is painted."""
    command = [sys.executable, str(EXAMPLES / "bots" / f"{name}_local.py"), "--pace", "0.2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen = [process.stdout.readline()]
        print("hello", file=process.stdin, flush=True)
        assert process.stdout.readline() == seen[0]
        print("/imagine a lighthouse", file=process.stdin, flush=True)
        while "✅ Done" not in seen[-1]:
            seen.append(process.stdout.readline())
            assert seen[-1], process.communicate()[1]
        print("/imagine a harbour", file=process.stdin, flush=True)
        while not seen[-1].startswith(("[3] ⏳", "[3] ▰", "[3] ▱")):
            seen.append(process.stdout.readline())
            assert seen[-1], process.communicate()[1]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()

    (picture,) = tmp_path.iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert seen[1] == "[1] ✏️ Asking …\n"
    assert f"[2] 🖼  {picture.name}\n" in seen
    assert (process.returncode, "Traceback" in errors) == (0, False)
    assert "the bot leaves orders unfinished, and takes them up again when it is started: 1" in errors
    assert rest.endswith("[3] ⏸ I am away for a moment. Your picture goes on without me.\n")
