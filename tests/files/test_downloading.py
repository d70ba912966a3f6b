"""Files of a result in a directory: whole under their names, each byte fetched once, or a named error."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import random
import shutil
import sys
import zlib
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

import anyio
import httpx
import pytest
from support.sampling import BASE_SEED, count
from support.shelf import QUICK, SECRET, TASK_ID, Get, Plan, Shelf, a_shelf

from cyberun_async import (
    AsyncClient,
    InvalidParameters,
    Limits,
    OutputFile,
    Retries,
    StorageError,
    TaskCancelled,
    TaskFailed,
    TaskResult,
    TaskStatus,
    Timeouts,
)

MIB = 1024 * 1024
NEVER = Retries(budget=0)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@cache
def data_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def gets_of(shelf: Shelf, key: str) -> list[Get]:
    return [get for get in shelf.gets if get.key == key]


# Whole files


async def test_all_files_in_order(tmp_path: Path) -> None:
    """Every file is there under its own name, in the order of the result, and nothing else is."""
    async with a_shelf() as shelf, shelf.client() as client:
        for index in (2, 0, 1):
            shelf.put(f"9.images.{index}", data_of(1000 + index, index))
        paths = await client.download(TASK_ID, tmp_path)
    assert [path.name for path in paths] == ["9.images.2", "9.images.0", "9.images.1"]
    assert [path.read_bytes() for path in paths] == [data_of(1000 + i, i) for i in (2, 0, 1)]
    assert names_in(tmp_path) == sorted(path.name for path in paths)


@pytest.mark.parametrize("size", [0, 1, 65536, 3 * MIB, 9 * MIB + 1], ids=str)
async def test_sizes(size: int, tmp_path: Path) -> None:
    """A file is whole whatever its size, read through the parser or past it."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(size))
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(size)


async def test_nothing_to_fetch(tmp_path: Path) -> None:
    """A task that has completed without a file gives none."""
    async with a_shelf() as shelf, shelf.client() as client:
        assert await client.download(TASK_ID, tmp_path) == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param("failed", TaskFailed, id="failed"),
        pytest.param("cancelled", TaskCancelled, id="cancelled"),
        pytest.param("running", StorageError, id="running"),
    ],
)
async def test_no_files(status: str, error: type[Exception], tmp_path: Path) -> None:
    """A task that has no files says why."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.status = status
        with pytest.raises(error, match=status):
            await client.download(TASK_ID, tmp_path)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5])
async def test_concurrency_is_checked(concurrency: int, tmp_path: Path) -> None:
    """The number of files at once is a whole one above zero."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(InvalidParameters, match="concurrency"):
            await client.download(TASK_ID, tmp_path, concurrency=concurrency)


@pytest.mark.parametrize(
    ("concurrency", "limit", "most"), [pytest.param(2, 8, 2, id="call"), pytest.param(8, 3, 3, id="client")]
)
async def test_bounded(concurrency: int, limit: int, most: int, tmp_path: Path) -> None:
    """No more files are fetched at once than the call and the client allow."""
    async with a_shelf() as shelf, shelf.client(limits=Limits(max_transfers=limit)) as client:
        for index in range(6):
            shelf.put(f"{index}.bin", b"x" * 10)
            shelf.plan(f"{index}.bin", Plan(cut=5, stall=True))
        async with anyio.create_task_group() as group:

            async def fetch() -> None:
                await client.download(TASK_ID, tmp_path, concurrency=concurrency)

            group.start_soon(fetch)
            while len(shelf.gets) < most:
                await anyio.wait_all_tasks_blocked()
            for _ in range(20):
                await anyio.wait_all_tasks_blocked()
            assert len(shelf.gets) == most
            group.cancel_scope.cancel()


# Breaks


@pytest.mark.slow
@pytest.mark.soak
async def test_many_cut_downloads(tmp_path: Path) -> None:
    """Cut at random places, every file ends up whole, and no byte is fetched twice but those that a cut lost."""
    chance = random.Random(BASE_SEED or 20260101)
    cuts: dict[str, list[Plan]] = {}
    async with a_shelf() as shelf, shelf.client() as client:
        for index in range(count(sample=60, soak=200)):
            key, size = f"{index:03}.bin", chance.randrange(1, 300_000)
            shelf.put(key, data_of(size, index))
            cuts[key] = [
                Plan(cut=chance.randrange(size), by_reset=chance.random() < 0.3) for _ in range(chance.randrange(1, 5))
            ]
            shelf.plan(key, *cuts[key])
        paths = await client.download(TASK_ID, tmp_path, concurrency=8)
    assert [path.read_bytes() for path in paths] == list(shelf.files.values())
    assert names_in(tmp_path) == sorted(shelf.files)
    for key, plans in cuts.items():
        gets = gets_of(shelf, key)
        for before, after, plan in zip(gets, gets[1:], plans, strict=False):
            arrived = before.start + before.sent
            # A reset may lose what was on its way; a plain end loses nothing.
            assert after.start <= arrived if plan.by_reset else after.start == arrived


