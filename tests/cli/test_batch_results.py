"""What a batch leaves on the disk: a folder for each key on every file system, and nothing half written."""

from __future__ import annotations

import errno
import json
import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async.cli._results import Results, write_whole
from cyberun_async.local import LocalCyberun, Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Outcome

    Cyberun = Callable[..., Outcome]

ITEM = {"id": "one", "prompt": "a lake", "width": 64, "height": 64}
BATCH = ["batch", "text-to-image", "items.jsonl", "--out", "out", "--key", "id"]


def folders(*keys: str, journal: str = "out/journal") -> list[str]:
    results = Results(Path("out"), Path(journal))
    return [results.folder_of(key).name for key in keys]


def test_plain_keys() -> None:
    """A key that is a name everywhere is the name of its folder."""
    keys = ["a", "order-7", "7", "a.b", "a lake", "höhe"]
    assert folders(*keys) == keys


KEYS = [
    *("summary.json", "Summary.json", "journal", "journal-wal", "journal-shm", "journal.lock"),
    *("Lake", "lake", "LAKE", "é", unicodedata.normalize("NFD", "é"), "É"),
    *(
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "a:b",
        "a_b",
        "con",
        "CON",
        "nul.txt",
        "a.",
        "a ",
        "a",
        "~1",
        "a\x00b",
        "\ud83d",
    ),
    *("x" * 300, "x" * 301, "ü" * 150, "ß", "ss", "straße", "strasse"),
]


def test_folders_of_their_own() -> None:
    """No two keys share a folder on any file system, and none takes the place of the journal or the summary."""
    names = folders(*KEYS, *folders("Lake"))
    seen = {unicodedata.normalize("NFD", name).casefold() for name in names}
    assert len(seen) == len(names)
    assert not seen & {"summary.json", "journal", "journal-wal", "journal-shm"}
    assert all(name and not name.startswith(".") and len(name.encode()) <= 143 for name in names)


def test_journal_elsewhere() -> None:
    """A journal that is elsewhere takes no name; one of another name in the folder takes that."""
    assert folders("journal", journal="elsewhere/journal") == ["journal"]
    assert folders("journal", "mine", journal="out/mine")[0] == "journal"
    assert folders("journal", "mine", journal="out/mine")[1] != "mine"
    assert folders("journal", journal=str(Path("out/journal").absolute())) != ["journal"]
    assert folders("kept", "journal", journal="out/kept/journal")[0] != "kept"
    assert folders("journal", journal="out") == ["journal"]


def outcome(key: str = "one") -> dict[str, object]:
    fields: dict[str, object] = json.loads((Path("out") / key / "outcome.json").read_text())
    return fields


def write(*items: dict[str, object]) -> None:
    Path("items.jsonl").write_text("\n".join(map(json.dumps, items)))


def test_changed_item(cyberun: Cyberun) -> None:
    """An item whose parameters have changed under a key that is finished fails, and what is on the disk stays."""
    write(ITEM)
    assert cyberun(*BATCH).code == 0
    before = outcome()
    write({**ITEM, "prompt": "a hill"})
    done = cyberun(*BATCH)
    assert (done.code, done.out.splitlines()[-1]) == (3, "0 done, 1 failed, 0 uncertain, 0 left")
    assert "other parameters" in done.out
    assert outcome() == before


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]", b'{"task_id": "t'])
def test_damaged_outcome(damage: bytes, cyberun: Cyberun) -> None:
    """An outcome that was damaged is written anew."""
    write(ITEM)
    assert cyberun(*BATCH).code == 0
    before = outcome()
    Path("out/one/outcome.json").write_bytes(damage)
    assert cyberun(*BATCH).code == 0
    assert outcome() == before


def test_file_called_outcome(cyberun: Cyberun, server: LocalCyberun) -> None:
    """A file of the task that is called like the outcome gets another name, and is not written over."""
    server.workflow("notes")(lambda _: Output(b"the file", "outcome.json"))
    Path("items.jsonl").write_text('{"id": "one"}')
    done = cyberun("batch", "notes", "items.jsonl", "--out", "out", "--key", "id")
    assert done.code == 0, done.out
    assert outcome()["status"] == "completed"
    files = [path for path in Path("out/one").iterdir() if path.name != "outcome.json"]
    assert [path.read_bytes() for path in files] == [b"the file"]


def test_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be written leaves the old one, and nothing else."""
    path = tmp_path / "summary.json"
    write_whole(path, "old")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(Path, "replace", full)
        with pytest.raises(OSError, match=r"No space left.*summary\.json"):
            write_whole(path, "new")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("summary.json", "old")]


def test_full_disk(cyberun: Cyberun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the summary cannot be written, the last line says which file, and why; the counts are shown all the same."""
    write(ITEM)

    def full(path: Path, _: str) -> None:
        if path.name == "summary.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cyberun_async.cli._results.write_whole", full)
    done = cyberun(*BATCH)
    assert (done.code, done.out) == (1, "1 done, 0 failed, 0 uncertain, 0 left\n")
    assert done.err == "cyberun-async: out/summary.json cannot be written: No space left on device\n"
