"""One key, one task: from any number of callers, in several processes, and after a crash."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from batch.conftest import Connect, eventually, submitted

from cyberun_async import (
    ConfigurationError,
    InvalidParameters,
    Journal,
    JournalInUse,
    PermissionDeniedError,
    ServerError,
    TransportError,
)
from cyberun_async._batch import submit_once
from cyberun_async.local import Job, LocalCyberun
from cyberun_async.local.scripts import Step, complete

PROGRAM = """
import sys, anyio
from cyberun_async import AsyncClient, Journal

async def main(url, key, path):
    ids = []
    async with AsyncClient(key, base_url=url) as client:
        for n in range(5):
            ids.append(await client.submit_once(f"order {n}", "work", {"n": n}, journal=Journal(path)))
    print(*ids)

anyio.run(main, *sys.argv[1:])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "once.journal"


@pytest.mark.parametrize("shares", [True, False], ids=["one journal", "a journal for each"])
async def test_many_callers_at_once(connect: Connect, server: LocalCyberun, path: Path, shares: bool) -> None:
    """All who ask for a key get the same task, and each key has one."""
    journal, ids = Journal(path), {0: set[str](), 1: set[str]()}
    async with connect() as client, anyio.create_task_group() as group:

        async def ask(n: int) -> None:
            own = journal if shares else Journal(path)
            ids[n].add(await client.submit_once(f"order {n}", "work", {"n": n}, journal=own))

        for caller in range(8):
            group.start_soon(ask, caller % 2)
    assert [len(each) for each in ids.values()] == [1, 1]
    assert set(submitted(server)) == ids[0] | ids[1]