@pytest.mark.parametrize("size", [100_000, 18 * MIB], ids=["parser", "past the parser"])
async def test_resumes_after_failure(size: int, tmp_path: Path) -> None:
    """What a download leaves when it gives up, the next one goes on from; by `If-Range`, so of the same version."""
    data = data_of(size)
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        shelf.put("a.bin", data)
        shelf.plan("a.bin", Plan(cut=size // 2))
        with pytest.raises(StorageError) as caught:
            await client.download(TASK_ID, tmp_path)
        left = names_in(tmp_path)
        [path] = await client.download(TASK_ID, tmp_path)
    assert (caught.value.file, caught.value.bytes_done, caught.value.retryable) == ("a.bin", size // 2, True)
    assert caught.value.task_id == TASK_ID
    assert [name.startswith(".a.bin.") for name in left] == [True, True]
    assert [get.headers.get("range") for get in shelf.gets] == [None, f"bytes={size // 2}-"]
    assert shelf.gets[1].headers["if-range"] == shelf.etags["a.bin"]
    assert path.read_bytes() == data
    assert names_in(tmp_path) == ["a.bin"]


KILLED = """
import sys, anyio
from cyberun_async import AsyncClient

async def main():
    async with AsyncClient("sk-1", base_url=sys.argv[1]) as client:
        await client.download("t-1", sys.argv[2], on_progress=tell)

def tell(file, done, total):
    if done >= 4 * 1024 * 1024:
        print("enough", flush=True)

anyio.run(main)
"""


@pytest.mark.slow
async def test_survives_kill_9(tmp_path: Path) -> None:
    """Killed in the middle, a download is gone on with by the next process, and its name is never seen before the end."""
    data = data_of(12 * MIB)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data)
        shelf.plan("a.bin", Plan(cut=9 * MIB, stall=True))
        command = [sys.executable, "-c", KILLED, shelf.base_url, str(tmp_path)]
        async with await anyio.open_process(command, stderr=None) as process:
            assert process.stdout is not None
            printed = b""
            while b"enough" not in printed:
                printed += await process.stdout.receive()
            seen = names_in(tmp_path)
            process.kill()
        [path] = await client.download(TASK_ID, tmp_path)
    assert "a.bin" not in seen
    assert path.read_bytes() == data
    assert shelf.gets[1].status == 206
    assert shelf.gets[1].start >= 4 * MIB
    assert names_in(tmp_path) == ["a.bin"]


async def test_cancelled(tmp_path: Path) -> None:
    """A cancelled download leaves no connection, no final name, and what it can be gone on from."""
    data = data_of(6 * MIB)
    written = anyio.Event()

    def watch(file: OutputFile, done: int, total: int | None) -> None:
        if done >= 4 * MIB:
            written.set()

    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data)
        shelf.plan("a.bin", Plan(cut=5 * MIB, stall=True))
        async with anyio.create_task_group() as group:

            async def fetch() -> None:
                await client.download(TASK_ID, tmp_path, on_progress=watch)

            group.start_soon(fetch)
            await written.wait()
            group.cancel_scope.cancel()
        assert "a.bin" not in names_in(tmp_path)
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data
    assert shelf.gets[1].start >= 4 * MIB


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(no_range=True), id="200 to a range"),
        pytest.param(Plan(status=416, headers="Content-Range: bytes */7\r\n"), id="416 of another size"),
        pytest.param(
            Plan(status=416, body="<ActualObjectSize>7</ActualObjectSize>"), id="416 of another size, in S3's way"
        ),
        pytest.param(Plan(shifted=3), id="another range than asked for"),
        pytest.param(Plan(status=206), id="206 without Content-Range"),
    ],
)
async def test_starts_over(plan: Plan, tmp_path: Path) -> None:
    """An answer that what is there cannot be gone on with by makes the download start over."""
    data = data_of(50_000)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data)
        shelf.plan("a.bin", Plan(cut=20_000), plan)
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data
    assert shelf.gets[1].headers["range"] == "bytes=20000-"
    assert shelf.gets[-1].start == 0


