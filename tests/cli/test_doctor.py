"""The commands that say what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cyberun_async.local.scripts import after, progress, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Outcome

    from cyberun_async.local import LocalCyberun

CHECKS = ["dns", "tls", "key", "team", "clock", "streams"]
LONG = [status("running"), *(step for n in range(1000) for step in (progress(n, 1000), after(2.5)))]


def test_all_is_well(server: LocalCyberun, cyberun: Callable[..., Outcome]) -> None:
    """A line for each check, an exit code of 0, and a stream that was measured with a task of its own."""
    server.script("text-to-image", LONG)
    done = cyberun("doctor", "--submit", "text-to-image", "-p", "prompt=dusk")
    assert done.code == 0
    assert [line.partition(":")[0].split() for line in done.out.splitlines()] == [["ok", name] for name in CHECKS]
    assert "get through" in done.out.splitlines()[-1]


def test_what_to_do(server: LocalCyberun, cyberun: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is followed by what to do, the exit code is 1, and no key is shown."""
    monkeypatch.setenv("CYBERUN_API_KEY", "sk-not-a-key")
    done = cyberun("doctor")
    lines = done.out.splitlines()
    failed = next(number for number, line in enumerate(lines) if line.startswith("FAIL  key"))
    assert done.code == 1
    assert "Make a new one" in lines[failed + 1]
    assert "sk-not-a-key" not in done.out + done.err


def test_json(server: LocalCyberun, cyberun: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--json` each check is an object, whose advice is there where there is some."""
    monkeypatch.setenv("CYBERUN_API_KEY", "sk-not-a-key")
    done = cyberun("doctor", "--json")
    assert [(line["type"], line["name"]) for line in done.lines] == [("finding", name) for name in CHECKS]
    assert [line["outcome"] for line in done.lines if "advice" in line] == ["fail"]


def test_conformance(server: LocalCyberun, cyberun: Callable[..., Outcome]) -> None:
    """The local Cyberun conforms, and one that does not is told by the exit code."""
    assert cyberun("conformance").code == 0
    server.faults.unknown_status(on="tasks.list")
    cyberun("submit", "text-to-image", "-p", "prompt=dusk")
    done = cyberun("conformance", "--json")
    assert done.code == 1
    assert [line["name"] for line in done.lines if line["outcome"] == "fail"] == ["tasks.list"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            None,
            "FAIL  key: there is no API key: run cyberun-async login, set CYBERUN_API_KEY, or name a file that holds it with --key-file",
        ),
        ("ak-agent", "FAIL  key: an ak- key signs agents in at the gateway"),
        ("eyJ-1", "FAIL  key: a user's token (JWT) works on a team's resources, so it needs a team: pass --team-id"),
        ("k-1", "FAIL  key: the API key begins with none of sk-"),
    ],
    ids=["none", "an agent's", "a user's without a team", "of no kind"],
)
def test_an_unusable_key_is_a_line_among_the_others(
    server: LocalCyberun, cyberun: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, key: str | None, said: str
) -> None:
    """What needs no key is checked all the same, and no request goes out with a key that is none."""
    monkeypatch.delenv("CYBERUN_API_KEY")
    if key:
        monkeypatch.setenv("CYBERUN_API_KEY", key)
    before = len(server.requests)
    done = cyberun("doctor", "--submit", "text-to-image")
    assert done.code == 1
    assert [line.split()[1] for line in done.out.splitlines()] == [f"{name}:" for name in CHECKS]
    assert done.out.startswith("ok    dns")
    assert f"\n{said}" in done.out
    assert len(server.requests) == before
