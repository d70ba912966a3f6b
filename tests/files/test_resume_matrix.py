"""Each answer to a range, for each change of the file, with and without a checksum: never wrong bytes.

The storage gives a part of one version and breaks; then the file changes, and the request for the rest is answered in one
of many ways, most of them wrong. From then on the storage does as the RFC says. What ends up under the final name, and
what is read, is the file as it is now.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import attrs
import httpx
import pytest
from support.in_memory import TASK_ID, Reply, in_memory
from support.sampling import count

from cyberun_async import AsyncClient, Retries, StorageError

OLD = random.Random(1).randbytes(4000)
OTHER = random.Random(2).randbytes(6000)

CHANGES = {
    "none": OLD,
    "other bytes": OTHER[:4000],
    "longer": OTHER,
    "shorter": OTHER[:3000],
    "appended to": OLD + OTHER[:500],
    "cut at the break": OLD[:2000],
    "shorter than the part": OTHER[:1000],
    "emptied": b"",
}

TAGS = {
    "opaque": lambda data: f'"v{len(data)}-{data[:1].hex()}"',
    "MD5": lambda data: f'"{hashlib.md5(data).hexdigest()}"',
    "looks like an MD5": lambda data: f'"{hashlib.md5(data + b"!").hexdigest()}"',
    "weak": lambda data: f'W/"{hashlib.md5(data).hexdigest()}"',
    "the same for all": lambda _: '"same"',
    "none": lambda _: "",
}

SUMS = {
    "none": lambda _: {},
    "x-amz": lambda data: {"x-amz-checksum-sha256": b64encode(hashlib.sha256(data).digest()).decode()},
    "Repr-Digest": lambda data: {"Repr-Digest": f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"},
}

BREAKS = (1, 2000, 3999, 4000)


@attrs.define
class Server:
    """A storage with one file, and one odd answer."""

    data: bytes
    tag: Callable[[bytes], str]
    sums: Callable[[bytes], dict[str, str]]
    broken: list[Reply] = attrs.field(factory=list)
    odd: Callable[[Server, int], Reply] | None = None
    then: tuple[bytes, Callable[[Server, int], Reply] | None] = (b"", None)

    def headers(self, *without: str, **more: str) -> dict[str, str]:
        every = {
            "ETag": self.tag(self.data),
            **self.sums(self.data),
            **{k.replace("_", "-"): v for k, v in more.items()},
        }
        return {name: value for name, value in every.items() if value and name not in without}

    def whole(self, *without: str) -> Reply:
        return Reply(200, self.data, self.headers(*without, Content_Length=str(len(self.data))))

    def part(self, start: int, *without: str, said: str = "") -> Reply:
        body = self.data[start:]
        said = said or f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        return Reply(206, body, self.headers(*without, Content_Range=said, Content_Length=str(len(body))))

    def answer(self, request: httpx.Request) -> Reply:
        if self.broken:
            self.data, self.odd = self.then
            return self.broken.pop()
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if match is None:
            return self.whole()
        if match[2]:  # Only a look.
            return self.part(0) if self.data else Reply(416, b"", {"Content-Range": "bytes */0"})
        odd, self.odd = self.odd, None
        if odd is not None:
            return odd(self, int(match[1]))
        if request.headers.get("if-range") != self.tag(self.data):
            return self.whole()
        if int(match[1]) >= len(self.data):
            return Reply(416, b"", {"Content-Range": f"bytes */{len(self.data)}"})
        return self.part(int(match[1]))


ODD: dict[str, Callable[[Server, int], Reply] | None] = {
    "as it should": None,
    "If-Range passed over": lambda server, at: server.part(at),
    "If-Range passed over, untagged": lambda server, at: server.part(at, "ETag"),
    "untagged, without a checksum": lambda server, at: server.part(at, *server.headers()),
    "of the old tag": lambda server, at: Reply(
        206, server.data[at:], {"ETag": server.tag(OLD), "Content-Range": f"bytes {at}-{at + 5}/{len(server.data)}"}
    ),
    "of the old tag and size": lambda server, at: Reply(
        206, b"?" * (4000 - at), {"ETag": server.tag(OLD), "Content-Range": f"bytes {at}-{at - 1}/4000"}
    ),
    "of a size that is not said": lambda server, at: server.part(at, said=f"bytes {at}-{len(server.data) - 1}/*"),
    "of a part, size not said": lambda server, at: Reply(
        206, server.data[at : at + 9], server.headers(Content_Range=f"bytes {at}-{at + 8}/*")
    ),
    "another range": lambda server, at: server.part(max(at - 7, 0)),
    "another range, said to be the right one": lambda server, at: server.part(
        at, said=f"bytes 0-{at}/{len(server.data)}"
    ),
    "no range": lambda server, at: server.part(at, said="bytes"),
    "5,000 digits": lambda server, at: server.part(at, said=f"bytes {at}-{'9' * 5000}/*"),
    "whole": lambda server, _: server.whole(),
    "whole, untagged": lambda server, _: server.whole("ETag"),
    "whole, length not said": lambda server, _: server.whole("Content-Length"),
    "whole, breaks": lambda server, _: attrs.evolve(server.whole(), body=server.data[:900], breaks=True),
    "breaks": lambda server, at: attrs.evolve(server.part(at), body=server.data[at : at + 3], breaks=True),
    "too much": lambda server, at: attrs.evolve(server.part(at), body=server.data[at:] + b"?"),
    "too little": lambda server, at: attrs.evolve(server.part(at), body=server.data[at:-1]),
    "416": lambda server, _: Reply(416, b"", server.headers(Content_Range=f"bytes */{len(server.data)}")),
    "416, untagged": lambda server, _: Reply(416, b"", {"Content-Range": f"bytes */{len(server.data)}"}),
    "416 of what is there": lambda _, at: Reply(416, b"", {"Content-Range": f"bytes */{at}"}),
    "416 of S3": lambda _, at: Reply(416, f"<ActualObjectSize>{at}</ActualObjectSize>".encode()),
    "403": lambda *_: Reply(403),
    "503": lambda *_: Reply(503),
    "204": lambda server, _: Reply(204, b"", server.headers()),
}

HOW = ("the same process", "a new one", "read", "stream")

CASES = list(itertools.product(CHANGES, TAGS, SUMS, ODD, BREAKS, HOW))

MAY_FAIL = {"whole, untagged", "too much", "204"}
"""What ends a stream, or an attempt, although the file has not changed."""


def is_a_lie(change: str, tag: str, sums: str, odd: str, how: str) -> bool:
    """Whether nothing at all shows that the bytes are of two versions."""
    is_told_alike = tag == "the same for all" or odd == "of the old tag"
    return change == "other bytes" and is_told_alike and (sums == "none" or (how, odd) == ("stream", "of the old tag"))


SLICES = 20


@pytest.mark.soak
@pytest.mark.parametrize("part", range(count(sample=1, soak=SLICES)))
async def test_never_wrong_bytes(part: int, tmp_path: Path) -> None:
    """Whatever the storage answers to a range, the bytes are those of one version, the one that is there now."""
    cases = random.Random(0).sample(CASES, len(CASES))[part::SLICES]
    server = Server(OLD, TAGS["none"], SUMS["none"])
    patient = Retries(budget=5, initial=1e-3, maximum=1e-3)

    def storage(request: httpx.Request) -> Reply:
        return server.answer(request)

    async with (
        in_memory(storage, retries=patient) as (client, _),
        in_memory(storage, retries=Retries(budget=0)) as (hasty, _),
    ):
        for number, case in enumerate(cases[: count(sample=60, soak=len(cases))]):
            change, tag, sums, odd, at, how = case
            if is_a_lie(change, tag, sums, odd, how):
                continue
            server = Server(OLD, TAGS[tag], SUMS[sums], then=(CHANGES[change], ODD[odd]))
            server.broken = [attrs.evolve(server.whole(), body=OLD[:at], breaks=True)]
            if how in {"read", "stream"}:
                is_certain = change == "none" and tag not in {"weak", "none"} and odd not in MAY_FAIL
                before = {OLD} if at == len(OLD) else set()
                await check_stream(client, server, how, is_certain=is_certain, before=before, case=case)
            else:
                of = hasty if how == "a new one" else client
                await check_download(of, server, tmp_path / str(number), case)


async def check_stream(
    client: AsyncClient, server: Server, how: str, *, is_certain: bool, before: set[bytes], case: object
) -> None:
    """A stream gives the bytes of one version, or an error: what was handed out cannot be taken back."""
    file = (await client.tasks.result(TASK_ID)).files[0]
    try:
        if how == "read":
            got = await client.read_file(file)
        else:
            async with client.open_file(file) as chunks:
                got = b"".join([chunk async for chunk in chunks])
    except StorageError:
        assert not is_certain, case
    else:
        assert got in {server.data, *before}, case


async def check_download(client: AsyncClient, server: Server, directory: Path, case: object) -> None:
    """A download ends with the file as it is now, after a few attempts where it may fail."""
    for attempt in range(5):
        try:
            [path] = await client.download(TASK_ID, directory)
        except StorageError:
            assert attempt < 4, case
            assert not [path for path in directory.iterdir() if not path.name.startswith(".")], case
        else:
            break
    assert path.read_bytes() == server.data, case
    assert [path.name for path in directory.iterdir()] == ["a.bin"], case