async def test_changed_on_the_way(tmp_path: Path) -> None:
    """A file that is another one after a break is fetched from its beginning."""
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        shelf.put("a.bin", data_of(50_000))
        shelf.plan("a.bin", Plan(cut=20_000))
        with pytest.raises(StorageError):
            await client.download(TASK_ID, tmp_path)
        shelf.put("a.bin", data_of(40_000, 2))
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(40_000, 2)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'], ids=["none", "weak"])
async def test_no_version_no_resuming(etag: str, tmp_path: Path) -> None:
    """Without a tag that tells versions apart, a broken download starts over rather than mix two of them."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(50_000), etag=etag)
        shelf.plan("a.bin", Plan(cut=20_000))
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(50_000)
    assert [get.headers.get("range") for get in shelf.gets] == [None, None]


async def test_nothing_left_that_cannot_resume(tmp_path: Path) -> None:
    """What a failed download could not resume from is removed."""
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        shelf.put("a.bin", data_of(50_000), etag="")
        shelf.plan("a.bin", Plan(cut=20_000))
        with pytest.raises(StorageError):
            await client.download(TASK_ID, tmp_path)
    assert names_in(tmp_path) == []


async def test_whole_but_not_renamed(tmp_path: Path) -> None:
    """A process that died between the last byte and the new name costs one byte: the last, asked for again."""

    class Killed(Exception):
        """Ends a download at its end."""

    def kill(_: OutputFile, done: int, total: int | None) -> None:
        if done == total:
            raise Killed

    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(50_000), etag='"opaque"')
        with pytest.raises(Killed):
            await client.download(TASK_ID, tmp_path, on_progress=kill)
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(50_000)
    assert (shelf.gets[-1].start, shelf.gets[-1].sent) == (49_999, 1)
    assert names_in(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_passing_refusals(status: int, tmp_path: Path) -> None:
    """A storage that is busy is asked again."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        shelf.plan("a.bin", Plan(status=status, headers="Retry-After: 0\r\n"), Plan(status=status))
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == b"data"


# Checks


@pytest.mark.parametrize(
    ("etag", "headers"),
    [
        pytest.param(None, "x-amz-checksum-crc32: {crc32}\r\n", id="crc32"),
        pytest.param('"x"', "x-amz-checksum-sha256: {sha256}\r\n", id="sha256"),
        pytest.param('"x"', "Repr-Digest: sha-256=:{sha256}:\r\n", id="Repr-Digest"),
    ],
)
async def test_wrong_bytes(etag: str | None, headers: str, tmp_path: Path) -> None:
    """Bytes that do not come to the checksum are fetched once more, and never get the file's name."""
    right, wrong = data_of(1000), data_of(1000, 2)
    sha256 = base64.b64encode(hashlib.sha256(right).digest()).decode()
    crc32 = base64.b64encode(zlib.crc32(right).to_bytes(4, "big")).decode()
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", right, etag=etag, headers=headers.format(sha256=sha256, crc32=crc32))
        shelf.files["a.bin"] = wrong
        with pytest.raises(StorageError, match="checksum") as caught:
            await client.download(TASK_ID, tmp_path)
        assert (len(shelf.gets), caught.value.retryable) == (2, True)
        assert names_in(tmp_path) == []
        shelf.files["a.bin"] = right
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == right


@pytest.mark.parametrize("promised", [900, 1100], ids=["more than promised", "less than promised"])
async def test_length(promised: int, tmp_path: Path) -> None:
    """A body of another length than promised is no file."""
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        shelf.put("a.bin", data_of(1000), etag='"x"')
        shelf.plan("a.bin", *[Plan(promised=promised, cut=1000)] * 3)
        if promised > 1000:
            with pytest.raises(StorageError):
                await client.download(TASK_ID, tmp_path)
            assert "a.bin" not in names_in(tmp_path)
        else:
            [path] = await client.download(TASK_ID, tmp_path)
            assert path.stat().st_size == 900


