"""The exit code tells what happened, and one line on stderr says it in words."""

from __future__ import annotations

import io
import re
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async import AsyncClient, ConfigurationError, Retries, StorageError
from cyberun_async.local.scripts import cancel, fail, status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Outcome
    from cyberun_async.local import LocalCyberun
    from cyberun_async.local.scripts import Step

    Command = Callable[..., Outcome]

RUN = ("run", "text-to-image", "-p", "prompt=dusk", "-p", "width=64", "-p", "height=64")

ENDS: dict[str, tuple[Sequence[Step], int, str]] = {
    "failed": (
        [fail("CUDA out of memory")],
        3,
        r"cyberun-async: task \S+ failed: CUDA out of memory; change its parameters, or submit it again\n",
    ),
    "cancelled": ([cancel()], 4, r"cyberun-async: task \S+ was cancelled; submit it again if it is still wanted\n"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("command", ["run", "wait", "events"])
def test_the_end_of_a_task_is_the_exit_code(cyberun: Command, server: LocalCyberun, end: str, command: str):
    """A script can tell failed from cancelled, whichever way it follows the task."""
    script, code, _ = ENDS[end]
    server.script("text-to-image", script)
    if command == "run":
        assert cyberun(*RUN).code == code
    else:
        assert cyberun(command, cyberun("submit", *RUN[1:]).out.strip()).code == code


@pytest.mark.parametrize("end", ENDS)
def test_the_reason_is_the_last_line(cyberun: Command, server: LocalCyberun, end: str):
    """The server's words reach the user, on one line."""
    script, _, line = ENDS[end]
    server.script("text-to-image", script)
    assert re.fullmatch(line, cyberun(*RUN).err.splitlines(keepends=True)[-1])


def test_result_of_a_failed_task_is_a_success(cyberun: Command, server: LocalCyberun):
    """It was asked what became of the task, and says so."""
    server.script("text-to-image", [fail("CUDA out of memory")])
    task_id = cyberun(*RUN, "--json").lines[0]["task_id"]
    shown = cyberun("result", task_id)
    assert shown.code == 0
    assert "error: CUDA out of memory\n" in shown.out


def test_a_deadline_leaves_the_task_and_says_how_to_come_back(cyberun: Command, server: LocalCyberun):
    """5, and a command that can be pasted."""
    server.script("text-to-image", [status("running")])
    done = cyberun(*RUN, "--timeout", "0.3", "--out", "my pictures", "--base-url", server.base_url)
    task_id = re.search(r"task (\S+)", done.err)[1]
    assert done.code == 5
    assert f"cyberun-async wait {task_id} --out 'my pictures' --base-url {server.base_url}\n" in done.err
    assert cyberun("tasks", "--status", "running").out.startswith(task_id)
    cyberun("cancel", task_id)


def test_a_deadline_cancels_the_task_where_that_was_asked_for(cyberun: Command, server: LocalCyberun):
    """5 as well, and there is nothing to come back to."""
    server.script("text-to-image", [status("running")])
    done = cyberun(*RUN, "--timeout", "0.3", "--on-timeout", "cancel")
    task_id = re.search(r"task (\S+)", done.err)[1]
    assert done.code == 5
    assert "it was cancelled" in done.err
    assert "Resume with" not in done.err
    assert cyberun("result", task_id).out.splitlines()[1] == "status: cancelled"


USAGE = {
    "no such command": ("rum",),
    "no such option": ("tasks", "--limits", "3"),
    "nothing to run": ("run",),
    "not a number": ("wait", "x", "--timeout", "soon"),
    "not above zero": ("wait", str(uuid.UUID(int=0)), "--timeout", "0"),
    "neither leave nor cancel": ("wait", "x", "--on-timeout", "stop"),
    "no pair": ("run", "text-to-image", "-p", "prompt"),
    "a required parameter left out": ("run", "text-to-image"),
    "an empty id": ("wait", ""),
    "a key file that is not there": ("tasks", "--key-file", "nowhere"),
    "a base URL without a scheme": ("tasks", "--base-url", "core.cyberun.cloud"),
    "a folder that cannot be made": (*RUN, "--out", "key/out"),
    "an account for a server of one's own": ("workflows", "--local", "--base-url", "http://127.0.0.1"),
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_a_mistake_in_the_command_is_2(cyberun: Command, server: LocalCyberun, arguments: tuple[str, ...]):
    """One line says which, no task is submitted, and nothing is on stdout."""
    Path("key").write_text("a file where a folder should be")
    before = len(server.requests)
    done = cyberun(*arguments)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"cyberun-async: .+\n", done.err)
    assert "POST" not in {exchange.method for exchange in server.requests[before:]}


def test_no_key_is_2(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """The line says where a key can be put."""
    monkeypatch.delenv("CYBERUN_API_KEY")
    done = cyberun("tasks")
    assert done.code == 2
    assert "CYBERUN_API_KEY" in done.err


ERRORS = {
    "no such workflow": (*("run", "text-to-video"), "404"),
    "a workflow that is disabled": ("run", "retired", "-p", "prompt=dusk", "409"),
    "no such task": ("wait", str(uuid.UUID(int=0)), "404"),
    "no such task to follow": ("events", str(uuid.UUID(int=0)), "404"),
    "no such task to cancel": ("cancel", str(uuid.UUID(int=0)), "404"),
}


@pytest.mark.parametrize("arguments", ERRORS.values(), ids=ERRORS)
def test_a_refusal_is_1(cyberun: Command, arguments: tuple[str, ...]):
    """One line with the server's answer, and no advice to wait for what does not exist."""
    *command, expected = arguments
    done = cyberun(*command)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"cyberun-async: .+\n", done.err)
    assert expected in done.err


def test_a_revoked_key_is_1(cyberun: Command, tmp_path: Path):
    """The server's refusal is not a mistake in the command."""
    Path("key").write_text("sk-unknown\n")
    done = cyberun("tasks", "--key-file", "key")
    assert done.code == 1
    assert "401" in done.err


def test_a_server_that_is_not_there_is_1(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """It is tried again for a while, and then said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr("cyberun_async.cli._connect.RETRIES", Retries(budget=0))
    done = cyberun("tasks", "--base-url", f"http://127.0.0.1:{port}/api/v1")
    assert done.code == 1
    assert "got no response" in done.err


def test_files_that_cannot_be_fetched_are_1_and_not_lost(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """The task has been paid for: a line says how to fetch its files later."""

    async def download(*_: object, **__: object) -> None:
        raise StorageError("no space left on device", file="output_00001_.png")

    monkeypatch.setattr(AsyncClient, "download", download)
    done = cyberun(*RUN, "--out", "out")
    assert done.code == 1
    assert re.search(r"Resume with: cyberun-async download \S+ --out out\n", done.err)
    assert done.err.endswith("cyberun-async: output_00001_.png: no space left on device\n")


def test_errors_of_a_program_are_objects_too(cyberun: Command, server: LocalCyberun):
    """With --json the last line of stdout says what went wrong; people still get theirs."""
    server.script("text-to-image", [fail("CUDA out of memory")])
    done = cyberun(*RUN, "--json")
    assert done.lines[-1] == {
        "type": "error",
        "error": "TaskFailed",
        "message": f"task {done.lines[0]['task_id']} failed: CUDA out of memory; change its parameters, or submit it again",
        "task_id": done.lines[0]["task_id"],
        "exit_code": 3,
    }
    assert done.err.startswith("cyberun-async: task ")


def test_a_mistake_in_the_command_is_an_object_too(cyberun: Command):
    """A program that builds commands learns of its mistakes as of all others."""
    (line,) = cyberun("tasks", "--limits", "3", "--json").lines
    assert (line["type"], line["exit_code"]) == ("error", 2)


def test_a_traceback_is_shown_to_whoever_asks_for_it(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """CYBERUN_DEBUG shows where an error comes from; nothing else does."""
    assert "Traceback" not in cyberun("wait", str(uuid.UUID(int=0))).err
    monkeypatch.setenv("CYBERUN_DEBUG", "1")
    assert "Traceback" in cyberun("wait", str(uuid.UUID(int=0))).err


def test_what_the_server_says_cannot_move_the_cursor(cyberun: Command, server: LocalCyberun):
    """A failed task's error may be anything; the terminal gets it as plain text on one line."""
    server.script("text-to-image", [fail("gone\x1b[2J\r\nwrong\x07 [red]really[/red]")])
    said = cyberun(*RUN).err
    assert not any(character in said for character in "\x1b\r\x07")
    assert "gone [2J  wrong  [red]really[/red]; change its parameters, or submit it again\n" in said


BILLED_ONCE = {
    "run, zero": (*RUN, "--timeout", "0"),
    "run, below zero": (*RUN, "--timeout", "-5"),
    "run, no number": (*RUN, "--timeout", "nan"),
    "run, no end": (*RUN, "--timeout", "inf"),
    "batch, zero": ("batch", "text-to-image", "items.jsonl", "--out", "out", "--timeout", "0"),
    "batch, none in flight": ("batch", "text-to-image", "items.jsonl", "--out", "out", "--max-in-flight", "0"),
}


@pytest.mark.parametrize("arguments", BILLED_ONCE.values(), ids=BILLED_ONCE)
def test_options_are_checked_before_anything_is_sent(
    cyberun: Command, server: LocalCyberun, arguments: tuple[str, ...]
):
    """2 promises that nothing was submitted."""
    Path("items.jsonl").write_text('{"prompt": "dusk"}')
    before = len(server.requests)
    done = cyberun(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Must be" in done.err
    assert len(server.requests) == before


def test_a_setting_that_fails_after_the_submission_is_1(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """2 promises that nothing was submitted, so it is 1, and the error names the task."""

    async def wait_for_result(*_: object, **__: object) -> None:
        raise ConfigurationError("the environment variable SSL_CERT_FILE names a file that cannot be used")

    monkeypatch.setattr(AsyncClient, "wait_for_result", wait_for_result)
    done = cyberun(*RUN, "--json")
    assert done.code == 1
    assert done.lines[-1]["task_id"] == done.lines[0]["task_id"]


@pytest.mark.parametrize("key", ["sk-0123456789abcdef", "sk-short", f"eyJ{'x' * 300}.a.b"])
def test_a_key_for_a_key_file_is_not_repeated(cyberun: Command, key: str):
    """Who gives the key itself is told what the option takes, and sees it nowhere."""
    done = cyberun("tasks", "--key-file", key)
    assert done.code == 2
    assert "takes the name of a file" in done.err
    assert key not in done.err


def test_a_mistyped_key_is_not_repeated(cyberun: Command):
    """Nor does the message about an argument that is not known repeat what has the form of a key."""
    done = cyberun("tasks", "sk-0123456789abcdef")
    assert done.code == 2
    assert "0123456789" not in done.err


def test_byte_order_marks(cyberun: Command, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch):
    """Files that Windows has written are read, from the disk and from stdin."""
    Path("key").write_text(server.api_key, encoding="utf-8-sig")
    Path("parameters").write_text('{"prompt": "dusk", "width": 64, "height": 64}', encoding="utf-8-sig")
    monkeypatch.delenv("CYBERUN_API_KEY")
    assert cyberun("submit", "text-to-image", "-P", "parameters", "--key-file", "key").code == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("key").read_bytes())))
    assert cyberun("submit", "text-to-image", "-P", "parameters", "--key-file", "-").code == 0


def test_closed_stdin(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """A stdin that is closed is said to be."""
    monkeypatch.setattr("sys.stdin", None)
    for arguments in (("run", "text-to-image", "-P", "-"), ("tasks", "--key-file", "-")):
        done = cyberun(*arguments)
        assert done.code == 2
        assert "Bad file descriptor" in done.err
