"""Broken outputs: the id of a paid task is somewhere, and the exit code says what happened."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Outcome
    from cyberun_async.local import LocalCyberun

    Cyberun = Callable[..., Outcome]

TASK = ("text-to-image", "-p", "prompt=dusk", "-p", "width=64", "-p", "height=64")


class Full(io.StringIO):
    """An output that takes nothing."""

    def __init__(self, number: int = errno.ENOSPC) -> None:
        super().__init__()
        self.number = number

    def write(self, _: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("arguments", [("submit", *TASK), ("submit", *TASK, "--json"), ("run", *TASK, "--json")])
@pytest.mark.parametrize(
    "stdout",
    [
        pytest.param(Full(), id="full"),
        pytest.param(Full(errno.EPIPE), id="without a reader"),
        pytest.param(None, id="closed"),
    ],
)
def test_stdout(
    arguments: tuple[str, ...],
    stdout: Full | None,
    cyberun: Cyberun,
    server: LocalCyberun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where stdout takes nothing, the id is on stderr."""
    code = 141 if stdout is not None and stdout.number == errno.EPIPE else 1
    monkeypatch.setattr(sys, "stdout", stdout)
    done = cyberun(*arguments)
    [*_, task_id] = [each.task_id for each in server.requests if each.operation == "workflows.run"]
    assert done.code == code
    assert f"text-to-image: task {task_id}\n" in done.err
    assert ("the output cannot be written" in done.err) == (code == 1)


@pytest.mark.parametrize("stderr", [Full(), None], ids=["full", "closed"])
def test_stderr(
    stderr: io.StringIO | None, cyberun: Cyberun, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where stderr takes nothing, the id is on stdout, and the command goes on."""
    monkeypatch.setattr(sys, "stderr", stderr)
    done = cyberun("run", *TASK, "--out", "out")
    [*_, task_id] = [each.task_id for each in server.requests if each.operation == "workflows.run"]
    assert (done.code, done.out) == (0, f"{task_id}\nout/output_00001_.png\n")


def test_neither(cyberun: Cyberun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither takes anything, there is still an exit code."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert cyberun("submit", *TASK).code == 1
    assert cyberun("submit", "nosuch").code == 1


def test_buffered(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """What is only found out when the rest of the output is written counts, too."""

    class Late(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Late())
    assert main(["--version"]) == 1
    assert capfd.readouterr().err == "cyberun-async: the output cannot be written: No space left on device\n"


@pytest.mark.slow
def test_of_the_system(server: LocalCyberun, tmp_path: Path) -> None:
    """So it is where a shell closes or fills the outputs, and Python says nothing of its own on its way out."""
    environment = os.environ | {"CYBERUN_BASE_URL": server.base_url, "CYBERUN_API_KEY": server.api_key}

    def start(redirection: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", f'exec "$0" -m cyberun_async "$@" {redirection}', sys.executable, *arguments],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    programs = [
        start(">/dev/full", "submit", *TASK),
        start(">&-", "submit", *TASK),
        start("2>&-", "submit", *TASK),
    ]
    full, closed, mute = [(*program.communicate(timeout=60), program.returncode) for program in programs]
    ids = {each.task_id for each in server.requests if each.operation == "workflows.run"}
    for out, err, code in (full, closed):
        first, second = err.splitlines()
        assert (out, code) == ("", 1)
        assert first.removeprefix("text-to-image: task ") in ids
        assert second.startswith("cyberun-async: the output cannot be written: ")
    assert (mute[0].strip() in ids, mute[2]) == (True, 0)