async def test_more_than_the_range_promised(tmp_path: Path) -> None:
    """A part that is longer than its range is none: the download starts over."""
    part = Plan(status=206, body="y" * 600, headers='ETag: "x"\r\nContent-Range: bytes 500-999/1000\r\n')
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        shelf.put("a.bin", data_of(1000), etag='"x"')
        shelf.plan("a.bin", Plan(cut=500))
        with pytest.raises(StorageError):
            await client.download(TASK_ID, tmp_path)
        shelf.plan("a.bin", part)
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(1000)


async def test_without_a_length(tmp_path: Path) -> None:
    """A storage that announces no length is believed when the body ends, and its checksum is still looked at."""
    told: list[tuple[int, int | None]] = []
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(1000))
        shelf.plan("a.bin", Plan(chunked=True))
        [path] = await client.download(TASK_ID, tmp_path, on_progress=lambda _, done, total: told.append((done, total)))
    assert path.read_bytes() == data_of(1000)
    assert told == [(0, None), (1000, None)]


# What is there already


async def test_not_fetched_again(tmp_path: Path) -> None:
    """What is there and whole costs one byte to look at."""
    told: list[tuple[int, int | None]] = []
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(50_000))
        first = await client.download(TASK_ID, tmp_path)
        again = await client.download(TASK_ID, tmp_path, on_progress=lambda _, done, total: told.append((done, total)))
    assert first == again
    assert [get.sent for get in shelf.gets] == [50_000, 1]
    assert told == [(50_000, 50_000)]


async def test_same_by_time(tmp_path: Path) -> None:
    """Where there is no checksum, the size and the time of the file tell that it is the same."""
    modified = "Last-Modified: Sat, 01 Feb 2025 10:00:00 GMT\r\n"
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(1000), etag='"opaque-3"', headers=modified)
        [path] = await client.download(TASK_ID, tmp_path)
        assert path.stat().st_mtime == 1738404000
        assert await client.download(TASK_ID, tmp_path) == [path]
        assert [get.sent for get in shelf.gets] == [1000, 1]
        os.utime(path)
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]


@pytest.mark.parametrize("size", [1000, 999, 0], ids=["same size", "other size", "empty"])
async def test_others_stay(size: int, tmp_path: Path) -> None:
    """Another file of the same name stays as it is; the new one gets a number, and keeps it."""
    other = data_of(size, 2)
    (tmp_path / "a.bin").write_bytes(other)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(1000))
        first = await client.download(TASK_ID, tmp_path)
        again = await client.download(TASK_ID, tmp_path)
    assert first == again == [tmp_path / "a-2.bin"]
    assert (tmp_path / "a.bin").read_bytes() == other
    assert first[0].read_bytes() == data_of(1000)


async def test_empty_file_is_there(tmp_path: Path) -> None:
    """An empty file that is there is known by the 416 to the question for its first byte."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"", etag='"x"', headers="Last-Modified: Sat, 01 Feb 2025 10:00:00 GMT\r\n")
        [path] = await client.download(TASK_ID, tmp_path)
        assert path.read_bytes() == b""


async def test_empty_file_in_s3(tmp_path: Path) -> None:
    """An empty file in S3 is known by the body of the 416, where its size is said."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"", etag='"x"', headers="Last-Modified: Sat, 01 Feb 2025 10:00:00 GMT\r\n")
        [path] = await client.download(TASK_ID, tmp_path)
        shelf.plan("a.bin", Plan(status=416, body="<Error><ActualObjectSize>0</ActualObjectSize></Error>"))
        await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == b""
    assert len(shelf.gets) >= 2


async def test_range_ignored_when_looking(tmp_path: Path) -> None:
    """A storage without ranges is looked at all the same."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(50_000))
        await client.download(TASK_ID, tmp_path)
        shelf.plan("a.bin", Plan(no_range=True))
        await client.download(TASK_ID, tmp_path)
        # The connection that was left in the middle of an answer does no harm.
        await client.download(TASK_ID, tmp_path)
    assert names_in(tmp_path) == ["a.bin"]


async def test_two_downloads_of_one_file(tmp_path: Path) -> None:
    """Of two downloads of the same file into one directory, the second is told so, and harms nothing."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(1000))
        shelf.plan("a.bin", Plan(cut=500, stall=True))
        async with anyio.create_task_group() as group:

            async def fetch() -> None:
                await client.download(TASK_ID, tmp_path)

            group.start_soon(fetch)
            while not shelf.gets:
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(StorageError, match="another download"):
                await client.download(TASK_ID, tmp_path)
            group.cancel_scope.cancel()
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(1000)


