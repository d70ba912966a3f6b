"""Against storage that nobody here wrote: an S3 server that checks signatures and expiry, and nginx."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from support.nginx import NGINX, running_nginx
from support.s3 import KEY, S3RVER, S3Shelf, running_s3rver
from support.shelf import SECRET, TASK_ID, Plan, Shelf, a_shelf

from cyberun_async import AsyncClient, OutputFile, StorageError, Timeouts

MIB = 1024 * 1024
SIZE = 12 * MIB + 5


@functools.cache
def data() -> bytes:
    """Give what all of them store."""
    return random.Random(1).randbytes(SIZE)


needs_s3 = pytest.mark.skipif(S3RVER is None, reason="needs s3rver: npm install --global s3rver")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx")

NAMES = ["a b+c.png", "ü(1)'~.bin", "100%25.bin", "x=1&y?#.txt"]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one S3 server for all tests."""
    pytest.importorskip("botocore", reason="needs botocore: pip install --group tests")
    with running_s3rver(tmp_path_factory.mktemp("s3")) as address:
        yield address


class Enough(Exception):
    """Ends a download in the middle."""


async def stop_after(client: AsyncClient, directory: Path, size: int) -> None:
    """Begin a download, and leave it once some bytes are on the disk."""

    def stop(_: OutputFile, done: int, __: int | None) -> None:
        if done >= size:
            raise Enough

    with pytest.raises(Enough):
        await client.download(TASK_ID, directory, on_progress=stop)


@needs_s3
class TestS3:
    """Presigned by botocore, checked by s3rver."""

    @pytest.mark.parametrize("version", ["s3v4", "s3"])
    async def test_there_and_back(self, version: str, s3: str, tmp_path: Path) -> None:
        """What is uploaded by a presigned URL comes back by another, whatever it is called."""
        (tmp_path / "in.png").write_bytes(data()[:MIB])
        async with a_shelf(S3Shelf(address=s3, version=version)) as shelf, shelf.client() as client:
            for name in NAMES:
                key = await client.upload(tmp_path / "in.png", name=name)
                shelf.files[key] = b""
            paths = await client.download(TASK_ID, tmp_path)
            again = await client.download(TASK_ID, tmp_path)
        assert [path.read_bytes() == data()[:MIB] for path in paths] == [True] * len(NAMES)
        assert paths == again

    async def test_expired(self, s3: str, tmp_path: Path) -> None:
        """An expired link is refused by the storage, and renewed."""
        async with a_shelf(S3Shelf(address=s3)) as shelf, shelf.client() as client:
            shelf.files[await client.upload(data(), name="a.bin")] = b""
            shelf.lifetime = 1
            result = await client.tasks.result(TASK_ID)
            time.sleep(2.1)  # noqa: ASYNC251 - the server's clock is the machine's
            shelf.lifetime = 60
            [path] = await client.download(result, tmp_path)
        assert path.read_bytes() == data()
        assert shelf.results == 2

    async def test_forged(self, s3: str, tmp_path: Path) -> None:
        """A forged link is an error with the storage's own code, and without what it says of the signature."""
        async with a_shelf(S3Shelf(address=s3, version="s3")) as shelf, shelf.client() as client:
            shelf.files[await client.upload(data(), name="a.bin")] = b""
            shelf.forged = True
            with pytest.raises(StorageError, match="SignatureDoesNotMatch") as caught:
                await client.download(TASK_ID, tmp_path)
        assert not [word for word in ("Signature=", "StringToSign", KEY) if word in str(caught.value)]

    async def test_resumed(self, s3: str, tmp_path: Path) -> None:
        """A download is gone on with by a real range, and a file that is all there by its last byte."""
        async with a_shelf(S3Shelf(address=s3)) as shelf, shelf.client() as client:
            shelf.files[await client.upload(data(), name="a.bin")] = b""
            for kept in (5 * MIB, SIZE):
                await stop_after(client, tmp_path, 4 * MIB)
                [part] = tmp_path.glob(".*.part")
                part.write_bytes(data()[:kept])
                [path] = await client.download(TASK_ID, tmp_path)
                assert path.read_bytes() == data()
                path.unlink()

    async def test_gone(self, s3: str, tmp_path: Path) -> None:
        """A file that the storage does not have is an error that says so."""
        async with a_shelf(S3Shelf(address=s3)) as shelf, shelf.client() as client:
            shelf.files["never.bin"] = b""
            with pytest.raises(StorageError, match="NoSuchKey") as caught:
                await client.download(TASK_ID, tmp_path)
        assert caught.value.status == 404


