"""Storages that give less than was asked for, or do not say of how much it is a part: no file is handed out truncated."""

from __future__ import annotations

import httpx
from support.in_memory import TASK_ID, Reply, in_memory
from support.tables import table

DATA = bytes(range(100))


def part(first: int, stop: int, total: str, etag: str | None = '"v1"') -> Reply:
    said = {"Content-Range": f"bytes {first}-{stop - 1}/{total}", "Content-Length": str(stop - first)}
    return Reply(206, DATA[first:stop], {**said, **({"ETag": etag} if etag else {})})


@table("total", ["*", "100"])
@table("etag", [None, '"v1"'])
async def test_part_of_another_version(total: str, etag: str | None) -> None:
    """Where the version is not the reader's, the beginning of a file is not taken for the complete file."""

    def storage(request: httpx.Request) -> Reply:
        if "range" in request.headers:
            return part(0, 40, total, etag)
        return Reply(200, DATA, {"Content-Length": "100"})

    async with in_memory(storage) as (client, place):
        file = (await client.tasks.result(TASK_ID)).files[0]
        async with client.open_file(file, http_range="bytes=0-39", if_range='"v0"') as chunks:
            assert (chunks.status, chunks.headers["Content-Length"]) == (200, "100")
            assert b"".join([chunk async for chunk in chunks]) == DATA
        assert len(place.requests) == 2


async def test_size_that_only_a_resumption_says() -> None:
    """A file whose size is not known at first, and then is, ends once all bytes came, also in parts shorter than asked for."""
    replies = [
        Reply(200, DATA[:30], {"ETag": '"v1"'}, breaks=True),
        part(30, 60, "100"),
        part(60, 100, "100"),
    ]
    async with in_memory(lambda _: replies.pop(0)) as (client, place):
        file = (await client.tasks.result(TASK_ID)).files[0]
        async with client.open_file(file) as chunks:
            assert (chunks.size, chunks.stop) == (None, None)
            assert b"".join([chunk async for chunk in chunks]) == DATA
            assert (chunks.size, chunks.stop) == (100, 100)
        assert [request.headers.get("range") for request in place.requests] == [None, "bytes=30-", "bytes=60-99"]