# Links


async def test_renewed_once_for_all(tmp_path: Path) -> None:
    """Expired links are renewed by one read of the result, for all files that wait for them."""
    async with a_shelf() as shelf, shelf.client() as client:
        for index in range(6):
            shelf.put(f"{index}.bin", data_of(100, index))
        result = await client.tasks.result(TASK_ID)
        shelf.valid_from = 2
        assert shelf.results == 1
        paths = await client.download(result, tmp_path, concurrency=6)
    assert [path.read_bytes() for path in paths] == [data_of(100, index) for index in range(6)]
    assert shelf.results == 2


async def test_expires_on_the_way(tmp_path: Path) -> None:
    """A link that expires in the middle of a file is renewed, and the file is gone on with, as often as it takes."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(90_000))
        shelf.plan(
            "a.bin",
            *[plan for at in (30_000, 20_000) for plan in (Plan(cut=at), Plan(status=403))],
        )
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(90_000)
    assert shelf.results == 3
    assert [get.start for get in shelf.gets if get.status in {200, 206}] == [0, 30_000, 50_000]


@pytest.mark.parametrize(
    ("status", "asked", "text"),
    [
        pytest.param(403, 2, "rejected the presigned URL", id="403"),
        pytest.param(401, 2, "rejected the presigned URL", id="401"),
        pytest.param(404, 1, "outputs for 7 days", id="404"),
        pytest.param(410, 1, "any more", id="410"),
        pytest.param(307, 1, "redirects", id="307"),
        pytest.param(405, 1, "refused", id="405"),
    ],
)
async def test_refused(status: int, asked: int, text: str, tmp_path: Path) -> None:
    """A file that the storage refuses for good is an error that names it; a fresh link is tried once where it may help."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        shelf.plan("a.bin", *[Plan(status=status, body="<Code>NoSuchKey</Code>")] * 5)
        with pytest.raises(StorageError, match=text) as caught:
            await client.download(TASK_ID, tmp_path)
    assert (caught.value.file, caught.value.status, caught.value.retryable) == ("a.bin", status, False)
    assert "NoSuchKey" in str(caught.value)
    assert len(shelf.gets) == asked
    assert names_in(tmp_path) == []


async def test_says_what_is_missing(tmp_path: Path) -> None:
    """One file that is gone for good does not keep the others away, and the error names all that are missing."""
    async with a_shelf() as shelf, shelf.client() as client:
        for key in ("a.bin", "b.bin", "c.bin", "d.bin"):
            shelf.put(key, b"data")
        shelf.plan("b.bin", Plan(status=404))
        shelf.plan("c.bin", Plan(status=404))
        with pytest.raises(StorageError, match=r"b\.bin of task t-1: .*; also missing: c\.bin") as caught:
            await client.download(TASK_ID, tmp_path, concurrency=1)
    assert caught.value.file == "b.bin"
    assert names_in(tmp_path) == ["a.bin", "d.bin"]


async def test_gives_up_on_a_dead_storage(tmp_path: Path) -> None:
    """A storage that does not answer is not asked for the other files as well."""
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        for key in ("a.bin", "b.bin"):
            shelf.put(key, b"data")
            shelf.plan(key, Plan(cut=0))
        with pytest.raises(StorageError, match=r"also missing: b\.bin"):
            await client.download(TASK_ID, tmp_path, concurrency=1)
    assert len(shelf.gets) == 1


# The disk


@pytest.mark.parametrize("kind", ["file", "below a file", "target"])
async def test_directory_in_the_way(kind: str, tmp_path: Path) -> None:
    """A directory that is none, and a name that a directory has, are named errors."""
    directory = tmp_path / "out"
    if kind == "target":
        (directory / "a.bin").mkdir(parents=True)
    else:
        directory.write_bytes(b"")
        directory = directory / "deeper" if kind == "below a file" else directory
    expected = "a directory of this name" if kind == "target" else "not a directory"
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        with pytest.raises(StorageError, match=expected) as caught:
            await client.download(TASK_ID, directory)
    assert (caught.value.file, caught.value.retryable) == ("a.bin", False)
    if kind == "target":
        assert names_in(directory) == ["a.bin"]