@attrs.define
class NginxShelf(Shelf):
    """An API whose links lead to nginx."""

    address: str = ""

    def link(self, kind: str, key: str, size: int = 0) -> str:
        return f"{self.address}/{kind}/{key}?X-Amz-Signature={SECRET}-0"


@needs_nginx
class TestNginx:
    """A real web server, with its own idea of ranges, time and sizes."""

    async def test_ranges(self, tmp_path: Path) -> None:
        """A file is fetched, left in the middle, and gone on with, by the tag and the ranges of nginx."""
        with nginx_over(tmp_path, {"a.bin": data()}, "limit_rate 64m;") as (address, log):
            async with a_shelf(NginxShelf({"a.bin": b""}, address=address)) as shelf, shelf.client() as client:
                await stop_after(client, tmp_path, 4 * MIB)
                [path] = await client.download(TASK_ID, tmp_path)
                assert await client.download(TASK_ID, tmp_path) == [path]
        assert path.read_bytes() == data()
        assert [line.split('"')[2].split()[0] for line in log.read_text().splitlines()] == ["200", "206", "206"]

    async def test_not_compressed(self, tmp_path: Path) -> None:
        """A server that compresses is asked not to, so that lengths and ranges are those of the file."""
        text = b"a line of text\n" * 100_000
        with nginx_over(tmp_path, {"a.txt": text}, "gzip on; gzip_types *;") as (address, _):
            async with a_shelf(NginxShelf({"a.txt": b""}, address=address)) as shelf, shelf.client() as client:
                [path] = await client.download(TASK_ID, tmp_path)
        assert path.read_bytes() == text

    async def test_cut_behind_a_proxy(self, tmp_path: Path) -> None:
        """A proxy whose storage breaks off passes the break on, and the download goes on where it was."""
        async with a_shelf(NginxShelf()) as shelf, shelf.client() as client:
            place = f"location /files/ {{ proxy_pass http://127.0.0.1:{shelf.port}; }}"
            with nginx_over(tmp_path, {}, place) as (shelf.address, _):
                shelf.put("a.bin", data())
                shelf.plan("a.bin", Plan(cut=3 * MIB), Plan(cut=0), Plan(cut=5 * MIB), Plan(status=502))
                [path] = await client.download(TASK_ID, tmp_path)
        assert path.read_bytes() == data()
        assert shelf.gets[-1].start == 8 * MIB

    @pytest.mark.slow
    async def test_slow(self, tmp_path: Path) -> None:
        """A server that is slow, but not silent, is waited for, and shows progress."""
        told: list[int] = []
        with nginx_over(tmp_path, {"a.bin": data()[: 3 * MIB]}, "limit_rate 1m;") as (address, _):
            shelf = NginxShelf({"a.bin": b""}, address=address)
            async with a_shelf(shelf), shelf.client(timeouts=Timeouts(read=2)) as client:
                [path] = await client.download(TASK_ID, tmp_path, on_progress=lambda _, done, __: told.append(done))
        assert path.read_bytes() == data()[: 3 * MIB]
        assert len(told) >= 3

    @pytest.mark.parametrize(("size", "fits"), [(MIB, True), (3 * MIB, False)])
    async def test_put(self, size: int, fits: bool, tmp_path: Path) -> None:
        """An upload arrives whole, or is refused before its end, which is understood."""
        place = "client_max_body_size 2m; location /uploads/ { dav_methods PUT; create_full_put_path on; }"
        with nginx_over(tmp_path, {}, place) as (address, _):
            async with a_shelf(NginxShelf(address=address)) as shelf, shelf.client() as client:
                if fits:
                    key = await client.upload(data()[:size], name="a.bin")
                    assert (tmp_path / "nginx/files/uploads" / key).read_bytes() == data()[:size]
                else:
                    with pytest.raises(StorageError, match="500 MB") as caught:
                        await client.upload(data()[:size], name="a.bin")
                    assert caught.value.status == 413


@contextmanager
def nginx_over(directory: Path, files: dict[str, bytes], server: str) -> Iterator[tuple[str, Path]]:
    """Run nginx over some files, and give its address and its log."""
    home = directory / "nginx"
    (home / "files/files").mkdir(parents=True)
    for name, data in files.items():
        (home / "files/files" / name).write_bytes(data)
    with running_nginx(home, server) as address:
        yield address, home / "access.log"
