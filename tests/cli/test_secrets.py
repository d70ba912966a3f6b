"""No key and no signed link is shown to whoever looks over a shoulder, reads a log or lists processes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Outcome
    from cyberun_async.local import LocalCyberun

    Command = Callable[..., Outcome]

RUN = ("run", "text-to-image", "-p", "prompt=dusk", "-p", "width=64", "-p", "height=64", "--out", "out")


def ask_everything(cyberun: Command) -> list[Outcome]:
    """Use every command that knows a key or a link, for people and for programs, with a traceback where it fails."""
    task_id = cyberun("submit", *RUN[1:-2]).out.strip()
    commands = (
        RUN,
        ("wait", task_id),
        ("events", task_id),
        ("result", task_id),
        ("download", task_id),
        ("download", task_id, "--out", "file"),
        ("cancel", task_id),
        ("tasks",),
        ("wait", "unknown"),
        ("rum",),
    )
    return [cyberun(*command, *options) for command in commands for options in ((), ("--json",))]


def test_neither_key_nor_link_is_shown_unless_asked_for(
    cyberun: Command, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch
):
    """Not on success, not on failure, not in a traceback."""
    monkeypatch.setenv("CYBERUN_DEBUG", "1")
    Path("file").write_text("no folder")
    shown = "".join(outcome.out + outcome.err for outcome in ask_everything(cyberun))
    assert server.api_key not in shown
    assert "X-Amz-Signature" not in shown


@pytest.mark.parametrize("options", [["--links"], ["--links", "--json"]], ids=" ".join)
def test_links_are_shown_to_whoever_asks_for_them(cyberun: Command, options: list[str]):
    """A signed link fetches the file without a key, so it takes a word to see it."""
    task_id = cyberun(*RUN, "--json").lines[0]["task_id"]
    assert "X-Amz-Signature" in cyberun("result", task_id, *options).out


def test_a_key_comes_from_a_file(cyberun: Command, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch):
    """The line break at the file's end is no part of it."""
    monkeypatch.delenv("CYBERUN_API_KEY")
    Path("key").write_text(f"{server.api_key}\n")
    assert cyberun("workflows", "--key-file", "key").code == 0


def test_a_key_comes_from_stdin(cyberun: Command, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch):
    """As password managers give it."""
    monkeypatch.delenv("CYBERUN_API_KEY")
    monkeypatch.setattr("sys.stdin", io.StringIO(server.api_key))
    assert cyberun("workflows", "--key-file", "-").code == 0


def test_a_users_token_comes_with_a_team(cyberun: Command, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch):
    """The team is no secret, so it may be an option."""
    monkeypatch.setenv("CYBERUN_API_KEY", server.jwt)
    assert cyberun("workflows").code == 2
    assert cyberun("workflows", "--team-id", server.team_id).code == 0


def test_stdin_is_read_once(cyberun: Command):
    """Key and parameters cannot both come from it."""
    done = cyberun("run", "text-to-image", "--key-file", "-", "-P", "-")
    assert done.code == 2
    assert "stdin" in done.err


def test_a_key_on_the_command_line_is_refused(cyberun: Command, server: LocalCyberun):
    """Other users of the machine can list the arguments of a program; the refusal does not repeat it."""
    done = cyberun("workflows", "--api-key", server.api_key)
    assert done.code == 2
    assert server.api_key not in done.err