async def test_directory_is_made(tmp_path: Path) -> None:
    """A directory that is missing is made, with those above it, also for a task without files."""
    async with a_shelf() as shelf, shelf.client() as client:
        assert await client.download(TASK_ID, tmp_path / "none") == []
        shelf.put("a.bin", b"data")
        assert await client.download(TASK_ID, tmp_path / "a/b") == [tmp_path / "a/b/a.bin"]
    assert names_in(tmp_path) == ["a", "none"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=["NUL", "half a character"])
async def test_directory_that_cannot_be(name: str, tmp_path: Path) -> None:
    """A directory that no system can have is a named error."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(StorageError, match="there can be no such directory"):
            await client.download(TASK_ID, tmp_path / name)


async def test_directory_removed_meanwhile(tmp_path: Path) -> None:
    """A directory that somebody removes during the download is a named error."""

    async def remove(*_: object) -> None:
        await anyio.to_thread.run_sync(shutil.rmtree, tmp_path / "out", True)

    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(1000), etag='"x"')
        with pytest.raises(StorageError, match="removed meanwhile"):
            await client.download(TASK_ID, tmp_path / "out", on_progress=remove)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk to fill")
async def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a named error, and leaves no half file under the final name."""
    from cyberun_async._files import part_file

    real = os.write
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(part_file.os, "write", lambda fd, data: real(fd if len(data) < 10_000 else full, data))
    try:
        async with a_shelf() as shelf, shelf.client() as client:
            shelf.put("a.bin", data_of(50_000))
            with pytest.raises(StorageError, match="the disk is full"):
                await client.download(TASK_ID, tmp_path)
    finally:
        os.close(full)
    assert names_in(tmp_path) == []


async def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that may not be written to is a named error."""
    from cyberun_async._files import part_file

    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(part_file.os, "open", refuse)  # Root may write anywhere.
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        with pytest.raises(StorageError, match="no permission"):
            await client.download(TASK_ID, tmp_path)


async def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links, files get their names by a rename, and still replace nothing."""
    from cyberun_async._files import part_file

    def refuse(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(part_file.os, "link", refuse)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]
        shelf.put("a.bin", b"other data")
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"data"


async def test_killed_between_both_names(tmp_path: Path) -> None:
    """A process killed after a file got its name and before it lost the temporary one leaves a whole file alone."""
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        shelf.put("a.bin", data_of(1000), etag='"x"')
        shelf.plan("a.bin", Plan(cut=500))
        with pytest.raises(StorageError):
            await client.download(TASK_ID, tmp_path)
        [part] = [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
        part.write_bytes(data_of(1000))
        os.link(part, tmp_path / "a.bin")
        shelf.put("a.bin", data_of(800, 2), etag='"y"')
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]
    assert (tmp_path / "a.bin").read_bytes() == data_of(1000)
    assert names_in(tmp_path) == ["a-2.bin", "a.bin"]


HOSTILE = [
    "../../etc/passwd",
    "..",
    "/etc/passwd",
    "C:\\x",
    "nul",
    "NUL.png",
    "x" * 300 + ".png",
    "new\nline\x07\x00.png",
    "Image.png",
    "image.png",
    ".hidden",
    "é.png",
    "e\u0301.png",
]


async def test_hostile_names(tmp_path: Path) -> None:
    """Whatever the outputs are called, their files stay inside of the directory, and apart."""
    directory = tmp_path / "out"
    directory.mkdir()
    async with a_shelf() as shelf, shelf.client() as client:
        for index, key in enumerate(HOSTILE):
            shelf.put(key, data_of(100, index))
        paths = await client.download(TASK_ID, directory)
    assert [path.read_bytes() for path in paths] == [data_of(100, index) for index in range(len(HOSTILE))]
    assert {path.parent for path in paths} == {directory}
    assert len({path.name.casefold() for path in paths}) == len(HOSTILE)
    assert names_in(tmp_path) == ["out"]
    assert names_in(directory) == sorted(path.name for path in paths)


async def test_a_planted_link(tmp_path: Path) -> None:
    """A symbolic link under the temporary or the final name is not written through."""
    (tmp_path / "out").mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out/a.bin").symlink_to(victim)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(1000))
        assert await client.download(TASK_ID, tmp_path / "out") == [tmp_path / "out/a-2.bin"]
    assert victim.read_bytes() == b"precious"


# Progress


