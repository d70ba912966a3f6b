"""A journal that stays open for long, as a web application or a notebook keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from batch.conftest import Connect, submitted

from cyberun_async import ConfigurationError, InvalidParameters, Journal, Limits
from cyberun_async._batch.journal_rows import Row
from cyberun_async.local import LocalCyberun


async def test_one_batch_after_the_other(connect: Connect, server: LocalCyberun, tmp_path: Path) -> None:
    """Each batch may have the keys of an earlier one, whose outcomes it gives back; within a batch each key is used once."""
    items = [("a", {"n": 1}), ("b", {"n": 2})]
    async with connect() as client, Journal(tmp_path / "journal") as journal:
        first = await client.map("work", items, journal=journal).gather()
        second = await client.map("work", [*items, ("a", {"n": 1})], journal=journal).gather()
    assert [outcome.task_id for outcome in first] == [outcome.task_id for outcome in second[:2]] == submitted(server)
    assert [outcome.error for outcome in second[:2]] == [None, None]
    assert isinstance(second[2].error, InvalidParameters)


async def test_one_place(
    connect: Connect, server: LocalCyberun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal is where it was when it was opened first, also if the program moves; it is a file, whatever its name."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("journal", ":memory:"):
        journal, ids = Journal(name), set[str]()
        async with connect() as client:
            for folder in (tmp_path, tmp_path / "elsewhere"):
                monkeypatch.chdir(folder)
                ids.add(await client.submit_once(name, "work", {"n": 1}, journal=journal))
            monkeypatch.chdir(tmp_path)
        assert len(ids) == 1
    assert len(submitted(server)) == 2


class Disk:
    """Stands before a journal's file: full, or busy with something else before the next write."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self._do = journal._store._database.do
        self.is_full = False
        self.before_next: Callable[[], Awaitable[None]] | None = None
        monkeypatch.setattr(journal._store._database, "do", self.do)

    async def do(self, work: Callable[[Any], Any]) -> Any:
        before, self.before_next = self.before_next, None
        if before is not None:
            await before()
        if self.is_full:
            raise ConfigurationError("full")
        return await self._do(work)


async def test_what_is_saved_late_is_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old row that a full disk has refused is not written over what has happened to the item meanwhile."""
    async with Journal(tmp_path / "journal") as journal:
        disk = Disk(journal, monkeypatch)
        rows = [Row(workflow="work", key=key, digest="") for key in ("a", "b")]

        async def submit() -> None:
            await journal._store.put(attrs.evolve(rows[1], state="submitting"))
            await journal._store.note(attrs.evolve(rows[1], state="submitted", task_id="t-1"))

        disk.is_full = True
        for row in rows:
            await journal._store.note(row)
        disk.is_full, disk.before_next = False, submit
        await journal._store.save_again()
        row = await journal._store.find("work", "b")
    assert row is not None
    assert row.task_id == "t-1"


async def test_what_is_refused_meanwhile_is_still_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that succeeds late does not count for a newer one that was refused."""
    async with Journal(tmp_path / "journal") as journal:
        disk = Disk(journal, monkeypatch)
        row = Row(workflow="work", key="a", digest="")

        async def refuse_the_newer() -> None:
            disk.is_full = True
            await journal._store.note(attrs.evolve(row, state="submitted", task_id="t-1"))
            disk.is_full = False

        disk.before_next = refuse_the_newer
        await journal._store.note(row)
        await journal._store.save_again()
        found = await journal._store.find("work", "a")
    assert found is not None
    assert found.task_id == "t-1"


async def test_what_is_not_saved_yet_is_known_all_the_same(
    connect: Connect, server: LocalCyberun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key whose task's id a full disk has refused stands for that task as long as the journal is open."""
    async with connect() as client, Journal(tmp_path / "journal") as journal:
        disk = Disk(journal, monkeypatch)

        real_note = journal._store.note

        async def note(row: Row) -> None:
            disk.is_full = True
            await real_note(row)

        monkeypatch.setattr(journal._store, "note", note)
        first = await client.submit_once("a", "work", {"n": 1}, journal=journal)
        assert await client.submit_once("a", "work", {"n": 1}, journal=journal) == first
        disk.is_full = False
        monkeypatch.setattr(journal._store, "note", real_note)
    assert [entry.task_id async for entry in journal] == submitted(server) == [first]


@pytest.mark.parametrize("keeps", [True, False], ids=["a journal", "none"])
async def test_a_generator_that_gives_one_dict_again(
    connect: Connect, server: LocalCyberun, tmp_path: Path, keeps: bool
) -> None:
    """Each item is what it was when it was given, however long it waits for its turn."""

    def items() -> Iterator[dict[str, object]]:
        parameters: dict[str, object] = {}
        for n in range(10):
            parameters["n"] = n
            yield parameters

    async with connect(limits=Limits(max_connections=2)) as client:
        batch = client.map("work", items(), journal=Journal(tmp_path / "journal") if keeps else None)
        outcomes = await batch.gather()
    assert [outcome.parameters for outcome in outcomes] == [{"n": n} for n in range(10)]
    assert [outcome.unwrap().output for outcome in outcomes] == [{"n": n} for n in range(10)]
    assert len(submitted(server)) == 10
