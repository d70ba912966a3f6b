"""File systems that cannot do all that a disk can, by a shim that gives the error numbers that they give."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from support.in_memory import TASK_ID, Reply, in_memory

from cyberun_async import AsyncClient, OutputFile, Retries, StorageError
from cyberun_async._files import existing, file_system, part_file
from cyberun_async._files.filenames import shortened

DATA = bytes(range(256)) * 40
MODIFIED = "Sat, 01 Feb 2025 10:00:01 GMT"
MODIFIED_AT = 1738404001

TIMED = {"ETag": '"opaque-2"', "Last-Modified": MODIFIED}
UNTIMED = {"ETag": '"opaque-2"'}
NEVER = Retries(budget=0)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def one_file(data: bytes = DATA, **headers: str) -> Callable[[httpx.Request], Reply]:
    """Give a storage of one file, which knows ranges."""

    def storage(request: httpx.Request) -> Reply:
        wanted = request.headers.get("range")
        if wanted is None:
            return Reply(200, data, {**headers, "Content-Length": str(len(data))})
        start, _, stop = wanted.removeprefix("bytes=").partition("-")
        body = data[int(start) : int(stop) + 1 if stop else len(data)]
        return Reply(206, body, {**headers, "Content-Range": f"bytes {start}-{int(start) + len(body) - 1}/{len(data)}"})

    return storage


FLOCK = [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EIO]
SYNC = [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM]


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        *[pytest.param(fcntl, "flock", number, id=f"flock {errno.errorcode[number]}") for number in FLOCK],
        *[pytest.param(os, "fsync", number, id=f"fsync {errno.errorcode[number]}") for number in SYNC],
        *[
            pytest.param(os, "utime", number, id=f"utime {errno.errorcode[number]}")
            for number in (errno.EPERM, errno.ENOSYS)
        ],
        *[
            pytest.param(os, "link", number, id=f"link {errno.errorcode[number]}")
            for number in (errno.EPERM, errno.EMLINK)
        ],
    ],
)
async def test_optional(
    module: object, name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file system cannot do is left out: the file is there, once, and nothing is left behind."""
    async with in_memory(one_file(**TIMED)) as (client, _):
        before = descriptors()
        monkeypatch.setattr(module, name, failing(number))
        for _ in range(2):
            assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]
        assert descriptors() == before
    assert names_in(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
async def test_a_flush_that_fails(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that says it has not kept the data is an error, and no name is given to them."""
    async with in_memory(one_file(**TIMED)) as (client, _):
        monkeypatch.setattr(os, "fsync", failing(number))
        with pytest.raises(StorageError):
            await client.download(TASK_ID, tmp_path)
    assert "a.bin" not in names_in(tmp_path)


async def test_two_downloads_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no locks, two downloads of one file do not meet, and the file is there once."""
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    begun, go_on = anyio.Event(), anyio.Event()

    async def wait(file: OutputFile, done: int, total: int | None) -> None:
        begun.set()
        await go_on.wait()

    async with in_memory(one_file(**TIMED)) as (client, _), anyio.create_task_group() as group:

        async def first() -> None:
            assert await client.download(TASK_ID, tmp_path, on_progress=wait) == [tmp_path / "a.bin"]

        group.start_soon(first)
        await begun.wait()
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]
        go_on.set()
    assert names_in(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == DATA


async def test_what_a_break_leaves_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no locks, a download that fails leaves nothing: no other could tell whose it is."""
    async with in_memory(
        lambda _: Reply(200, DATA, {**TIMED, "Content-Length": "99999"}, breaks=True), retries=NEVER
    ) as (
        client,
        _,
    ):
        with pytest.raises(StorageError):
            await client.download(TASK_ID, tmp_path)
        left = names_in(tmp_path)
        monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
        with pytest.raises(StorageError):
            await client.download(TASK_ID, tmp_path)
    assert len(left) == 2
    assert names_in(tmp_path) == left


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
async def test_taken(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another download holds is left to it, and its descriptor is closed."""
    async with in_memory(one_file(**TIMED)) as (client, _):
        before = descriptors()
        monkeypatch.setattr(fcntl, "flock", failing(number))
        with pytest.raises(StorageError, match="another download"):
            await client.download(TASK_ID, tmp_path)
        assert descriptors() == before


async def test_names_counted_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that says that each file has two names, or none, is not asked for ever."""
    real = os.fstat
    for links in (0, 2):

        def fstat(descriptor: int, links: int = links) -> os.stat_result:
            status = list(real(descriptor))
            status[3] = links
            return os.stat_result(status)

        monkeypatch.setattr(os, "fstat", fstat)
        async with in_memory(one_file(**TIMED)) as (client, _):
            assert await client.download(TASK_ID, tmp_path / str(links)) == [tmp_path / str(links) / "a.bin"]
        assert [name for name in names_in(tmp_path / str(links)) if not name.endswith(".part")] == ["a.bin"]


async def test_dangling_link_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbolic link that leads nowhere keeps its name on a file system without hard links, too."""
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    (tmp_path / "a.bin").symlink_to(tmp_path / "nowhere")
    async with in_memory(one_file(**UNTIMED)) as (client, _):
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]
    assert (tmp_path / "a.bin").is_symlink()
    assert not (tmp_path / "nowhere").exists()


async def test_temporary_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary name that cannot be taken away takes nothing from a file that has its own."""
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(".part"):
            raise PermissionError(errno.EPERM, "no")
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    async with in_memory(one_file(**UNTIMED)) as (client, _):
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == DATA


# Times


def coarse(step: int) -> Callable[..., None]:
    """Keep times as FAT does, which has even seconds only."""
    real = os.utime

    def utime(path: Path, times: tuple[float, float], **_: object) -> None:
        real(path, (times[0] // step * step, times[1] // step * step))

    return utime


@pytest.mark.parametrize("step", [2, 3600])
async def test_coarse_times(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are compared as the file system shows them, so the same file is known again, and another one is not."""
    monkeypatch.setattr(os, "utime", coarse(step))
    async with in_memory(one_file(**TIMED)) as (client, storage):
        for _ in range(2):
            assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]
        assert [request.headers.get("range") for request in storage.requests] == [None, "bytes=0-0"]
    later = one_file(DATA[::-1], ETag='"opaque-3"', **{"Last-Modified": "Sun, 02 Feb 2025 10:00:01 GMT"})
    async with in_memory(later) as (client, _):
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(UNTIMED, id="no time"),
        pytest.param({**UNTIMED, "Last-Modified": "yesterday"}, id="a time that is none"),
        pytest.param({**UNTIMED, "Last-Modified": "Fri, 31 Dec 9999 00:00:00 GMT"}, id="a time that no disk has"),
        pytest.param(TIMED, id="a time that is not kept"),
    ],
)
async def test_compared_by_bytes(headers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without a checksum and a usable time is known by its bytes once it is fetched, and not kept again."""
    real = os.utime

    def utime(path: Path, times: tuple[float, float]) -> None:
        if headers is not TIMED:
            real(path, (min(times[0], 2**31 - 1), min(times[1], 2**31 - 1)))

    monkeypatch.setattr(os, "utime", utime)
    for data, name in (
        (DATA, "a.bin"),
        (DATA, "a.bin"),
        (DATA[::-1], "a-2.bin"),
        (DATA[::-1], "a-2.bin"),
        (DATA, "a.bin"),
    ):
        async with in_memory(one_file(data, **headers)) as (client, _):
            assert await client.download(TASK_ID, tmp_path) == [tmp_path / name]
    assert names_in(tmp_path) == ["a-2.bin", "a.bin"]


async def test_no_place_for_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory in which nothing can be made is looked through all the same: a time counts as it is."""
    async with in_memory(one_file(**TIMED)) as (client, _):
        await client.download(TASK_ID, tmp_path)
        monkeypatch.setattr(Path, "touch", failing(errno.EROFS))
        monkeypatch.setattr(os, "open", failing(errno.EROFS))
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a.bin"]


async def test_compared_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is compared in stretches, between which the download may be cancelled."""
    monkeypatch.setattr(part_file, "HASH_CHUNK_SIZE", 1)
    data = bytes(range(256)) * 4096 * 2 + b"end"
    for other, name in ((data, "a.bin"), (data[:-1] + b"?", "a-2.bin")):
        async with in_memory(one_file(other, **UNTIMED)) as (client, _):
            for _ in range(2):
                assert await client.download(TASK_ID, tmp_path) == [tmp_path / name]


def test_system_without_boot_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a system does not say since when it runs, what is left counts as written since then."""
    monkeypatch.setattr(Path, "read_text", failing(errno.ENOENT))
    assert file_system.boot_id.__wrapped__() == ""


async def test_changed_while_it_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is cut while it is compared is another one."""
    (tmp_path / "a.bin").write_bytes(DATA)
    monkeypatch.setattr(existing.PartFile, "equals", lambda _, __, start: start)
    async with in_memory(one_file(**UNTIMED)) as (client, _):
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]


async def test_no_regular_file(tmp_path: Path) -> None:
    """What has the name and is no file is not read: a pipe would block for ever."""
    os.mkfifo(tmp_path / "a.bin")
    empty = "1B2M2Y8AsgTpgAmY7PhCfg=="
    async with in_memory(one_file(b"", **{"x-goog-hash": f"md5={empty}"})) as (client, _):
        assert await client.download(TASK_ID, tmp_path) == [tmp_path / "a-2.bin"]


# Hashes


async def test_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many files of one name and size, each is hashed once, however many are looked for among them."""
    hashed: list[str] = []
    real = existing.hash_stretch
    monkeypatch.setattr(existing, "_digests", {})

    def count(path: Path, *args: Any) -> int:
        hashed.append(path.name)
        return real(path, *args)

    monkeypatch.setattr(existing, "hash_stretch", count)

    async def fetch(index: int) -> Path:
        data = index.to_bytes(2, "big") + DATA
        headers = {"x-amz-checksum-sha256": sha256_of(data)}
        async with in_memory(one_file(data, **headers)) as (client, _):
            return await only(client)

    async def only(client: AsyncClient) -> Path:
        [path] = await client.download(TASK_ID, tmp_path)
        return path

    paths = [await fetch(index) for index in range(12)]
    assert len(set(paths)) == 12
    # What was fetched here is known without being read again.
    assert hashed == []
    monkeypatch.setattr(existing, "_digests", {})
    assert [await fetch(index) for index in range(12)] == paths
    assert len(hashed) == 12
    # A file that changes is another one.
    paths[3].write_bytes(b"??" + DATA)
    assert (await fetch(3)).name == "a-13.bin"
    assert len(hashed) == 13


def sha256_of(data: bytes) -> str:
    import hashlib
    from base64 import b64encode

    return b64encode(hashlib.sha256(data).digest()).decode()


def test_known_digests_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of files does not grow without end."""
    monkeypatch.setattr(existing, "_digests", {})
    monkeypatch.setattr(existing, "MAX_CACHED", 3)
    for index in range(9):
        existing.note_digest(tmp_path / str(index), tmp_path.stat(), "md5", "0")
        assert len(existing._digests) <= 3


# Names


def limited(most: int) -> Callable[..., Any]:
    """Open files as a file system does that takes names of so many bytes."""
    real = os.open

    def open_(path: Any, *args: Any, **options: Any) -> int:
        if len(os.fsencode(Path(path).name)) > most:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return real(path, *args, **options)

    return open_


@pytest.mark.parametrize("most", [143, 100, 60, 45])
async def test_long_names(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that a file system finds too long is shortened, keeps its extension, and is the same the next time."""
    monkeypatch.setattr(os, "open", limited(most))
    async with in_memory(one_file(**UNTIMED), key="é" * 90, link="http://storage/a.tar.gz") as (client, _):
        [path] = await client.download(TASK_ID, tmp_path)
        assert await client.download(TASK_ID, tmp_path) == [path]
    assert len(path.name.encode()) <= most
    assert path.name.endswith("é.tar.gz")
    assert names_in(tmp_path) == [path.name]


async def test_every_name_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes no name at all is an error."""
    monkeypatch.setattr(os, "open", limited(5))
    async with in_memory(one_file(**UNTIMED)) as (client, _):
        with pytest.raises(StorageError, match="every name too long"):
            await client.download(TASK_ID, tmp_path)


def test_shortened() -> None:
    """Each name is shorter than the one before, and ends as the file does."""
    names = list(shortened("x" * 100 + ".png"))
    assert [len(name) for name in names] == [104, 80, 40, 20]
    assert all(name.endswith("x.png") for name in names)
    assert list(shortened("a.png")) == ["a.png"]


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot be read is no file of another kind."""

    def fail(*_: object, **__: object) -> os.stat_result:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Path, "stat", fail)
    with pytest.raises(OSError, match="broken"):
        file_system.status_of(tmp_path / "a.bin")