async def test_progress(tmp_path: Path) -> None:
    """Progress rises block by block, goes on after a break where it was, and may be told to a coroutine function."""
    told: list[tuple[str, int, int | None]] = []

    async def tell(file: OutputFile, done: int, total: int | None) -> None:
        await anyio.lowlevel.checkpoint()
        told.append((file.name, done, total))

    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(5 * MIB))
        shelf.plan("a.bin", Plan(cut=3 * MIB))
        await client.download(TASK_ID, tmp_path, on_progress=tell)
    done = [done for _, done, _ in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 5 * MIB)
    assert len(done) >= 5
    assert {(name, total) for name, _, total in told} == {("a.bin", 5 * MIB)}


async def test_what_progress_raises(tmp_path: Path) -> None:
    """What `on_progress` raises ends the download, and comes out as it is."""

    def fail(*args: object) -> None:
        raise LookupError("enough")

    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        with pytest.raises(LookupError, match="enough"):
            await client.download(TASK_ID, tmp_path, on_progress=fail)


# Secrets


@pytest.mark.parametrize("injected", [False, True], ids=["own client", "user's client"])
async def test_signatures_are_never_told(injected: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No log at any level, no repr and no message shows a signature, through a user's own client neither."""
    caplog.set_level(logging.DEBUG)
    async with (
        a_shelf() as shelf,
        httpx.AsyncClient(verify=False) as user,
        shelf.client(storage_client=user if injected else None) as client,
    ):
        shelf.put("a.bin", data_of(1000))
        result = await client.tasks.result(TASK_ID)
        shelf.plan("a.bin", Plan(cut=5), Plan(status=500), Plan(status=403), Plan(status=404))
        with pytest.raises(StorageError) as caught:
            await client.download(result, tmp_path)
        async with client.open_file(result.files[0]) as stream:
            shown = [repr(result), repr(result.files), repr(client), repr(stream), repr(caught.value)]
    texts = [record.getMessage() + repr(record.args) for record in caplog.records] + shown + [str(caught.value)]
    assert not [text for text in texts if SECRET in text]
    assert any("renewed the presigned URLs" in text for text in texts)


async def test_injected_client(tmp_path: Path) -> None:
    """A user's client lends its transport alone: none of its headers, cookies or auth, and it stays open."""
    async with a_shelf() as shelf:
        user = httpx.AsyncClient(
            verify=False, headers={"X-Mine": "1"}, cookies={"mine": "1"}, auth=("a", "b"), follow_redirects=True
        )
        async with user:
            async with shelf.client(storage_client=user) as client:
                shelf.put("a.bin", data_of(10 * MIB))
                shelf.plan("a.bin", Plan(cut=5 * MIB))
                [path] = await client.download(TASK_ID, tmp_path)
            assert not user.is_closed
    assert path.read_bytes() == data_of(10 * MIB)
    for get in shelf.gets:
        assert not {"x-mine", "cookie", "authorization"} & set(get.headers)


async def test_no_key_reaches_the_storage(tmp_path: Path) -> None:
    """A request to the storage carries neither key nor team."""
    async with (
        a_shelf() as shelf,
        AsyncClient("ey.a.b", team_id="5f0c6c56-0000-4000-8000-000000000000", base_url=shelf.base_url) as client,
    ):
        shelf.put("a.bin", b"data")
        await client.download(TASK_ID, tmp_path)
    assert sorted(shelf.gets[0].headers) == ["accept-encoding", "host"]


async def test_closed_client(tmp_path: Path) -> None:
    """A closed client fetches nothing."""
    from cyberun_async import ConfigurationError

    async with a_shelf() as shelf:
        async with shelf.client() as client:
            shelf.put("a.bin", b"data")
            result = await client.tasks.result(TASK_ID)
        with pytest.raises(ConfigurationError, match="closed"):
            await client.download(result, tmp_path)


async def test_silent_storage(tmp_path: Path) -> None:
    """A storage that falls silent counts as broken after `Timeouts.read`, and the download goes on elsewhere."""
    async with a_shelf() as shelf, shelf.client(timeouts=Timeouts(read=0.2), retries=QUICK) as client:
        shelf.put("a.bin", data_of(9 * MIB))
        shelf.plan("a.bin", Plan(cut=5 * MIB, stall=True))
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(9 * MIB)
    assert [get.start for get in shelf.gets] == [0, 5 * MIB]


@pytest.mark.parametrize(("seed", "name"), [(1, "a.bin"), (2, "a-2.bin")], ids=["the same", "another"])
async def test_name_taken_meanwhile(seed: int, name: str, tmp_path: Path) -> None:
    """A name that somebody takes during the download is left to them; the same file is not kept twice."""

    async def take(file: OutputFile, done: int, total: int | None) -> None:
        await anyio.Path(tmp_path / "a.bin").write_bytes(data_of(1000, seed))

    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(1000))
        assert await client.download(TASK_ID, tmp_path, on_progress=take) == [tmp_path / name]
    assert names_in(tmp_path) == sorted({"a.bin", name})
    assert (tmp_path / "a.bin").read_bytes() == data_of(1000, seed)


