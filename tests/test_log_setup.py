"""`CYBERUN_LOG`: logging in one line, and nothing secret in any of them."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from cyberun_async import AsyncClient, Retries, _log_setup
from cyberun_async._log_setup import _Handler, log, set_up_logging
from cyberun_async.local import LocalCyberun

KEY = "sk-0123456789abcdef"
PROGRAM = """
import asyncio

from cyberun_async import AsyncClient


async def main():
    async with AsyncClient() as client:
        result = await client.run("text-to-image", {"prompt": "dusk"})
        await client.read_file(result.files[0])


asyncio.run(main())
"""


@pytest.fixture
def handlers() -> Iterator[list[logging.Handler]]:
    """Leave the logger as it was."""
    before, level = list(log.handlers), log.level
    yield log.handlers
    log.handlers[:] = before
    log.setLevel(level)


@pytest.fixture
def written(
    handlers: list[logging.Handler], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """Stand where no handler of the program's is, and give what was written to stderr."""
    # pytest has some.
    monkeypatch.setattr(_log_setup, "_has_handlers_of_its_own", lambda: False)
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("debug", logging.DEBUG),
        (" DEBUG\n", logging.DEBUG),
        ("info", logging.INFO),
        ("warning", logging.WARNING),
        ("error", logging.ERROR),
    ],
)
def test_levels(handlers: list[logging.Handler], value: str, level: int) -> None:
    """The level is the one that is named; setting it up again adds nothing."""
    for _ in range(2):
        set_up_logging({"CYBERUN_LOG": value})
    assert log.level == level
    assert len([handler for handler in handlers if isinstance(handler, _Handler)]) == 1


@pytest.mark.parametrize("environment", [{}, {"CYBERUN_LOG": ""}, {"CYBERUN_LOG": "0"}, {"CYBERUN_LOG": "off"}])
def test_off(handlers: list[logging.Handler], environment: dict[str, str]) -> None:
    """Without it, the package leaves logging alone."""
    before = list(handlers)
    set_up_logging(environment)
    assert handlers == before


def test_another_word(written: Callable[[], str]) -> None:
    """A level that there is not is named, and taken for info."""
    set_up_logging({"CYBERUN_LOG": "loud"})
    assert "WARNING cyberun_async: CYBERUN_LOG must be one of debug, info, warning, error, not 'loud'" in written()


def test_secrets(written: Callable[[], str]) -> None:
    """What a line would show of a key or a presigned URL is cut out, also of a traceback."""
    set_up_logging({"CYBERUN_LOG": "debug"})
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        log.exception("at https://bucket.test/a.png?X-Amz-Signature=deadbeef0123")
    shown = written()
    assert "ValueError: bad key [key]" in shown
    assert not re.search(f"{KEY}|deadbeef", shown)


def test_a_stderr_that_takes_nothing(written: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no stderr, or it is full, the program goes on; and a line that cannot be made harms nobody."""
    set_up_logging({"CYBERUN_LOG": "debug"})
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.info("%d", "no number")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        log.info("lost")
    log.info("seen")
    assert [line.rpartition(": ")[2] for line in written().splitlines()] == ["seen"]


def test_beside_handlers_of_the_program(written: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program writes its own log, each record is written once, by that."""
    monkeypatch.undo()
    set_up_logging({"CYBERUN_LOG": "debug"})
    logging.getLogger().addHandler(own := logging.StreamHandler(io.StringIO()))
    try:
        log.debug("once")
    finally:
        logging.getLogger().removeHandler(own)
    assert (written(), own.stream.getvalue()) == ("", "once\n")


async def test_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Each request is a line with its duration, its attempt, and the server's name for it where it has one."""
    caplog.set_level(logging.DEBUG, "cyberun_async.transport")
    statuses = [503, 200]

    def respond(_: httpx.Request) -> httpx.Response:
        status = statuses.pop(0)
        headers = {"X-Request-ID": f"r-{status}-{KEY}", "Retry-After": "0"}
        return httpx.Response(status, json={"id": "t-1", "task_status": "running"}, headers=headers)

    http_client = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    async with AsyncClient(
        KEY, base_url="http://localhost", http_client=http_client, retries=Retries(initial=0.01)
    ) as client:
        await client.tasks.get("t-1")
    lines = [record.getMessage() for record in caplog.records if record.name == "cyberun_async.transport"]
    assert re.fullmatch(r"GET /r/tasks/t-1: 503 in \d+\.\d{3} s, attempt 1, request r-503-\[key\]", lines[0])
    assert "attempt 1 failed, retry in" in lines[1]
    assert re.fullmatch(r"GET /r/tasks/t-1: 200 in \d+\.\d{3} s, attempt 2, request r-200-\[key\]", lines[2])


@pytest.mark.slow
def test_a_whole_program() -> None:
    """One variable is all it takes: the task from its submission to its end, and every request."""
    with LocalCyberun() as server:
        environment = {**os.environ, "CYBERUN_BASE_URL": server.base_url, "CYBERUN_API_KEY": server.api_key}
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(
            command, env=environment | {"CYBERUN_LOG": "debug"}, capture_output=True, text=True, check=True
        )
        task_id = next(exchange.task_id for exchange in server.requests if exchange.operation == "workflows.run")
        lines = done.stderr.splitlines()
        pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO) cyberun_async\.\w+: .*"
        assert not [line for line in lines if not re.fullmatch(pattern, line)]
        assert any(line.endswith(f"run: submitted task {task_id}") for line in lines)
        assert any(line.endswith(f"INFO cyberun_async.wait: task {task_id}: completed") for line in lines)
        assert any("/result: 200 in" in line for line in lines)
        assert not re.search(f"{server.api_key}|signature=", done.stderr, re.IGNORECASE)
