"""The files of an outcome that comes from a journal, and file parameters that are known again by what they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch.conftest import Connect, submitted

from cyberun_async import ConfigurationError, InputFile, InvalidParameters, Journal, StorageError, TaskFailed
from cyberun_async._batch import file_digests
from cyberun_async._batch.file_digests import FileDigests
from cyberun_async._batch.fingerprint import fingerprint
from cyberun_async.local import LocalCyberun, LocalParameter
from cyberun_async.local.scripts import complete, fail

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def picture(server: LocalCyberun) -> str:
    """Have a workflow that takes a file, and makes one."""
    parameters = [LocalParameter("image", "file"), LocalParameter("n", "number")]
    server.workflow("picture", parameters=parameters, script=[complete()])(lambda _: PNG)
    return "picture"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


async def test_downloading_what_comes_from_a_journal(
    connect: Connect, picture: str, journal: Journal, tmp_path: Path
) -> None:
    """The second run gets the same files as the first one, by the outcome, by its result, and by its id."""
    folders = [tmp_path / name for name in ("first", "outcome", "result", "id")]
    for folder in folders:
        folder.mkdir()
    async with connect() as client:
        (first,) = await client.map(picture, [{}], journal=journal).gather()
        (second,) = await client.map(picture, [{}], journal=journal).gather()
        assert (first.is_from_journal, second.is_from_journal) == (False, True)
        subjects = (first, second, second.unwrap(), second.task_id)
        found = [await client.download(each, folder) for each, folder in zip(subjects, folders, strict=True)]  # type: ignore[arg-type]
    assert [[path.name for path in paths] for paths in found] == [[path.name for path in found[0]]] * 4
    assert [path.read_bytes() for (path,) in found] == [PNG] * 4


async def test_downloading_what_failed(
    connect: Connect, server: LocalCyberun, journal: Journal, tmp_path: Path
) -> None:
    """An outcome without a result raises why there is none, and nothing is asked for."""
    server.workflow("broken", script=[fail("out of memory")])(lambda _: PNG)
    async with connect() as client:
        (outcome,) = await client.map("broken", [{}], journal=journal).gather()
        before = len(server.requests)
        assert isinstance(outcome.error, TaskFailed)
        for subject in (outcome, outcome.error.result):
            with pytest.raises(TaskFailed):
                await client.download(subject, tmp_path)
    assert len(server.requests) == before


# File parameters


def spelled(image: Path) -> list[Any]:
    """Spell the same file in several ways."""
    relative = Path(os.path.relpath(image))
    link = image.with_name("link")
    link.symlink_to(image)
    roundabout = image.parent / ".." / image.parent.name / image.name
    return [image, relative, roundabout, link, InputFile(str(relative)), InputFile(image, name="x.png")]


async def test_a_file_counts_by_what_it_is(
    connect: Connect, server: LocalCyberun, picture: str, journal: Journal, tmp_path: Path
) -> None:
    """However a path is spelled, and wherever the program runs, it is the same parameter; with other bytes it is another."""
    image = tmp_path / "x.png"
    image.write_bytes(PNG + b"1")
    async with connect() as client:
        for path in spelled(image):
            (outcome,) = await client.map(picture, [("one", {"image": path})], journal=journal).gather()
            assert outcome.succeeded
        assert len(submitted(server)) == 1
        os.utime(image, (1, 1))
        (outcome,) = await client.map(picture, [("one", {"image": image})], journal=journal).gather()
        assert outcome.succeeded
        image.write_bytes(PNG + b"2")
        (outcome,) = await client.map(picture, [("one", {"image": image})], journal=journal).gather()
        assert isinstance(outcome.error, InvalidParameters)
        assert "other parameters under the key 'one'" in str(outcome.error)
        image.unlink()
        (outcome,) = await client.map(picture, [("one", {"image": image})], journal=journal).gather()
        assert isinstance(outcome.error, StorageError)
        assert "x.png: it cannot be read: No such file or directory" in str(outcome.error)
    assert len(submitted(server)) == 1


async def digest(value: object, compare: Any = "content") -> str:
    return await FileDigests(compare).digest({"image": value})


async def test_what_differs(tmp_path: Path) -> None:
    """Files differ by path, bytes, name and type; bytes of one's own are no file."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(PNG)
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    values: list[object] = [a, b, PNG, str(a), InputFile(a, name="c.png"), InputFile(a, content_type="image/x-png")]
    digests = [await digest(value) for value in values]
    assert len(set(digests)) == len(values)
    assert await digest(InputFile(a)) == digests[0]
    assert await digest(InputFile(PNG, name="1.png")) == fingerprint({"image": InputFile(PNG, name="1.png")})


async def test_size_and_time(tmp_path: Path) -> None:
    """Where that is asked for a file counts by its size and time, and its bytes are not read."""
    image = tmp_path / "a.png"
    image.write_bytes(PNG)
    os.utime(image, ns=(1, 1))
    before = await digest(image, "size_and_time")
    image.write_bytes(PNG[::-1])
    os.utime(image, ns=(1, 1))
    assert await digest(image, "size_and_time") == before
    os.utime(image, ns=(2, 2))
    assert await digest(image, "size_and_time") != before
    with pytest.raises(ConfigurationError, match="compare_files must be 'content' or 'size_and_time', not 'mtime'"):
        Journal(tmp_path / "journal", compare_files="mtime")  # type: ignore[arg-type]


@pytest.mark.parametrize("earlier", ["content", "size_and_time", "spelling"])
@pytest.mark.parametrize("later", ["content", "size_and_time"])
async def test_however_files_were_compared(tmp_path: Path, earlier: Any, later: Any) -> None:
    """A journal that was written by another comparison is understood, that of the first version by its own rule."""
    image = tmp_path / "a.png"
    image.write_bytes(PNG)
    written = fingerprint({"image": image}) if earlier == "spelling" else await digest(image, earlier)
    digests = FileDigests(later)
    assert await digests.is_same(written, {"image": image})
    image.with_name("b.png").write_bytes(PNG)
    assert not await digests.is_same(written, {"image": image.with_name("b.png")})


async def test_a_file_that_many_share_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read again only when it may have changed, and what is kept is bounded."""
    read: list[Path] = []
    real = Path.open

    def counting(path: Path, *args: Any, **kwargs: Any) -> Any:
        read.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counting)
    monkeypatch.setattr(file_digests, "MAX_KNOWN", 2)
    digests = FileDigests("content")
    for name in "aabcaa":
        path = tmp_path / name
        if not path.exists():
            path.write_bytes(name.encode())
            read.clear()
        await digests.digest({"image": path})
    assert [path.name for path in read] == ["c", "a"]


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize(
    "make",
    [
        lambda at: at / "none",
        lambda at: at,
        lambda at: Path(f"{at}/a\0b"),
        pytest.param(a_pipe, marks=pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")),
    ],
)
async def test_a_file_that_cannot_be_read(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """What is no file cannot be known again."""
    with pytest.raises(
        StorageError, match=r"it cannot be read: .*; a journal recognises an item by the contents of its files"
    ):
        await digest(make(tmp_path))
