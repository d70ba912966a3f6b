"""What is stored is not always what is meant: tags that look like an MD5, and files that are kept compressed."""

from __future__ import annotations

import gzip
import hashlib
import logging
from base64 import b64encode
from pathlib import Path

import httpx
import pytest
from support.in_memory import TASK_ID, Reply, in_memory
from support.tables import table

from cyberun_async import StorageError
from cyberun_async._transport.content_codings import compressions, name_as_stored

DATA = bytes(range(256)) * 20
NO_MD5 = f'"{hashlib.md5(b"something else").hexdigest()}"'


@pytest.mark.parametrize("how", ["download", "read"])
async def test_a_tag_that_is_no_md5(how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that come twice alike are believed against an entity tag that looks like their MD5, with a warning."""
    async with in_memory(lambda _: Reply(200, DATA, {"ETag": NO_MD5})) as (client, storage):
        if how == "read":
            assert await client.read_file((await client.tasks.result(TASK_ID)).files[0]) == DATA
            assert len(storage.requests) == 3
        else:
            for _ in range(2):
                assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]
            assert (tmp_path / "a.bin").read_bytes() == DATA
    assert {(r.levelno, "looks like an MD5" in r.getMessage()) for r in caplog.records if r.levelno > logging.INFO} == {
        (logging.WARNING, True)
    }


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"x-amz-checksum-sha256": b64encode(bytes(32)).decode()}, id="x-amz-checksum"),
        pytest.param({"Repr-Digest": f"sha-256=:{b64encode(bytes(32)).decode()}:"}, id="Repr-Digest"),
        pytest.param({"x-goog-hash": f"md5={b64encode(bytes(16)).decode()}"}, id="x-goog-hash"),
    ],
)
async def test_checksums_are_never_overruled(headers: dict[str, str], tmp_path: Path) -> None:
    """What the storage calls a checksum is one, however often other bytes come."""
    async with in_memory(lambda _: Reply(200, DATA, {"ETag": NO_MD5, **headers})) as (client, _):
        with pytest.raises(StorageError, match="checksum"):
            await client.download(TASK_ID, tmp_path)
        with pytest.raises(StorageError, match="checksum"):
            await client.read_file((await client.tasks.result(TASK_ID)).files[0])
    assert list(tmp_path.iterdir()) == []


async def test_other_bytes_each_time(tmp_path: Path) -> None:
    """Bytes that are not those of the tag, and not twice the same, are an error."""
    turn = 0

    def storage(_: httpx.Request) -> Reply:
        nonlocal turn
        turn += 1
        return Reply(200, DATA + bytes([turn]), {"ETag": NO_MD5})

    async with in_memory(storage) as (client, _):
        with pytest.raises(StorageError, match="checksum"):
            await client.download(TASK_ID, tmp_path)
        with pytest.raises(StorageError, match="checksum"):
            await client.read_file((await client.tasks.result(TASK_ID)).files[0])
    assert turn == 4


@pytest.mark.parametrize("what", ["size", "tag"])
async def test_cut_twice_alike(what: str, tmp_path: Path) -> None:
    """A file that is cut at the same place each time is not believed: of one byte, the storage says another size."""

    def storage(request: httpx.Request) -> Reply:
        if "range" not in request.headers:
            return Reply(200, DATA[:100], {"ETag": NO_MD5, "Content-Length": "100"})
        tag = '"another"' if what == "tag" else NO_MD5
        return Reply(206, DATA[:1], {"ETag": tag, "Content-Range": f"bytes 0-0/{100 if what == 'tag' else len(DATA)}"})

    async with in_memory(storage) as (client, _):
        with pytest.raises(StorageError, match="checksum"):
            await client.download(TASK_ID, tmp_path)
        with pytest.raises(StorageError, match="checksum"):
            await client.read_file((await client.tasks.result(TASK_ID)).files[0])
    assert list(tmp_path.iterdir()) == []


async def test_two_versions_twice(tmp_path: Path) -> None:
    """Bytes that came twice alike, but each time joined from answers that do not say their version, are not believed."""
    turn = 0

    def storage(request: httpx.Request) -> Reply:
        nonlocal turn
        turn += 1
        if "range" not in request.headers:
            return Reply(200, DATA[:100], {"ETag": NO_MD5, "Content-Length": str(len(DATA))}, breaks=True)
        said = f"bytes 100-{len(DATA) - 1}/{len(DATA)}"
        return Reply(206, b"?" * (len(DATA) - 100), {"Content-Range": said})

    async with in_memory(storage) as (client, _):
        with pytest.raises(StorageError, match="checksum"):
            await client.download(TASK_ID, tmp_path)


async def test_decompressed_on_the_way(tmp_path: Path) -> None:
    """Google's storage decompresses for who does not ask for gzip; its hash and tag are of the gzip, and say nothing."""
    stored = gzip.compress(DATA)
    headers = {
        "ETag": f'"{hashlib.md5(stored).hexdigest()}"',
        "x-goog-hash": f"md5={b64encode(hashlib.md5(stored).digest()).decode()}",
        "x-goog-stored-content-encoding": "gzip",
        "x-goog-stored-content-length": str(len(stored)),
    }
    async with in_memory(lambda _: Reply(200, DATA, headers)) as (client, storage):
        [path] = await client.download(TASK_ID, tmp_path)
        assert await client.read_file((await client.tasks.result(TASK_ID)).files[0]) == DATA
    assert path.read_bytes() == DATA
    assert len(storage.requests) == 2


async def test_stored_compressed(tmp_path: Path) -> None:
    """A file that is stored compressed stays so, and its name says so; it is known again, and its checksum is of it."""
    stored = gzip.compress(DATA)
    headers = {"ETag": f'"{hashlib.md5(stored).hexdigest()}"', "Content-Encoding": "gzip"}

    def storage(request: httpx.Request) -> Reply:
        if "range" in request.headers:
            return Reply(206, stored[:1], {**headers, "Content-Range": f"bytes 0-0/{len(stored)}"})
        return Reply(200, stored, {**headers, "Content-Length": str(len(stored))})

    async with in_memory(storage) as (client, place):
        for _ in range(2):
            [path] = await client.download(TASK_ID, tmp_path)
        assert path == tmp_path / "a.bin.gz"
        assert gzip.decompress(path.read_bytes()) == DATA
        assert len(place.requests) == 2
        async with client.open_file((await client.tasks.result(TASK_ID)).files[0]) as chunks:
            assert chunks.content_encoding == "gzip"
            assert b"".join([chunk async for chunk in chunks]) == stored


@table(
    ("header", "expected"),
    [
        ("", ()),
        ("identity", ()),
        ("none", ()),
        ("utf-8", ()),
        ("UTF-8", ()),
        ("aws-chunked", ()),
        ("gzip", ("gzip",)),
        ("X-GZIP", ("gzip",)),
        ("gzip, identity", ("gzip",)),
        ("aws-chunked,gzip", ("gzip",)),
        (" deflate , br", ("deflate", "br")),
        ('"gzip"', ("gzip",)),
    ],
)
def test_compressions(header: str, expected: tuple[str, ...]) -> None:
    """Only what is a compression is one."""
    assert compressions(header) == expected


@table(
    ("name", "header", "expected"),
    [
        ("a.json", "", "a.json"),
        ("a.json", "gzip", "a.json.gz"),
        ("a.json.GZ", "gzip", "a.json.GZ"),
        ("a.tgz", "gzip", "a.tgz"),
        ("a", "br", "a.br"),
        ("a", "deflate", "a"),
        ("a", "none", "a"),
    ],
)
def test_names_as_stored(name: str, header: str, expected: str) -> None:
    """A name says how a file is compressed, once."""
    assert name_as_stored(name, header) == expected
