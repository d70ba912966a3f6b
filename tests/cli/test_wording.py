"""The command line speaks of options and variables, not of arguments in Python."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from support.tables import table

from cyberun_async.cli import _table
from cyberun_async.cli._table import least_width, stacked
from cyberun_async.cli._wording import in_words_of_the_command_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Outcome

PYTHON = re.compile(r"\w\(\)|\b(?<!-)[a-z]+_[a-z_]+\b|=True|Limits\.")
"""A call, an argument's name, a keyword or a setting."""

MESSAGES = [
    "there is no API key: set CYBERUN_API_KEY or pass api_key; keys are made on the Access page of Cyberun Cloud",
    "base_url needs a scheme: write https://host/api/v1",
    "base_url must not carry a user or password: give the key as api_key",
    (
        "base_url is http:// to a host that is not loopback, which would show the key to the network: "
        "use https://, or pass allow_insecure_http=True"
    ),
    "a user's token (JWT) works on a team's resources, so it needs a team: pass team_id or set CYBERUN_TEAM_ID",
    "files of task t-1: it is pending and has none before it ends, see client.wait_for_result(); retry",
    "GET /r/tasks/t-1 failed with 429: slow down; wait a while, and send less at once (Limits.max_connections)",
    "GET /r/tasks/t-1 failed with 404: resource not found; check the id or name, the team of the key, and base_url",
    (
        "the response to GET /r/tasks/t-1 is not what the API documents: its body has more than 9 bytes "
        "(Limits.max_response_bytes); is base_url right, with its scheme and /api/v1?"
    ),
]


@table("message", MESSAGES)
def test_no_python(message: str) -> None:
    """What a message says for Python is replaced by what can be typed."""
    assert PYTHON.search(message)
    assert not PYTHON.search(in_words_of_the_command_line(message))


@pytest.mark.parametrize(
    ("arguments", "said"),
    {
        "insecure": (
            ["tasks", "--base-url", "http://core.test/api/v1"],
            "--base-url is http:// to a host ... use https://",
        ),
        "twice": (
            ["tasks", "--base-url", "https://core.test/api/v1/api/v1"],
            "--base-url ends with /api/v1 twice: write it once",
        ),
        "a parameter without -p": (["run", "text-to-image", "prompt=dusk"], "parameters take -p: -p prompt=dusk ..."),
        "one too many": (["tasks", "all"], "there is one argument too many: 'all' ..."),
        "a limit": (["tasks", "--limit", "-1"], '... "-1" for --limit. ...'),
        "a slug": (["workflow", "text-to-imag"], "... did you mean 'text-to-image'? ..."),
        "a slug to run": (["run", "img2mg", "-p", "prompt=dusk"], "... did you mean 'img2img'? ..."),
    }.values(),
)
def test_a_line_that_can_be_acted_on(cyberun: Callable[..., Outcome], arguments: list[str], said: str) -> None:
    """The line names what to type."""
    done = cyberun(*arguments)
    assert re.fullmatch(f"cyberun-async: {'.*'.join(map(re.escape, said.split('...')))}\n", done.err), done.err


HEADS = ("TASK", "STATUS", "CREATED", "ERROR")
ROWS = [
    ("019abc12-9012-7890-abcd-ef1234567896", "completed", "2025-02-10 14:01:30Z", ""),
    ("019abc12-9012-7890-abcd-ef1234567897", "failed", "2025-02-10 14:01:31Z", "x" * 90),
]


@pytest.mark.parametrize("width", [30, 60, 80, 140])
def test_a_table_loses_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> None:
    """At any width each cell is there in full, and no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _table.write_table(HEADS, ROWS)

    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    letters = "".join(out.split())
    assert all("".join(cell.split())[:25] in letters for row in ROWS[:1] for cell in row[:2])
    assert letters.count("x") == 90


def test_when_rows_are_stacked() -> None:
    """Columns need their longest words; what does not fit becomes a line for each cell."""
    assert least_width(HEADS, ROWS[:1]) == 36 + 9 + 10 + 5 + 6
    assert list(stacked(HEADS, ROWS[0])) == [f"TASK     {ROWS[0][0]}", "STATUS   completed", f"CREATED  {ROWS[0][2]}"]
