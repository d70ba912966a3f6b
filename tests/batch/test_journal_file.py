"""A journal that cannot be used says why, submits nothing, and lets go of the file."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from batch.conftest import Connect, submitted

from cyberun_async import ConfigurationError, Journal, JournalInUse
from cyberun_async._batch.journal_file import MARK, VERSION
from cyberun_async.local import LocalCyberun

FIRST_SCHEMA = """
CREATE TABLE items (
    workflow TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    run INTEGER NOT NULL,
    task_id TEXT,
    began REAL,
    matched INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    PRIMARY KEY (workflow, key)
) WITHOUT ROWID
"""
"""As the first version wrote it."""

NOTHING = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""The digest of no parameters at all."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """Change a journal as another program would."""
    db = sqlite3.connect(path)
    try:
        with db:
            yield db
    finally:
        db.close()


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond its first bytes; what a disk without room says is much the same."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def refused(connect: Connect, server: LocalCyberun, path: Path) -> str:
    """Run a batch that its journal prevents, and see to it that the file is free afterwards."""
    async with connect() as client:
        for _ in range(2):
            with pytest.raises(ConfigurationError) as caught:
                await client.map("work", [{}], journal=Journal(path)).gather()
            assert not isinstance(caught.value, JournalInUse)
    assert not submitted(server)
    return str(caught.value)


async def test_a_later_version(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """What a later version has written is not written to by this one."""
    async with Journal(path):
        pass
    with changing(path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    message = await refused(connect, server, path)
    assert message.endswith("it was written by a later version of cyberun-async, so upgrade this one")
    assert path.read_bytes() == before


async def test_a_read_only_file(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """A file without the right to be written to is not written to, by root either."""
    async with Journal(path):
        pass
    path.chmod(0o444)
    message = await refused(connect, server, path)
    assert message == (
        f"the journal {path} cannot be opened: attempt to write a readonly database; make the file and its folder"
        " writable, or work on a copy"
    )


async def test_a_folder_that_is_not_there(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """The message says what is missing."""
    message = await refused(connect, server, path / "in" / "none")
    assert message.endswith("unable to open database file; check that its folder is there and may be written to")


@pytest.mark.parametrize("is_new", [True, False], ids=["a new one", "an old one"])
async def test_a_disk_that_is_full_from_the_start(
    connect: Connect, server: LocalCyberun, path: Path, is_new: bool
) -> None:
    """Opening writes, so a disk that is full shows before the first submission."""
    if not is_new:
        async with Journal(path):
            pass
    with full_disk():
        message = await refused(connect, server, path)
    assert f"the journal {path} cannot be opened: " in message
    async with connect() as client:
        (outcome,) = await client.map("work", [{}], journal=Journal(path)).gather()
    assert outcome.succeeded


@pytest.mark.parametrize("pages", ["the last ones", "all but the first"])
async def test_a_page_that_cannot_be_read(connect: Connect, server: LocalCyberun, path: Path, pages: str) -> None:
    """A damaged journal is refused as a whole, since it may hide that an item was submitted."""
    async with connect() as client:
        await client.map("work", [(f"key {n}" * 400, {}) for n in range(12)], journal=Journal(path)).gather()
    before = len(server.requests)
    data = bytearray(path.read_bytes())
    start = 4096 if pages == "all but the first" else len(data) - 8192
    data[start:] = b"\x05" * (len(data) - start)
    path.write_bytes(data)
    async with connect() as client:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"malformed.*; it is damaged") as caught:
                await client.map("work", [("new", {})], journal=Journal(path)).gather()
            assert not isinstance(caught.value, JournalInUse)
    assert len(server.requests) == before


@pytest.mark.parametrize("name", ["\ud83d", "a\0b"], ids=["a surrogate", "a zero"])
async def test_a_path_that_is_none(tmp_path: Path, name: str) -> None:
    """A name that no disk takes is an error of the configuration."""
    with pytest.raises(ConfigurationError, match=r"the journal .* cannot be opened"):
        async with Journal(tmp_path / name):
            pass


async def test_a_journal_of_the_first_version(connect: Connect, server: LocalCyberun, path: Path) -> None:
    """What the first version has written is understood: nothing is submitted that it had submitted."""
    async with connect() as client:
        task_id = await client.submit("work", {})
        await client.wait_for_result(task_id)
        outcome = f'{{"id":"{task_id}","task_status":"completed","task_output":{{"n":0}}}}'
        with changing(path) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(FIRST_SCHEMA)
            db.execute(f"PRAGMA application_id = {MARK}")
            rows = [
                ("done", "finished", task_id, 1.0, outcome),
                ("lost id", "finished", None, 1.0, outcome),
                ("going", "submitted", task_id, 1.0, None),
                ("asked", "uncertain", None, 1.0, None),
                ("sent", "submitting", None, 1.0, None),
                ("fresh", "new", None, None, None),
            ]
            for key, *columns in rows:
                values = ("work", key, NOTHING, 3, *columns)
                db.execute(
                    "INSERT INTO items (workflow, key, digest, run, state, task_id, began, outcome)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        outcomes = await client.map("work", [(row[0], {}) for row in rows], journal=Journal(path)).gather()
        entries = {entry.key: entry async for entry in Journal(path)}
    ends = {each.key: (each.succeeded, each.is_uncertain, each.task_id == task_id) for each in outcomes}
    assert ends == {
        "done": (True, False, True),
        "lost id": (True, False, True),
        "going": (True, False, True),
        "asked": (False, True, False),
        "sent": (False, True, False),
        "fresh": (True, False, False),
    }
    assert len(submitted(server)) == 2
    assert {key: entry.attempts for key, entry in entries.items()} == dict.fromkeys(ends, 1)


async def test_in_use_is_an_error_of_its_own(connect: Connect, path: Path) -> None:
    """A program can tell that a journal is in use, and which one."""
    async with connect() as client, client.map("work", [], journal=Journal(path)):
        with pytest.raises(JournalInUse) as caught:
            await client.map("work", [], journal=Journal(path)).gather()
    assert isinstance(caught.value, ConfigurationError)
    assert caught.value.path == str(path)
