"""Bodies of another length than their heads say, and bodies whose length nobody has said."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.in_memory import NO_WAIT, TASK_ID
from support.raw import Peer, raw_server
from support.tables import table

from cyberun_async import AsyncClient, StorageError, Timeouts

DATA = random.Random(7).randbytes(6000)

VERSION = '"v1"'


def head(status: int, **fields: object) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\nETag: {VERSION}\r\n{lines}\r\n".encode()


def chunked(data: bytes) -> bytes:
    blocks = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in [*blocks, b""])


async def send_and_close(peer: Peer, data: bytes) -> None:
    await peer.send(data)
    await peer.stream.aclose()
    raise anyio.EndOfStream


def whole() -> bytes:
    return head(200, Content_Length=len(DATA)) + DATA


def part(start: int, end: int, **fields: object) -> bytes:
    return head(206, Content_Range=f"bytes {start}-{end - 1}/{len(DATA)}", **fields)


Answer = Callable[[Peer, "re.Match[bytes] | None"], Awaitable[None]]


@pytest.fixture(params=["download", "read", "stream"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def fetched(answer: Answer, how: str, directory: Path, **options: Any) -> bytes:
    """Fetch the file from a storage that answers so."""

    async def handle(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.startswith(b"GET /api"):
                link = f"{server.url.partition('/api')[0]}/a.bin?sig=s"
                body = f'{{"id": "{TASK_ID}", "task_status": "completed", "download_urls": {{"a.bin": "{link}"}}}}'
                await peer.answer(body)
                continue
            await answer(peer, re.search(rb"\r\nrange: bytes=(\d+)-(\d*)", request, re.IGNORECASE))

    async with (
        raw_server(handle) as server,
        AsyncClient("sk-1", base_url=server.url, retries=NO_WAIT, **options) as client,
    ):
        if how == "download":
            [path] = await client.download(TASK_ID, directory)
            return path.read_bytes()
        file = (await client.tasks.result(TASK_ID)).files[0]
        if how == "read":
            return await client.read_file(file)
        async with client.open_file(file) as chunks:
            return b"".join([chunk async for chunk in chunks])


def whole_as_part(start: int) -> bytes:
    return part(start, len(DATA), Content_Length=len(DATA)) + DATA


def whole_in_chunks(start: int) -> bytes:
    return part(start, len(DATA), Transfer_Encoding="chunked") + chunked(DATA)


def more_than_a_part(start: int) -> bytes:
    return part(start, start + 10, Content_Length=4000) + DATA[:4000]


def more_in_chunks(start: int) -> bytes:
    return part(start, start + 10, Transfer_Encoding="chunked") + chunked(DATA[:4000])


@pytest.mark.parametrize("false", [whole_as_part, whole_in_chunks, more_than_a_part, more_in_chunks])
async def test_more_than_its_range(false: Callable[[int], bytes], how: str, tmp_path: Path) -> None:
    """Some servers send the whole file under the head of a part: not a byte of that is taken for the rest."""
    breaks = [True]

    async def storage(peer: Peer, wanted: re.Match[bytes] | None) -> None:
        if breaks:
            breaks.pop()
            await send_and_close(peer, whole()[: -len(DATA) + 2000])
        if wanted is None:
            await peer.send(whole())
        elif int(wanted[1]) == len(DATA) - 1:
            await peer.send(part(len(DATA) - 1, len(DATA), Content_Length=1) + DATA[-1:])
        else:
            await peer.send(false(int(wanted[1])))

    if how != "download" and false in {whole_in_chunks, more_in_chunks}:
        # What a stream has given cannot be taken back.
        with pytest.raises(StorageError, match="more than the announced"):
            await fetched(storage, how, tmp_path)
    else:
        assert await fetched(storage, how, tmp_path) == DATA


async def test_ends_with_the_connection(how: str, tmp_path: Path) -> None:
    """A body without a length ends with its connection, as it does where that breaks: the size is asked for."""
    asked = []

    async def storage(peer: Peer, wanted: re.Match[bytes] | None) -> None:
        asked.append(wanted and wanted[0].split(b"=")[1].decode())
        if wanted is None:
            await send_and_close(peer, head(200) + DATA[:2000])
        start, end = int(wanted[1]), int(wanted[2] or len(DATA) - 1) + 1
        await peer.send(part(start, end, Content_Length=end - start) + DATA[start:end])

    assert await fetched(storage, how, tmp_path) == DATA
    assert asked == [None, "0-0", "2000-"]


async def test_complete_without_a_length(how: str, tmp_path: Path) -> None:
    """Nothing is wrong with such a body if the storage says of one byte that there are no more."""

    async def storage(peer: Peer, wanted: re.Match[bytes] | None) -> None:
        if wanted is None:
            await send_and_close(peer, head(200) + DATA)
        await peer.send(part(0, 1, Content_Length=1) + DATA[:1])

    assert await fetched(storage, how, tmp_path) == DATA


async def test_not_satisfiable_although_nothing_was_asked_for(how: str, tmp_path: Path) -> None:
    """A 416 of an empty file is no answer to a request for the whole file."""

    async def storage(peer: Peer, _: re.Match[bytes] | None) -> None:
        await peer.answer("", status=416, headers="Content-Range: bytes */0\r\n")

    with pytest.raises(StorageError, match="416"):
        await fetched(storage, how, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_refusal_that_trickles(tmp_path: Path) -> None:
    """A refusal whose body never ends, though a byte comes before each time limit, is one after a while."""

    async def storage(peer: Peer, _: re.Match[bytes] | None) -> None:
        await peer.send(b"HTTP/1.1 404 X\r\nContent-Length: 60000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await anyio.sleep(0.01)

    with anyio.fail_after(5), pytest.raises(StorageError, match="404"):
        await fetched(storage, "download", tmp_path, timeouts=Timeouts(cleanup=0.1))


@table("has_more", [True, False], ids=["of the file", "of nothing"])
async def test_more_than_its_length(how: str, tmp_path: Path, has_more: bool) -> None:
    """What follows a response may be the rest of the file, so its size is asked for; it may be nothing, too."""
    announced = DATA[:5000] if has_more else DATA

    async def storage(peer: Peer, wanted: re.Match[bytes] | None) -> None:
        if wanted is None:
            await send_and_close(peer, head(200, Content_Length=len(announced)) + announced + DATA[5000:])
        start, end = int(wanted[1]), int(wanted[2] or len(DATA) - 1) + 1
        await peer.send(part(start, end, Content_Length=end - start) + DATA[start:end])

    if how == "download" or not has_more:
        assert await fetched(storage, how, tmp_path / str(has_more)) == DATA
    else:
        # What a stream has said of the size cannot be taken back.
        with pytest.raises(StorageError, match="it has more than the announced 5000 bytes"):
            await fetched(storage, how, tmp_path)
