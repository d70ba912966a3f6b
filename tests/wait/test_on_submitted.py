"""`on_submitted`: a program writes the task's id down before it waits, whatever happens to it then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint
from batch.conftest import connect, server, submitted
from support.scripted import TASK, Exchange, Remote, Scripted, answer, connected, hold, scripted
from support.tables import table

from cyberun_async import AsyncClient, ConfigurationError, Journal, TransportError
from cyberun_async.local import LocalCyberun

__all__ = ["connect", "server"]

SUBMITTED = answer(202, {"task_id": TASK})


class BrokenDatabase(Exception):
    """What a callback raises."""


@attrs.frozen
class FrozenError(Exception):
    """What a callback raises that takes no attribute."""


async def run(client: AsyncClient, **options: Any) -> object:
    return await client.run("demo", validate=False, **options)


def completing(server: Scripted) -> Remote:
    remote = Remote("completed")
    remote.on(server)
    server.on("run", SUBMITTED)
    server.on("events", answer(404))
    return remote


@table("is_async", [False, True])
async def test_before_the_wait(is_async: bool) -> None:
    """It is called with the id before anything else is asked of the server; it may be async."""
    seen: list[object] = []

    def note(task_id: str) -> None:
        seen.append((task_id, server.kinds()))

    async def note_later(task_id: str) -> None:
        await checkpoint()
        note(task_id)

    async with scripted() as server, connected(server) as client:
        completing(server)
        await run(client, on_submitted=note_later if is_async else note)
    assert seen == [(TASK, ["run"])]


@table("kind", [BrokenDatabase, FrozenError])
async def test_what_it_raises(kind: type[Exception]) -> None:
    """What it raises ends the wait as it is, with the id on it where it takes one, and the task goes on."""

    def note(_: str) -> None:
        raise kind

    async with scripted() as server, connected(server) as client:
        completing(server)
        with pytest.raises(kind) as caught:
            await run(client, on_submitted=note, on_cancel="cancel", on_timeout="cancel")
        assert server.kinds() == ["run"]
    assert getattr(caught.value, "task_id", None) == (None if kind is FrozenError else TASK)


async def test_seen_through() -> None:
    """A caller that leaves in the middle of the submission still gets the id, and the callback runs to its end."""
    noted: list[str] = []

    async def leave(exchange: Exchange) -> None:
        scope.cancel()
        await SUBMITTED(exchange)

    async def note(task_id: str) -> None:
        await anyio.sleep(0.01)
        noted.append(task_id)

    async with scripted() as server, connected(server) as client:
        server.on("run", leave)
        with anyio.CancelScope() as scope:
            await run(client, on_submitted=note)
        assert server.kinds() == ["run"]
    assert (noted, scope.cancelled_caught) == ([TASK], True)


async def test_submit() -> None:
    """`submit()` takes it, too: who is cancelled in the middle of it has the id all the same."""
    noted: list[str] = []

    async def leave(exchange: Exchange) -> None:
        scope.cancel()
        await SUBMITTED(exchange)

    async with scripted() as server, connected(server) as client:
        server.on("run", SUBMITTED, leave)
        assert await client.submit("demo", validate=False, on_submitted=noted.append) == TASK
        with anyio.CancelScope() as scope:
            await client.submit("demo", validate=False, on_submitted=noted.append)
    assert (noted, scope.cancelled_caught) == ([TASK, TASK], True)


async def test_not_submitted() -> None:
    """It is not called where there is no id."""
    async with scripted() as server, connected(server) as client:
        server.on("run", answer(500))
        with pytest.raises(Exception, match="failed with 500"):
            await run(client, on_submitted=pytest.fail)


async def test_no_function() -> None:
    """What cannot be called is refused before anything is sent."""
    async with AsyncClient("sk-test", base_url="http://localhost") as client:
        with pytest.raises(ConfigurationError, match="on_submitted must be a function"):
            await client.run("demo", on_submitted="note")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="on_submitted must be a function"):
            client.map("demo", [], on_submitted="note")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="on_submitted must be a function"):
            await client.submit("demo", on_submitted="note")  # type: ignore[arg-type]


# Batches


async def test_items(connect: Any, server: LocalCyberun, tmp_path: Path) -> None:
    """In a batch it is called with the key, too: once for each task, and not for what an earlier run submitted."""
    noted: dict[str, str] = {}

    async def note(key: str, task_id: str) -> None:
        assert key not in noted
        noted[key] = task_id

    items = [(f"item {n}", {"n": n}) for n in range(5)]
    async with connect() as client:
        for _ in range(2):
            journal = Journal(tmp_path / "journal")
            outcomes = await client.map("work", items, on_submitted=note, journal=journal).gather()
    assert noted == {outcome.key: outcome.task_id for outcome in outcomes}
    assert sorted(noted.values()) == sorted(submitted(server))


async def test_item_whose_callback_fails(connect: Any, server: LocalCyberun) -> None:
    """What it raises is that item's error, with the id; the others go on."""

    def note(key: str, _: str) -> None:
        if key == "1":
            raise BrokenDatabase

    async with connect() as client:
        outcomes = await client.map("work", [{"n": n} for n in range(3)], on_submitted=note).gather()
    assert [type(outcome.error) for outcome in outcomes] == [type(None), BrokenDatabase, type(None)]
    assert outcomes[1].task_id in submitted(server)
    assert (outcomes[1].is_uncertain, outcomes[1].error.task_id) == (False, outcomes[1].task_id)


async def test_item_that_is_seen_through() -> None:
    """A batch that is left in the middle of a submission still calls back."""
    noted: list[tuple[str, str]] = []

    async def leave(exchange: Exchange) -> None:
        scope.cancel()
        await SUBMITTED(exchange)

    async with scripted() as server, connected(server) as client:
        server.on("run", leave)
        server.on("task", hold())
        server.on("events", hold())
        with anyio.CancelScope() as scope:
            batch = client.map("demo", [{}], validate=False, on_submitted=lambda *ids: noted.append(ids))
            await batch.gather()
    assert noted == [("0", TASK)]


async def test_lost_reply() -> None:
    """Where the response to a submission is lost, there is no id to call back with."""

    async def lose(exchange: Exchange) -> None:
        exchange.reset()

    async with scripted() as server, connected(server) as client:
        server.on("run", lose)
        with pytest.raises(TransportError) as caught:
            await run(client, on_submitted=pytest.fail)
    assert caught.value.may_have_been_sent
