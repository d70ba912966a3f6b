"""What the bytes of an upload come from: whatever can be read, and nothing of it stays open."""

from __future__ import annotations

import array
import asyncio
import io
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from support.in_memory import Reply, in_memory
from support.tables import table

from cyberun_async import InputFile, StorageError
from cyberun_async._files import source

DATA = bytes(range(256)) * 40


class OnlyRead:
    """What has nothing but `read`."""

    def __init__(self, data: bytes = DATA) -> None:
        self._io = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._io.read(size)


class AllAtOnce:
    """What gives all it has."""

    def __init__(self) -> None:
        self._left = [DATA]

    def read(self) -> bytes:
        return self._left.pop() if self._left else b""


class WithoutSeekable(OnlyRead):
    """`SpooledTemporaryFile` before Python 3.11, the `file` of an `UploadFile`."""

    def seek(self, *args: int) -> None:
        self._io.seek(*args)

    def tell(self) -> int:
        return self._io.tell()


class BrokenTell(OnlyRead):
    """A pipe that does not say that it is one."""

    def seek(self, *_: int) -> int:
        raise OSError("no")

    tell = seek


class Odd(OnlyRead):
    """What has a descriptor that is none."""

    def fileno(self) -> None:
        return None


class NoEnd(WithoutSeekable):
    """What knows its end only once it was read."""

    def seek(self, *args: int) -> None:
        if len(args) > 1:
            raise ValueError("no seek from the end")
        super().seek(*args)


class Place:
    """A storage that keeps what is sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.sent: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> Reply:
        self.sent.append(request)
        return Reply(self.statuses.pop(0) if self.statuses else 200)


@table("refusals", [0, 1])
@table(
    ("make", "size", "again"),
    [
        pytest.param(OnlyRead, len(DATA), False, id="only read"),
        pytest.param(AllAtOnce, len(DATA), False, id="read without a number"),
        pytest.param(Odd, len(DATA), False, id="no descriptor"),
        pytest.param(BrokenTell, len(DATA), False, id="broken tell"),
        pytest.param(WithoutSeekable, None, True, id="without seekable"),
        pytest.param(NoEnd, len(DATA), True, id="no end"),
        pytest.param(lambda: memoryview(DATA * 2)[::2], None, True, id="strided memory"),
        pytest.param(lambda: memoryview(array.array("I", [1] * 9)), None, True, id="memory of numbers"),
    ],
)
async def test_whatever_can_be_read(make: type, size: int | None, again: bool, refusals: int) -> None:
    """Whatever can be read is sent; a second time only where it can go back."""
    async with in_memory(Place(*[503] * refusals)) as (client, place):
        if refusals and not again:
            with pytest.raises(StorageError, match="cannot be read again"):
                await client.upload(make(), size=size, name="a")
            return
        await client.upload(make(), size=size, name="a")
    expected = make()
    data = bytes(expected) if isinstance(expected, memoryview) else expected.read()
    assert place.bodies == [data] * (1 + refusals)


async def test_a_spooled_file() -> None:
    """A spooled file is sent from memory and from disk."""
    for most in (10, 1_000_000):
        with tempfile.SpooledTemporaryFile(max_size=most) as file:
            file.write(DATA)
            file.seek(7)
            async with in_memory(Place(503)) as (client, place):
                await client.upload(file, name="a")  # type: ignore[arg-type]
        assert place.bodies == [DATA[7:]] * 2


async def test_a_source_that_breaks() -> None:
    """What a source raises comes out as it is, also where it is what memory streams raise: it may be read from a socket."""
    broken = anyio.BrokenResourceError()

    async def blocks() -> AsyncIterator[bytes]:
        yield DATA
        raise broken

    async with in_memory(Place()) as (client, _):
        with pytest.raises(anyio.BrokenResourceError) as caught:
            await client.upload(blocks(), name="a", size=2 * len(DATA))
    assert caught.value is broken


@table("make", [OnlyRead, NoEnd])
async def test_size_is_needed(make: type) -> None:
    """What cannot be measured needs its size."""
    async with in_memory(Place()) as (client, _):
        with pytest.raises(StorageError, match="give its size"):
            await client.upload(make(), name="a")


def test_functions_without_a_signature() -> None:
    """A function that does not say what it takes is given a number."""
    assert source._takes_a_number(max)


async def test_pipe_by_its_path(tmp_path: Path) -> None:
    """A path to what cannot be measured is an error, and does not stay open."""
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    before = descriptors()
    async with in_memory(Place()) as (client, _):
        with pytest.raises(StorageError, match="give its size"):
            await client.upload(tmp_path / "pipe")
        assert descriptors() == before
    os.close(writer)


async def test_pipe_that_nobody_writes(tmp_path: Path) -> None:
    """A path to a pipe is an error at once: opening it would wait for somebody to write, whatever is cancelled."""
    os.mkfifo(tmp_path / "pipe")
    async with in_memory(Place()) as (client, _):
        with pytest.raises(StorageError, match="give its size"):
            await client.upload(tmp_path / "pipe")


def descriptors() -> set[str]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(path.readlink()))
        except OSError:
            continue
    return found


# Cancelled


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_cancelled_while_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's own cancellation, once, just as a thread opens the file, leaves it closed."""
    path = tmp_path / "in.png"
    path.write_bytes(DATA)
    opening, go_on = threading.Event(), threading.Event()
    opened: list[io.RawIOBase] = []
    real = source._opened

    def slowly(*args: object) -> object:
        opening.set()
        go_on.wait(5)
        opened.append(real(*args))  # type: ignore[arg-type]
        return opened[0]

    monkeypatch.setattr(source, "_opened", slowly)
    async with in_memory(Place()) as (client, _):
        task = asyncio.get_running_loop().create_task(client.upload(path))
        await anyio.to_thread.run_sync(opening.wait, 5)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [file.closed for file in opened] == [True]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_cancelled_anywhere(tmp_path: Path) -> None:
    """asyncio's own cancellation after any number of turns of the loop leaves no file open."""
    path = tmp_path / "in.png"
    path.write_bytes(DATA)
    async with in_memory(Place()) as (client, _):
        for turns in (*range(12), 15, 20, 30):
            task = asyncio.get_running_loop().create_task(client.upload(path))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert str(path) not in descriptors()


@pytest.mark.skipif(sys.platform != "linux", reason="it is a file of Linux whose end nobody knows")
def test_a_path_that_cannot_be_measured() -> None:
    """A file on disk that has no end is refused, and not left open."""
    with pytest.raises(StorageError, match="cannot be measured"):
        source._File(InputFile(Path("/proc/self/mem")))