async def test_dangling_link(tmp_path: Path) -> None:
    """A symbolic link that leads nowhere has the name, and is no file."""
    (tmp_path / "a.bin").symlink_to(tmp_path / "nowhere")
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("what", ["a loop", "unreadable"])
async def test_no_file_to_compare(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has the name and cannot be read stays, as any other file."""
    if what == "a loop":
        (tmp_path / "a.bin").symlink_to(tmp_path / "a.bin")
    else:
        (tmp_path / "a.bin").write_bytes(b"data")
        monkeypatch.setattr(os, "access", lambda *_: False)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]


async def test_url_that_is_none(tmp_path: Path) -> None:
    """A link that cannot be one is an error at once, which does not show it."""
    result = TaskResult(id=TASK_ID, status=TaskStatus.COMPLETED, download_url=f"ftp://x/a.bin?sig={SECRET}")
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(StorageError, match="unsupported protocol") as caught:
            await client.download(result, tmp_path)
    assert not caught.value.retryable
    assert SECRET not in str(caught.value)


async def test_nobody_there(tmp_path: Path) -> None:
    """A storage to which no connection can be made is an error once the retries are used up."""
    result = TaskResult(id=TASK_ID, status=TaskStatus.COMPLETED, download_url=f"http://127.0.0.1:9/a.bin?sig={SECRET}")
    async with a_shelf() as shelf, shelf.client(retries=Retries(budget=0.05, initial=0.01)) as client:
        with pytest.raises(StorageError) as caught:
            await client.download(result, tmp_path)
    assert caught.value.retryable


async def test_finished_before_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary file that somebody takes away before it is ours is made anew, so that nothing of theirs is touched."""
    from cyberun_async._files import part_file

    real, taken = part_file.lock, []

    def take_away_first(descriptor: int) -> bool | None:
        if not taken:
            [part] = tmp_path.glob(".*.part")
            taken.append(part.rename(tmp_path / "theirs"))
            taken[0].unlink()
        return real(descriptor)

    monkeypatch.setattr(part_file, "lock", take_away_first)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"data")
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]
    assert names_in(tmp_path) == ["a.bin"]


async def test_part_ends_short(tmp_path: Path) -> None:
    """A part that ends before the file does is gone on with."""
    part = Plan(status=206, body="x" * 20, headers='ETag: "x"\r\nContent-Range: bytes 50-99/100\r\n')
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"x" * 100, etag='"x"')
        shelf.plan("a.bin", Plan(cut=50), part)
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == b"x" * 100
    assert shelf.gets[-1].start == 70


@pytest.mark.soak
@pytest.mark.parametrize("size", [1000, 9 * MIB], ids=["parser", "past the parser"])
async def test_cancelled_anywhere(size: int, tmp_path: Path) -> None:
    """Cancelled after any number of turns of the loop, a download leaves no connection, and the next one works."""
    turns, finished = 0, False
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(size))
        while not finished:
            with anyio.CancelScope() as scope:

                async def cancel_later(scope: anyio.CancelScope = scope, turns: int = turns) -> None:
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

                async with anyio.create_task_group() as group:
                    group.start_soon(cancel_later)
                    await client.download(TASK_ID, tmp_path)
                    finished = True
                    group.cancel_scope.cancel()
            turns += 1 + turns // count(sample=2, soak=8)
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == data_of(size)
    assert names_in(tmp_path) == ["a.bin"]


async def test_cancelled_as_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes just as its caller leaves is closed."""
    from cyberun_async._files import storage

    async def leave_at_the_end(work: Callable[[], Awaitable[None]], **_: object) -> None:
        await work()
        raise LookupError

    monkeypatch.setattr(storage, "run_in_child_task", leave_at_the_end)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data_of(5 * MIB))
        with pytest.raises(LookupError):
            await client.download(TASK_ID, tmp_path)
    assert names_in(tmp_path) == []
