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


def test_an_unusable_key_is_said_before_anything_is_looked_at(
    cyberun: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that the REST API never takes is a mistake in the settings, with their exit code."""
    monkeypatch.setenv("CYBERUN_API_KEY", "ak-agent")
    done = cyberun("doctor")
    assert (done.code, done.out) == (2, "")
