"""SIGTERM: nothing more is submitted, what runs gets a few seconds, and the exit code is 143, for background jobs, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async import Outcome
from cyberun_async.cli import _batch, main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cyberun_async.local import LocalCyberun

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")

ITEM = {"prompt": "a lake", "width": 64, "height": 64}


def is_followed(server: LocalCyberun) -> bool:
    """Tell whether a task is followed, and nothing of the wait begins or ends in this turn of its loop.

    Up to Python 3.10 asyncio makes one of two cancellations that come in the same turn, and a Ctrl-C may be the other.
    """
    if not any(task.listeners for task in server._scheduler.tasks.values()):
        return False
    before = len(server.requests)
    time.sleep(0.1)
    return len(server.requests) == before


def submissions(server: LocalCyberun) -> int:
    return sum(each.operation == "workflows.run" for each in server.requests)


@pytest.fixture
def account(held: LocalCyberun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalCyberun:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CYBERUN_BASE_URL", held.base_url)
    monkeypatch.setenv("CYBERUN_API_KEY", held.api_key)
    return held


@pytest.fixture
def interrupt(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have SIGINT handled in one way, and afterwards as before."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    assert signal.getsignal(signal.SIGINT) == request.param
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    signal.signal(signal.SIGINT, before)


IN_EITHER_WAY = pytest.mark.parametrize(
    "interrupt", [signal.default_int_handler, signal.SIG_IGN], ids=["in front", "in the background"], indirect=True
)


def terminated_once(
    server: LocalCyberun, tasks: int, *numbers: int, when: Callable[[LocalCyberun], bool] = lambda _: True
) -> threading.Thread:
    """Send signals to this process once so many tasks were submitted, and something else holds."""

    def send() -> None:
        while submissions(server) < tasks or not when(server):
            time.sleep(0.005)
        for number in numbers:
            os.kill(os.getpid(), number)
            # Two that are pending are one.
            time.sleep(0.05)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@IN_EITHER_WAY
def test_run(account: LocalCyberun, interrupt: None, capfd: pytest.CaptureFixture[str]) -> None:
    """A task that is followed is left running, and the way back is shown."""
    thread = terminated_once(account, 1, signal.SIGTERM, when=is_followed)
    assert main(["run", "text-to-image", "-p", "prompt=dusk"]) == 143
    thread.join()
    assert "Resume with: cyberun-async wait " in capfd.readouterr().err


@IN_EITHER_WAY
@pytest.mark.parametrize("ends", [False, True])
def test_batch(
    ends: bool,
    account: LocalCyberun,
    interrupt: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch submits no more, gives what runs a moment, and writes down how far it is."""
    monkeypatch.setattr(_batch, "SHUTDOWN_GRACE", 5 if ends else 0.1)
    Path("items.jsonl").write_text("\n".join([json.dumps(ITEM)] * 6))
    thread = terminated_once(account, 2, signal.SIGTERM)
    if ends:
        finish = threading.Thread(target=lambda: (thread.join(), account.clock.advance_blocking(60)))
        finish.start()
    assert main(["batch", "text-to-image", "items.jsonl", "--out", "out", "--max-in-flight", "2"]) == 143
    thread.join()
    if ends:
        finish.join()
    captured = capfd.readouterr()
    done = 2 if ends else 0
    assert submissions(account) == 2
    assert captured.out.splitlines()[-1] == f"{done} done, 0 failed, 0 uncertain, {6 - done} left"
    assert "nothing more is submitted; tasks that do not end within" in captured.err
    assert json.loads(Path("out/summary.json").read_text())["left"] == 6 - done


@pytest.mark.parametrize("interrupt", [signal.SIG_IGN], ids=["in the background"], indirect=True)
def test_an_earlier_ctrl_c(account: LocalCyberun, interrupt: None, capfd: pytest.CaptureFixture[str]) -> None:
    """A Ctrl-C that was ignored before SIGTERM does not count for a second one, which would leave at once."""
    Path("items.jsonl").write_text("\n".join([json.dumps(ITEM)] * 6))

    def end() -> None:
        while submissions(account) < 2:
            time.sleep(0.005)
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        # The other threads of this process do not keep it away.
        signal.pthread_kill(main_thread, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        account.clock.advance_blocking(60)

    thread = threading.Thread(target=end)
    thread.start()
    assert main(["batch", "text-to-image", "items.jsonl", "--out", "out", "--max-in-flight", "2"]) == 143
    thread.join()
    assert capfd.readouterr().out.splitlines()[-1] == "2 done, 0 failed, 0 uncertain, 4 left"


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_ctrl_c(twice: bool, account: LocalCyberun, capfd: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C once sees through what runs and submits no more; twice leaves; and the same line goes on."""
    Path("items.jsonl").write_text("\n".join([json.dumps(ITEM)] * 6))
    command = ["batch", "text-to-image", "items.jsonl", "--out", "out", "--max-in-flight", "2"]
    thread = terminated_once(account, 2, *[signal.SIGINT] * (2 if twice else 1))
    finish = threading.Thread(target=lambda: (thread.join(), twice or account.clock.advance_blocking(60)))
    finish.start()
    assert main(command) == 130
    finish.join()
    captured = capfd.readouterr()
    assert submissions(account) == 2
    assert "Ctrl-C again leaves them running" in captured.err
    assert captured.out.splitlines()[-1] == f"{0 if twice else 2} done, 0 failed, 0 uncertain, {6 if twice else 4} left"
    assert ("the same command resumes the batch" in captured.err) == twice

    is_over = threading.Event()

    def advance() -> None:
        while not is_over.wait(0.01):
            account.clock.advance_blocking(10)

    clock = threading.Thread(target=advance)
    clock.start()
    assert main(command) == 0
    is_over.set()
    clock.join()
    assert capfd.readouterr().out == "6 done, 0 failed, 0 uncertain, 0 left\n"
    assert submissions(account) == 6


def test_no_estimate_after_ctrl_c() -> None:
    """Once the batch was stopped, there is no telling how long it would have taken."""
    tally = _batch.Tally(10, as_json=False)
    tally.ended(Outcome(index=0, key="0", parameters={}), None)
    assert "left" in str(tally._line())
    tally.was_stopped = True
    assert "left" not in str(tally._line())


@pytest.mark.slow
def test_serve_in_the_background(tmp_path: Path) -> None:
    """`serve &` in a script, whose shell has it ignore Ctrl-C, ends by SIGTERM and by nothing else."""
    program = subprocess.Popen(
        ["sh", "-c", f"trap '' INT; exec {sys.executable} -m cyberun_async serve --json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        assert json.loads(program.stdout.readline())["type"] == "server"
        program.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.3)
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 143
