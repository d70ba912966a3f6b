"""Output files whose facts are known before their bytes, and parts of them, from storages of every kind."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone

import httpx
import pytest
from support.in_memory import TASK_ID, InMemory, Reply, in_memory
from support.tables import table

from cyberun_async import AsyncClient, InvalidParameters, OutputFile, StorageError

DATA = bytes(range(100))
TAG = '"v1"'
FACTS = {"Content-Type": "image/png", "ETag": TAG, "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT"}


def with_ranges(request: httpx.Request) -> Reply:
    """Serve ranges as RFC 9110 has them."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", TAG) != TAG:
        return Reply(200, DATA, {**FACTS, "Content-Length": str(len(DATA))})
    first, last = match.groups()
    part = slice(int(first), int(last) + 1 if last else None) if first else slice(-int(last), None)
    start, stop, _ = part.indices(len(DATA))
    if start >= stop:
        return Reply(416, b"", {"Content-Range": f"bytes */{len(DATA)}"})
    said = {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}", "Content-Length": str(stop - start)}
    return Reply(206, DATA[start:stop], {**FACTS, **said})


def without_ranges(_: httpx.Request) -> Reply:
    return Reply(200, DATA, {**FACTS, "Content-Length": str(len(DATA))})


def without_length(_: httpx.Request) -> Reply:
    return Reply(200, DATA, FACTS)


@asynccontextmanager
async def storing(storage: Callable[[httpx.Request], Reply]) -> AsyncIterator[tuple[AsyncClient, OutputFile, InMemory]]:
    async with in_memory(storage) as (client, place):
        yield client, (await client.tasks.result(TASK_ID)).files[0], place


async def test_facts_before_bytes() -> None:
    """What the storage says is known as soon as the stream is entered, for the price of one request."""
    async with storing(with_ranges) as (client, file, place), client.open_file(file) as chunks:
        assert (chunks.size, chunks.start, chunks.stop, chunks.status) == (100, 0, 100, 200)
        assert (chunks.content_type, chunks.etag) == ("image/png", TAG)
        assert chunks.last_modified == datetime(2026, 10, 21, 7, 28, tzinfo=timezone.utc)
        assert chunks.headers == {**FACTS, "Accept-Ranges": "bytes", "Content-Length": "100"}
        assert "0 of 100 bytes" in repr(chunks)
        async with chunks as same:
            assert b"".join([chunk async for chunk in same]) == DATA
        assert len(place.requests) == 1


