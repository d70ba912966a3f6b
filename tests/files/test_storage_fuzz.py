"""Whatever a storage says in a header or a body, it is an error of ours or the file, and a directory without leftovers."""

from __future__ import annotations

import random
from pathlib import Path

import httpx
import pytest
from support.in_memory import TASK_ID, Reply, in_memory
from support.sampling import count, seeds
from support.tables import table

from cyberun_async import CyberunError, Retries

DATA = bytes(range(256)) * 8

WORDS = [
    b"",
    b" ",
    b'"v"',
    b'W/"v"',
    b'"\xff\xfe"',
    b'"\xc3\xa9"',
    b"0" * 40,
    b'"' + b"0" * 32 + b'"',
    b"9" * 5000,
    b"-1",
    b"2048",
    b"bytes 0-2047/2048",
    b"bytes 100-2047/2048",
    b"bytes 100-2047/*",
    b"bytes */2048",
    b"bytes 9-1/0",
    b"bytes " + b"9" * 5000 + b"-/*",
    "bytes ²-³/*".encode(),
    b"gzip",
    b"gzip, identity",
    b"none",
    b"br" * 500,
    b"sha-256=:AAAA:",
    b"sha-256=:" + b"A" * 43 + b"=:",
    b"md5=" + b"A" * 22 + b"==, crc32c=AA==",
    b"A" * 43 + b"=",
    b"AAAAAA==",
    b"Sat, 01 Feb 2025 10:00:00 GMT",
    b"Sat, 01 Feb 2025 10:00:00 -0000",
    b"Sat, 01 Feb 2025 10:00:00 +99999999",
    b"Fri, 31 Dec 9999 23:59:59 -2359",
    b"Mon, 01 Jan 0001 00:00:00 +2359",
    b"32 Foo 99999999 25:61:61 XYZ",
    b"\x7f\x80",
    b"1e999",
    b"nan",
]

NAMES = [
    "ETag",
    "Content-Range",
    "Content-Length",
    "Last-Modified",
    "Content-Encoding",
    "Repr-Digest",
    "x-amz-checksum-sha256",
    "x-amz-checksum-crc32",
    "x-goog-hash",
    "x-goog-stored-content-encoding",
    "x-amz-server-side-encryption",
    "Retry-After",
    "Location",
]

STATUSES = [200, 200, 200, 206, 206, 206, 204, 304, 307, 400, 401, 403, 404, 408, 412, 416, 429, 500, 503, 599, 999]

BODIES = [
    b"",
    DATA,
    DATA[:100],
    DATA[100:],
    DATA + b"!",
    b"<Error><Message>\xff</Message>",
    b"<ActualObjectSize>9</ActualObjectSize>",
]


class Chance(random.Random):
    """Says what a storage might, and worse."""

    def reply(self, _: httpx.Request) -> Reply:
        names = self.sample(NAMES, self.randrange(5))
        headers = {name: self.choice(WORDS) for name in names}
        return Reply(self.choice(STATUSES), self.choice(BODIES), headers, breaks=self.random() < 0.2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(sample=1, soak=30))
async def test_whatever_the_storage_says(seed: int, tmp_path: Path) -> None:
    """Only our errors come out, the file that there is has some bytes that were sent, and nothing else has a name."""
    chance = Chance(seed)
    shown: list[str] = []
    retries = Retries(budget=0.01, initial=0.0001, maximum=0.0001, retry_after=0)
    headers: dict[str, str] = {"a": "b"}
    async with in_memory(chance.reply, retries=retries, upload_headers=headers) as (client, _):
        file = (await client.tasks.result(TASK_ID)).files[0]
        for number in range(count(sample=15, soak=1000)):
            directory = tmp_path / str(number)
            headers["x-meta"] = chance.choice(WORDS).decode("latin-1") if chance.random() < 0.3 else "y"
            for work in (
                lambda directory=directory: client.download(TASK_ID, directory),
                lambda: client.read_file(file),
                lambda: client.upload(DATA, name="a"),
            ):
                try:
                    await work()
                except CyberunError as error:
                    shown.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")
            left = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
            assert left <= {"a.bin", "a.bin.gz", "a.bin.br"}
    assert not [text for text in shown if "sig=s" in text]


LINKS = [
    "http://storage:99999/a?sig=s",
    "http://storage:0/a?sig=s",
    "http://storage:-1/a?sig=s",
    "http://[::1/a?sig=s",
    "http://[foo]/a?sig=s",
    "http://foo..bar/a?sig=s",
    "https://xn--/a?sig=s",
    f"https://{'a' * 64}.example/a?sig=s",
    "https:///a?sig=s",
    "https://?sig=s",
    "ftp://storage/a?sig=s",
    "javascript:alert(1)?sig=s",
    "//storage/a?sig=s",
    "a?sig=s",
    "?sig=s",
    "http://storage/\x00?sig=s",
    "http://stor age/?sig=s",
    "http://storage\r\nX: y/?sig=s",
    "http://\ud800/?sig=s",
    "http://storage/\ud800?sig=s",
    "http://user:pa%zz@[::1%25lo]/?sig=s",
    "http://storage/" + "a" * 100_000 + "?sig=s",
]


@table("link", LINKS, ids=lambda link: repr(link)[1:30])
async def test_links(link: str, tmp_path: Path) -> None:
    """A link that cannot be used is an error of ours, at once, that does not show it."""
    from cyberun_async import OutputFile, StorageError, TaskResult, TaskStatus

    asked = 0

    def storage(_: httpx.Request) -> Reply:
        nonlocal asked
        asked += 1
        return Reply(404)

    async with in_memory(storage, link=link.encode("utf-16", "surrogatepass").decode("utf-16", "replace")) as (
        client,
        _,
    ):
        result = TaskResult(id=TASK_ID, status=TaskStatus.COMPLETED, download_url=link)
        file = OutputFile(key="a", name="a", url=link, expires_at=None, task_id=TASK_ID)
        for work in (
            lambda: client.download(result, tmp_path),
            lambda: client.read_file(file),
            lambda: client.upload(DATA, name="a"),
        ):
            with pytest.raises(StorageError) as caught:
                await work()
            assert not caught.value.retryable
            assert "sig=s" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert asked < 12
