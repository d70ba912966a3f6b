"""Output files without a disk."""

from __future__ import annotations

import base64
import gc
import hashlib
import random

import anyio
import pytest
from support.shelf import TASK_ID, Plan, Shelf, a_shelf
from support.tables import table

from cyberun_async import AsyncClient, OutputFile, Retries, StorageError

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(300_000)


async def only_file(client: AsyncClient) -> OutputFile:
    [file] = (await client.tasks.result(TASK_ID)).files
    return file


async def streamed(shelf: Shelf, client: AsyncClient) -> bytes:
    async with client.open_file(await only_file(client)) as chunks:
        return b"".join([chunk async for chunk in chunks])


@table("size", [0, 1, 300_000, 9 * MIB], ids=str)
async def test_stream(size: int) -> None:
    """A stream gives all bytes, none of them empty, and knows their number."""
    data = random.Random(1).randbytes(size)
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", data)
        async with client.open_file(await only_file(client)) as chunks:
            given = [chunk async for chunk in chunks]
            assert chunks.size == size
    assert b"".join(given) == data
    assert all(given)


@table("then", [Plan(), Plan(no_range=True)], ids=["with ranges", "without ranges"])
async def test_stream_goes_on(then: Plan) -> None:
    """A stream that broke goes on where it was, once or more often; no byte is given twice."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        shelf.plan("a.bin", Plan(cut=100_000), Plan(cut=0), Plan(status=503), then)
        assert await streamed(shelf, client) == DATA


@table("etag", ["", '"other"'], ids=["no version", "another version"])
async def test_stream_of_two_versions(etag: str) -> None:
    """Bytes of two versions are never joined."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA, etag="" if not etag else None)
        shelf.plan("a.bin", Plan(cut=100_000))
        async with client.open_file(await only_file(client)) as chunks:
            given = 0
            while given < 100_000:
                given += len(await chunks.__anext__())
            shelf.put("a.bin", DATA[::-1], etag=etag)
            with pytest.raises(StorageError, match="cannot be resumed"):
                await chunks.__anext__()


async def test_stream_of_an_expired_link() -> None:
    """A stream whose link has expired asks for a fresh one."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        file = await only_file(client)
        shelf.valid_from = 2
        assert await client.read_file(file) == DATA


async def test_stream_too_long() -> None:
    """A part that is longer than its range is none: the whole file is asked for, and what was given is left out."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA[:100], etag='"x"')
        shelf.plan("a.bin", Plan(cut=50))
        file = await only_file(client)
        async with client.open_file(file) as chunks:
            assert await chunks.__anext__() == DATA[:50]
            part = Plan(status=206, body="y" * 60, headers='ETag: "x"\r\nContent-Range: bytes 50-99/100\r\n')
            shelf.plan("a.bin", part)
            assert b"".join([chunk async for chunk in chunks]) == DATA[50:100]


async def test_stream_ends_short() -> None:
    """A part that ends too early is gone on with."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", b"x" * 100, etag='"x"')
        part = Plan(status=206, body="x" * 20, headers='ETag: "x"\r\nContent-Range: bytes 50-99/100\r\n')
        shelf.plan("a.bin", Plan(cut=50), part)
        assert await streamed(shelf, client) == b"x" * 100


async def test_stream_left_early() -> None:
    """Leaving a stream in the middle closes its connection; it is over then, and closing it twice does no harm."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        async with client.open_file(await only_file(client)) as chunks:
            await chunks.__anext__()
            assert aiter(chunks) is chunks
        await chunks.aclose()
        assert [chunk async for chunk in chunks] == []


async def test_stream_step_taken_again() -> None:
    """A cancelled step can be taken again."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        shelf.plan("a.bin", Plan(cut=1000, stall=True))
        async with client.open_file(await only_file(client)) as chunks:
            given = await chunks.__anext__()
            with anyio.move_on_after(0.01):
                await chunks.__anext__()
            given += b"".join([chunk async for chunk in chunks])
    assert given == DATA


async def test_stream_forgotten() -> None:
    """A stream that nobody closes says so when it is collected."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        stream = client.open_file(await only_file(client))
        await stream.__anext__()
        body = stream._body
        with pytest.warns(ResourceWarning, match="open_file"):
            stream.__del__()
        # Its body is what the warning is about; without one, there is nothing to say.
        stream._body = None
        del stream
        gc.collect()
        assert body is not None
        await body.aclose()
        await body.aclose()


async def test_read() -> None:
    """A file of moderate size is read at once."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        assert await client.read_file(await only_file(client), max_bytes=len(DATA)) == DATA


@table("plan", [Plan(), Plan(chunked=True)], ids=["announced", "not announced"])
async def test_read_too_much(plan: Plan) -> None:
    """A file that is larger than wanted is refused before it fills the memory."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        shelf.plan("a.bin", plan)
        with pytest.raises(StorageError, match="max_bytes is 1000") as caught:
            await client.read_file(await only_file(client), max_bytes=1000)
    assert (caught.value.file, caught.value.task_id) == ("a.bin", TASK_ID)


async def test_read_wrong_bytes() -> None:
    """Bytes that do not come to the checksum are fetched once more, and then an error."""
    sha256 = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA, headers=f"x-amz-checksum-sha256: {sha256}\r\n")
        shelf.files["a.bin"] = DATA[::-1]
        with pytest.raises(StorageError, match="checksum"):
            await client.read_file(await only_file(client))
    assert len(shelf.gets) == 2


async def test_read_refused() -> None:
    """A file that is gone is an error that names it."""
    async with a_shelf() as shelf, shelf.client(retries=Retries(budget=0)) as client:
        shelf.put("a.bin", DATA)
        shelf.plan("a.bin", Plan(status=404))
        with pytest.raises(StorageError, match="outputs for 7 days"):
            await client.read_file(await only_file(client))


async def test_refusal_that_breaks_off() -> None:
    """A refusal whose own words break off is still that refusal."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", DATA)
        shelf.plan("a.bin", Plan(status=404, cut=0))
        with pytest.raises(StorageError) as caught:
            await client.read_file(await only_file(client))
    assert caught.value.status == 404