async def test_kept_open(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """A journal that is kept open serves a batch, too, which knows the tasks of single submissions."""
    async with connect() as client, Journal(path) as journal:
        task_id = await client.submit_once("a", "work", {"n": 1}, journal=journal)
        async with client.map("work", [("a", {"n": 1}), ("b", {"n": 2})], journal=journal) as batch:
            outcomes = {outcome.key: outcome.task_id for outcome in await batch.gather()}
            assert await client.submit_once("b", "work", {"n": 2}, journal=journal) == outcomes["b"]
        assert outcomes["a"] == task_id
        assert await client.submit_once("a", "work", {"n": 1}, journal=journal) == task_id
    assert len(submitted(server)) == 2


async def test_a_key_is_one_workflows(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """The same key stands for another task of another workflow."""
    server.workflow("other")(lambda _: b"")
    async with connect() as client:
        first = await client.submit_once("a", "work", journal=Journal(path))
        assert await client.submit_once("a", "other", {}, journal=Journal(path)) != first


async def test_other_parameters(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """A key stands for its parameters."""
    async with connect() as client:
        await client.submit_once("a", "work", {"n": 1}, journal=Journal(path))
        with pytest.raises(InvalidParameters, match="other parameters under the key 'a'"):
            await client.submit_once("a", "work", {"n": 2}, journal=Journal(path))
    assert len(submitted(server)) == 1


async def test_a_refusal_is_no_submission(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """What the server has refused is submitted by the next call."""
    server.faults.status(403, on="workflows.run")
    async with connect() as client:
        with pytest.raises(PermissionDeniedError):
            await client.submit_once("a", "work", journal=Journal(path))
        await client.submit_once("a", "work", journal=Journal(path))
    assert len(submitted(server)) == 1


async def test_uncertain(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """A submission without a response raises, then and later, until it is settled."""
    journal = Journal(path)
    server.faults.status(500, on="workflows.run")
    async with connect() as client:
        with pytest.raises(ServerError):
            await client.submit_once("a", "work", journal=journal)
        for _ in range(2):
            with pytest.raises(TransportError, match="an earlier run") as caught:
                await client.submit_once("a", "work", journal=Journal(path))
            assert caught.value.may_have_been_sent
        assert not submitted(server)
        await journal.settle("work", "a", None)
        task_id = await client.submit_once("a", "work", journal=journal)
    assert submitted(server) == [task_id]


async def test_a_caller_that_leaves(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """A submission in flight is seen through when its caller is cancelled, so that the next one gets its id."""
    has_left = threading.Event()

    def script(_: Job) -> list[Step]:
        has_left.wait(30)
        return [complete()]

    server.workflow("slow", script=script)(lambda _: b"")
    async with connect() as client, anyio.create_task_group() as group:
        group.start_soon(partial(client.submit_once, "a", "slow", journal=Journal(path)))
        await eventually(lambda: [each for each in server.requests if each.operation == "workflows.run"])
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            has_left.set()
    async with connect() as client:
        task_id = await client.submit_once("a", "slow", journal=Journal(path))
    assert submitted(server) == [task_id]


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        pytest.param({"key": 7}, InvalidParameters, "the key must be a string, not int", id="a number"),
        pytest.param({"key": "\ud83d"}, InvalidParameters, "is not valid text", id="half a character"),
        pytest.param({"journal": "x"}, ConfigurationError, r"journal must be a Journal\(path\), not 'x'", id="a path"),
        pytest.param(
            {"parameters": {"n": "\ud83d"}},
            InvalidParameters,
            "must be of the kinds that JSON has|must be a number",
            id="a value",
        ),
        pytest.param({"parameters": {"n": object()}}, InvalidParameters, "to be recognised again", id="a thing"),
        pytest.param({"workflow": ""}, InvalidParameters, "must not be empty", id="no workflow"),
    ],
)
async def test_what_cannot_be(
    connect: Connect, server: LocalCyberun, path: Path, *, arguments: Any, error: type[Exception], problem: str
) -> None:
    """What cannot be submitted is found out first, and leaves no trace in the journal."""
    usual = {"key": "a", "workflow": "work", "journal": Journal(path)}
    async with connect() as client:
        with pytest.raises(error, match=problem):
            await client.submit_once(**{**usual, **arguments})
    assert not submitted(server)
    if path.exists():
        assert [entry async for entry in Journal(path)] == []


async def test_a_process_that_keeps_it(
    connect: Connect, server: LocalCyberun, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that somebody else keeps is waited for, and not for ever."""
    monkeypatch.setattr(submit_once, "LOCK_TIMEOUT", 0.1)
    async with connect() as client:
        async with Journal(path):
            with pytest.raises(JournalInUse):
                await client.submit_once("a", "work", journal=Journal(path))
        await client.submit_once("a", "work", journal=Journal(path))
    assert len(submitted(server)) == 1


@pytest.mark.slow
def test_several_processes(server: LocalCyberun, path: Path) -> None:
    """Processes that take turns with a journal submit each key once."""
    command = [sys.executable, "-c", PROGRAM, server.base_url, server.api_key, str(path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=50)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert outputs[0] == outputs[1] == outputs[2]
    assert sorted(submitted(server)) == sorted(outputs[0])


async def test_after_a_crash(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """A key whose process has died in the middle of the submission is uncertain, and one whose id was written is not."""
    async with connect() as client:
        task_id = await client.submit_once("whole", "work", journal=Journal(path))
        await client.submit_once("cut", "work", journal=Journal(path))
        db = sqlite3.connect(path)
        with db:
            db.execute("UPDATE items SET state = 'submitting', task_id = NULL WHERE key = 'cut'")
        db.close()
        assert await client.submit_once("whole", "work", journal=Journal(path)) == task_id
        with pytest.raises(TransportError):
            await client.submit_once("cut", "work", journal=Journal(path))
        entries = {entry.key: (entry.is_uncertain, entry.task_id) async for entry in Journal(path)}
    assert entries == {"whole": (False, task_id), "cut": (True, None)}
    bodies = [each.body for each in server.requests if each.operation == "workflows.run"]
    assert [json.loads(body)["parameters"] for body in bodies] == [{}, {}]