async def test_facts_of_what_says_nothing() -> None:
    """What a storage does not say is not made up; the type is that of the name."""
    async with storing(lambda _: Reply(200, b"x")) as (client, file, _), client.open_file(file) as chunks:
        assert (chunks.size, chunks.etag, chunks.last_modified, chunks.checksum) == (None, None, None, None)
        assert chunks.headers == {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        assert repr(chunks).endswith("0 bytes>")
        assert [chunk async for chunk in chunks] == [b"x"]


@table("type_", ["", "a\nb", "é"], ids=["empty", "with a break", "not ASCII"])
async def test_a_type_that_cannot_be_handed_on(type_: str) -> None:
    """A type that is no header is as if it were not there."""
    reply = Reply(200, b"x", {"Content-Type": type_})
    async with storing(lambda _: reply) as (client, file, _), client.open_file(file) as chunks:
        assert chunks.content_type == "application/octet-stream"


@table("storage", [with_ranges, without_ranges])
@table(
    ("start", "stop", "status", "content_range"),
    [
        pytest.param(0, None, 200, None, id="all"),
        pytest.param(0, 1, 206, "bytes 0-0/100", id="the first byte"),
        pytest.param(40, 60, 206, "bytes 40-59/100", id="in the middle"),
        pytest.param(40, None, 206, "bytes 40-99/100", id="to the end"),
        pytest.param(40, 999, 206, "bytes 40-99/100", id="beyond the end"),
        pytest.param(-7, None, 206, "bytes 93-99/100", id="the last bytes"),
        pytest.param(-999, None, 206, "bytes 0-99/100", id="more last bytes than there are"),
        pytest.param(100, None, 416, "bytes */100", id="behind the end"),
        pytest.param(500, 600, 416, "bytes */100", id="far behind the end"),
    ],
)
async def test_a_part(
    storage: Callable[[httpx.Request], Reply], start: int, stop: int | None, status: int, content_range: str | None
) -> None:
    """A part is a slice of the file, whether or not the storage takes ranges, with the status and headers of a response."""
    async with storing(storage) as (client, file, place), client.open_file(file, start=start, stop=stop) as chunks:
        given = b"".join([chunk async for chunk in chunks])
        assert given == DATA[start:stop]
        assert chunks.status == status
        assert chunks.headers.get("Content-Range") == content_range
        assert int(chunks.headers["Content-Length"]) == len(given)
        assert len(place.requests) == 1


async def test_iterated_without_entering() -> None:
    """A stream that is iterated over without `async with` opens with its first step."""
    async with storing(with_ranges) as (client, file, _):
        stream = client.open_file(file, start=90)
        assert (stream.content_type, stream.status) == ("application/octet-stream", 206)
        assert b"".join([chunk async for chunk in stream]) == DATA[90:]
        async with stream:
            assert [chunk async for chunk in stream] == []


@table(("start", "stop"), [(3, None), (3, 50), (-3, None)])
async def test_a_range_that_cannot_be_placed(start: int, stop: int | None) -> None:
    """Where the storage takes no ranges and says no size, the complete file is given, and says that it is."""
    async with (
        storing(without_length) as (client, file, _),
        client.open_file(file, start=start, stop=stop) as chunks,
    ):
        assert (chunks.status, chunks.start, chunks.stop) == (200, 0, None)
        assert b"".join([chunk async for chunk in chunks]) == DATA


async def test_a_size_that_is_not_known() -> None:
    """A part whose file has no known size says so, and still ends where it should."""

    def storage(_: httpx.Request) -> Reply:
        return Reply(206, DATA[3:9], {"Content-Range": "bytes 3-8/*"})

    async with storing(storage) as (client, file, _), client.open_file(file, start=3, stop=50) as chunks:
        assert (chunks.size, chunks.start, chunks.stop) == (None, 3, 9)
        assert chunks.headers["Content-Range"] == "bytes 3-8/*"
        assert b"".join([chunk async for chunk in chunks]) == DATA[3:9]


async def test_s3_says_the_size_in_the_body_of_a_416() -> None:
    """The size of a part that is not there may stand in the error alone."""
    error = b"<Error><Code>InvalidRange</Code><ActualObjectSize>100</ActualObjectSize></Error>"
    async with (
        storing(lambda _: Reply(416, error)) as (client, file, _),
        client.open_file(file, start=200) as chunks,
    ):
        assert (chunks.status, chunks.headers["Content-Range"]) == (416, "bytes */100")
        assert [chunk async for chunk in chunks] == []


@table("storage", [with_ranges, without_ranges])
@table(
    ("if_range", "start", "status"),
    [
        pytest.param(TAG, 40, 206, id="this version"),
        pytest.param('"v0"', 40, 200, id="another version"),
        pytest.param('"v0"', 400, 200, id="another version, and no such part"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", 40, 206, id="this date"),
        pytest.param("Wed, 21 Oct 2020 07:28:00 GMT", 40, 200, id="another date"),
    ],
)
async def test_if_range(storage: Callable[[httpx.Request], Reply], if_range: str, start: int, status: int) -> None:
    """A part of another version than the reader has is the complete file."""
    async with (
        storing(storage) as (client, file, _),
        client.open_file(file, start=start, if_range=if_range) as chunks,
    ):
        assert chunks.status == status
        assert b"".join([chunk async for chunk in chunks]) == (DATA[start:] if status == 206 else DATA)


@table("breaks_at", [0, 1, 19], ids=["before it", "after its first byte", "before its last byte"])
async def test_a_part_resumes(breaks_at: int) -> None:
    """A part that is interrupted resumes where it was, and asks for no byte beyond its end."""
    replies = 0

    def storage(request: httpx.Request) -> Reply:
        nonlocal replies
        replies += 1
        reply = with_ranges(request)
        return Reply(206, reply.body[:breaks_at], reply.headers, breaks=True) if replies == 1 else reply

    async with storing(storage) as (client, file, place), client.open_file(file, start=40, stop=60) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == DATA[40:60]
        assert [request.headers["range"] for request in place.requests] == [
            "bytes=40-59",
            f"bytes={40 + breaks_at}-59",
        ]


async def test_a_part_is_delivered_in_parts() -> None:
    """A storage that gives less than it was asked for is asked for the rest."""

    def storage(request: httpx.Request) -> Reply:
        first = int(request.headers["range"].removeprefix("bytes=").partition("-")[0])
        last = min(first + 7, 59)
        return Reply(206, DATA[first : last + 1], {**FACTS, "Content-Range": f"bytes {first}-{last}/100"})

    async with storing(storage) as (client, file, _), client.open_file(file, start=40, stop=60) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == DATA[40:60]


async def test_changed_between_the_facts_and_the_bytes() -> None:
    """Bytes of another version than the facts are of are an error, also where none was handed out."""
    replies = [
        Reply(200, b"", {"ETag": '"v1"', "Content-Length": "5"}, breaks=True),
        Reply(200, b"other", {"ETag": '"v2"'}),
    ]
    async with storing(lambda _: replies.pop(0)) as (client, file, _), client.open_file(file) as chunks:
        with pytest.raises(StorageError, match="has changed since it was opened"):
            await chunks.__anext__()


async def test_no_such_file() -> None:
    """What the storage refuses is an error where the stream is entered."""
    async with storing(lambda _: Reply(404)) as (client, file, _):
        with pytest.raises(StorageError, match="does not have it"):
            async with client.open_file(file):
                raise AssertionError


async def test_a_range_header() -> None:
    """A request's own header says the part, and no other bounds beside it."""
    async with storing(with_ranges) as (client, file, _):
        async with client.open_file(file, http_range="bytes=90-94", if_range=TAG) as chunks:
            assert (chunks.status, b"".join([chunk async for chunk in chunks])) == (206, DATA[90:95])
        with pytest.raises(InvalidParameters, match="leave out start and stop"):
            client.open_file(file, http_range="bytes=0-", start=1)
        with pytest.raises(InvalidParameters, match="http_range must be"):
            client.open_file(file, http_range=3)  # type: ignore[arg-type]


@table("storage", [with_ranges, without_ranges])
async def test_a_range_of_everything(storage: Callable[[httpx.Request], Reply]) -> None:
    """A range header that names the complete file is answered as a range, if its version is the reader's."""
    async with storing(storage) as (client, file, place):
        async with client.open_file(file, http_range="bytes=0-") as chunks:
            assert (chunks.status, chunks.headers["Content-Range"]) == (206, "bytes 0-99/100")
            assert b"".join([chunk async for chunk in chunks]) == DATA
        async with client.open_file(file, http_range="bytes=0-", if_range='"v0"') as chunks:
            assert (chunks.status, "Content-Range" in chunks.headers) == (200, False)
        assert len(place.requests) == 2


async def test_a_range_of_an_empty_file() -> None:
    """An empty file has no range."""
    async with storing(lambda _: Reply(200, b"", {"Content-Length": "0"})) as (client, file, _):
        async with client.open_file(file, http_range="bytes=0-") as chunks:
            assert (chunks.status, chunks.headers["Content-Range"]) == (416, "bytes */0")
        async with client.open_file(file) as chunks:
            assert (chunks.status, [chunk async for chunk in chunks]) == (200, [])
