"""Input files in storage: exactly as they were, or not at all, and no task without them."""

from __future__ import annotations

import io
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from support.shelf import QUICK, SECRET, Plan, Shelf, a_shelf
from support.tables import table

from cyberun_async import APIError, InputFile, InvalidParameters, Limits, Retries, StorageError

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(3 * MIB + 17)
NEVER = Retries(budget=0)


class Blocks:
    """An async iterable, as a web framework gives the body of a request."""

    def __init__(self, data: bytes, block: int = 70_000) -> None:
        self._blocks = [data[at : at + block] for at in range(0, len(data), block)]
        self._blocks.insert(1, b"")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not self._blocks:
            raise StopAsyncIteration
        return self._blocks.pop(0)


class Unseekable(io.RawIOBase):
    """A file that comes through a pipe."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        return self._inner.readinto(buffer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "in.png"
    file.write_bytes(DATA)
    return file


def only_put(shelf: Shelf) -> bytes:
    [stored] = shelf.puts.values()
    return stored.data


# Sources


@pytest.mark.parametrize(
    ("kind", "name", "content_type"),
    [
        pytest.param("path", "in.png", "image/png", id="path"),
        pytest.param("text", "in.png", "image/png", id="path as text"),
        pytest.param("bytes", "file", "application/octet-stream", id="bytes"),
        pytest.param("bytearray", "file", "application/octet-stream", id="bytearray"),
        pytest.param("memoryview", "file", "application/octet-stream", id="memoryview"),
        pytest.param("open file", "in.png", "image/png", id="open file"),
        pytest.param("BytesIO", "file", "application/octet-stream", id="BytesIO"),
        pytest.param("pipe", "file", "application/octet-stream", id="pipe"),
        pytest.param("async iterable", "file", "application/octet-stream", id="async iterable"),
    ],
)
async def test_sources(kind: str, name: str, content_type: str, path: Path) -> None:
    """Whatever the bytes come from, they arrive as they are, announced by name, size and type."""
    sources: dict[str, object] = {
        "path": path,
        "text": str(path),
        "bytes": DATA,
        "bytearray": bytearray(DATA),
        "memoryview": memoryview(DATA),
        "BytesIO": io.BytesIO(DATA),
        "pipe": Unseekable(DATA),
        "async iterable": Blocks(DATA),
    }
    size = len(DATA) if kind in {"pipe", "async iterable"} else None
    async with a_shelf() as shelf, shelf.client() as client:
        with path.open("rb") as file:
            key = await client.upload(file if kind == "open file" else sources[kind], size=size)  # type: ignore[arg-type]
    assert shelf.puts[key].data == DATA
    assert shelf.presigned == [{"file_name": name, "file_size": len(DATA), "content_type": content_type}]


async def test_what_is_sent(path: Path) -> None:
    """The signed headers go out verbatim, the length is exact, nothing is chunked, and no key comes near."""
    async with a_shelf() as shelf, shelf.client() as client:
        await client.upload(path)
    [headers] = shelf.put_attempts
    assert dict(headers) == {
        "host": f"127.0.0.1:{shelf.port}",
        "content-length": str(len(DATA)),
        "if-none-match": "*",
        "x-amz-meta-a": "as it is",
    }


@table("size", [0, 1, MIB, 2 * MIB], ids=str)
async def test_sizes(size: int) -> None:
    """A file of any size arrives, an empty one too."""
    async with a_shelf() as shelf, shelf.client() as client:
        await client.upload(b"x" * size)
    assert only_put(shelf) == b"x" * size


async def test_from_where_it_stands(path: Path) -> None:
    """An open file is sent from where it stands, and stays open."""
    with path.open("rb") as file:
        file.seek(1000)
        async with a_shelf() as shelf, shelf.client() as client:
            await client.upload(file)
        assert not file.closed
    assert only_put(shelf) == DATA[1000:]


async def test_said_by_hand() -> None:
    """Name, type and size may be given."""
    async with a_shelf() as shelf, shelf.client() as client:
        await client.upload(b"data", name="cat.webp", content_type="image/x-cat", size=4)
    assert shelf.presigned == [{"file_name": "cat.webp", "file_size": 4, "content_type": "image/x-cat"}]


@table(
    ("start", "name", "content_type"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n", "file.png", "image/png", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0", "file.jpg", "image/jpeg", id="jpeg"),
        pytest.param(b"RIFF\x00\x00\x00\x00WEBPVP8 ", "file.webp", "image/webp", id="webp"),
        pytest.param(b"GIF89a", "file.gif", "image/gif", id="gif"),
        pytest.param(b"RIFF\x00\x00\x00\x00WAVE", "file", "application/octet-stream", id="something else"),
    ],
)
def test_pictures_in_bytes(start: bytes, name: str, content_type: str) -> None:
    """Bytes of a picture are recognised, since they have no name."""
    file = InputFile(start + b"...")
    assert (file.name, file.content_type) == (name, content_type)


def test_repr_shows_no_bytes() -> None:
    """The repr of an input file shows a path, and no contents."""
    assert "a.png" in repr(InputFile("a.png"))
    assert "secret" not in repr(InputFile(b"secret"))


class AsyncReader:
    """What some frameworks call a file."""

    async def read(self, size: int = -1) -> bytes:
        return b""


@table(
    ("source", "options", "problem"),
    [
        pytest.param(7, {}, "must be a path", id="a number"),
        pytest.param(None, {}, "must be a path", id="None"),
        pytest.param(Blocks(b""), {}, "needs its size", id="an async iterable without size"),
        pytest.param(AsyncReader(), {}, "async", id="an async file"),
        pytest.param(b"", {"size": -1}, "exact number", id="a size below zero"),
        pytest.param(b"", {"size": True}, "exact number", id="a size that is none"),
    ],
)
async def test_no_files(source: object, options: dict[str, int], problem: str) -> None:
    """What cannot be a file is refused before anything is sent."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(InvalidParameters, match=problem):
            await client.upload(source, **options)  # type: ignore[arg-type]
    assert not shelf.presigned


async def test_unreadable(tmp_path: Path) -> None:
    """A file that cannot be read is named, and nothing is sent."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(StorageError, match=r"gone\.png: it cannot be read: No such file"):
            await client.upload(tmp_path / "gone.png")
        with pytest.raises(StorageError, match="directory"):
            await client.upload(tmp_path)
        with pytest.raises(StorageError, match="cannot be measured; give its size"):
            await client.upload(Unseekable(b"data"))  # type: ignore[arg-type]
        with pytest.raises(StorageError, match="4 bytes, not the 5"):
            await client.upload(b"data", size=5)
        closed = io.BytesIO(b"data")
        closed.close()
        with pytest.raises(StorageError, match="closed"):
            await client.upload(closed)
        with pytest.raises(StorageError, match="open it in binary mode"):
            await client.upload(io.StringIO("text"))  # type: ignore[arg-type]
    assert not shelf.puts


@table("change", [-10, 10], ids=["shorter", "longer"])
async def test_not_as_announced(change: int) -> None:
    """A source of another size than announced gets no object into the storage."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(StorageError, match="were announced") as caught:
            await client.upload(Blocks(DATA), size=len(DATA) + change)
    assert not shelf.puts
    assert caught.value.retryable is False


@pytest.mark.parametrize("how", ["shrink", "grow", "touch"])
async def test_changes_while_it_is_read(how: str, path: Path) -> None:
    """A file that changes while it is read gets no object into the storage."""

    async def change(file: InputFile, done: int, total: int) -> None:
        if done == 0:
            if how == "shrink":
                os.truncate(path, MIB)
            elif how == "grow":
                await anyio.Path(path).write_bytes(DATA + b"more")
            else:
                os.utime(path, (1, 1))

    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(StorageError, match=r"changed|announced"):
            await client.upload(path, on_progress=change)
    assert not shelf.puts


# Failures


async def test_repeated_from_the_start(path: Path) -> None:
    """An upload that broke on the way is sent again from its beginning, to the same place."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.plan("upload", Plan(cut=0), Plan(status=503), Plan(status=500))
        await client.upload(path)
    assert only_put(shelf) == DATA
    assert (len(shelf.put_attempts), len(shelf.presigned)) == (4, 1)


async def test_lost_answer(path: Path) -> None:
    """A 412 after a lost answer means that the file is there."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.plan("upload", Plan(lost=True))
        key = await client.upload(path)
    assert shelf.puts[key].data == DATA
    assert len(shelf.put_attempts) == 2


async def test_somebody_elses(path: Path) -> None:
    """A 412 to the first try is a refusal: what is there is not ours."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.plan("upload", Plan(status=412))
        with pytest.raises(StorageError) as caught:
            await client.upload(path)
    assert caught.value.status == 412


@pytest.mark.parametrize(("refusals", "works"), [(1, True), (2, False)])
async def test_expired(refusals: int, works: bool, path: Path) -> None:
    """A link that is refused is asked for anew, once."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.plan("upload", *[Plan(status=403, body="<Code>AccessDenied</Code>")] * refusals)
        if works:
            assert await client.upload(path) == "inputs/2/in.png"
            assert only_put(shelf) == DATA
        else:
            with pytest.raises(StorageError, match="AccessDenied") as caught:
                await client.upload(path)
            assert caught.value.status == 403
    assert len(shelf.presigned) == 2


async def test_cannot_be_read_again() -> None:
    """What comes only once is not sent twice; the error says so."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.plan("upload", Plan(status=503))
        with pytest.raises(StorageError, match="cannot be read again") as caught:
            await client.upload(Blocks(DATA), size=len(DATA))
    assert caught.value.retryable


async def test_gives_up(path: Path) -> None:
    """A storage that does not answer is an error that says how far it got."""
    async with a_shelf() as shelf, shelf.client(retries=NEVER) as client:
        shelf.plan("upload", *[Plan(cut=0)] * 9)
        with pytest.raises(StorageError) as caught:
            await client.upload(path)
    assert (caught.value.file, caught.value.bytes_done, caught.value.retryable) == ("in.png", len(DATA), True)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("by", ["server", "storage"])
async def test_too_large(by: str, path: Path) -> None:
    """A file that is refused for its size is told of the documented limit, and that larger ones need what is not there."""
    async with a_shelf() as shelf, shelf.client() as client:
        if by == "server":
            shelf.presign_refusal = Plan(status=413, body='{"error_message": "file too large"}')
        else:
            shelf.plan("upload", Plan(status=413, body="<Code>EntityTooLarge</Code>"))
        with pytest.raises(StorageError, match=r"500 MB unless.*multipart") as caught:
            await client.upload(path)
    assert caught.value.status == 413


async def test_no_link(path: Path) -> None:
    """A server that gives no link for another reason is an error of the API."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.presign_refusal = Plan(status=400, body='{"error_message": "no"}')
        with pytest.raises(APIError, match="no"):
            await client.upload(path)


async def test_cancelled(path: Path) -> None:
    """A cancelled upload leaves nothing in the storage, and nothing open."""
    begun = anyio.Event()

    async def wait(file: InputFile, done: int, total: int) -> None:
        if done:
            begun.set()
            await anyio.sleep_forever()

    async with a_shelf() as shelf, shelf.client() as client, anyio.create_task_group() as group:

        async def send() -> None:
            await client.upload(path, on_progress=wait)

        group.start_soon(send)
        await begun.wait()
        group.cancel_scope.cancel()
    assert not shelf.puts


async def test_progress(path: Path) -> None:
    """Progress tells the file, the bytes on their way, and the bytes in all."""
    told: list[tuple[str, int, int]] = []
    async with a_shelf() as shelf, shelf.client() as client:
        await client.upload(path, on_progress=lambda file, done, total: told.append((file.name, done, total)))
    assert (told[0], told[-1]) == (("in.png", 0, len(DATA)), ("in.png", len(DATA), len(DATA)))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


# Parameters


async def test_as_parameters(path: Path) -> None:
    """A path as a parameter is all it takes: it is uploaded, and its key submitted."""
    async with a_shelf() as shelf, shelf.client() as client:
        await client.submit("w", {"image": path, "mask": b"data", "steps": 3})
    [body] = shelf.submitted
    keys = {stored.data: key for key, stored in shelf.puts.items()}
    assert body == {"parameters": {"image": keys[DATA], "mask": keys[b"data"], "steps": 3}}


async def test_once_for_the_same(path: Path) -> None:
    """The same path, or the same open file, given twice is uploaded once."""
    async with a_shelf() as shelf, shelf.client() as client:
        await client.submit("w", {"image": path, "mask": Path(str(path))})
        assert shelf.submitted == [{"parameters": {"image": "inputs/1/in.png", "mask": "inputs/1/in.png"}}]
        with path.open("rb") as file:
            await client.submit("w", {"image": file, "mask": file})
    assert len(shelf.presigned) == 2


async def test_keys_stay() -> None:
    """Text for a file parameter is the key of one that was uploaded before."""
    async with a_shelf() as shelf, shelf.client() as client:
        await client.submit("w", {"image": "inputs/9/in.png"})
    assert shelf.submitted == [{"parameters": {"image": "inputs/9/in.png"}}]
    assert not shelf.presigned


@table("validate", [True, False])
async def test_described(validate: bool) -> None:
    """An `InputFile` says what the bytes do not, with and without a check of the parameters."""
    async with a_shelf() as shelf, shelf.client() as client:
        file = InputFile(Blocks(DATA), name="a.jpg", size=len(DATA))
        await client.submit("w", {"image": file}, validate=validate)
    assert shelf.presigned == [{"file_name": "a.jpg", "file_size": len(DATA), "content_type": "image/jpeg"}]
    assert shelf.submitted == [{"parameters": {"image": "inputs/1/a.jpg"}}]


@table(
    ("parameters", "problem"),
    [
        pytest.param({"image": Path("a.gif")}, r"'image' must be one of image/png, \.jpg, not image/gif", id="type"),
        pytest.param({"steps": Path("a.png")}, "'steps' must be a number", id="no file parameter"),
        pytest.param({"image": Path("a.png"), "steps": 11}, "'steps' must be at most 10", id="another parameter"),
        pytest.param({"image": 7}, "'image' must be a file", id="no file"),
        pytest.param({"image": Blocks(b"")}, "'image' cannot be a file: .* needs its size", id="no size"),
    ],
)
async def test_checked_first(parameters: dict[str, object], problem: str) -> None:
    """Parameters that do not fit are refused before a byte is uploaded."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(InvalidParameters, match=problem):
            await client.submit("w", parameters)
    assert not shelf.presigned


async def test_nothing_submitted_after_a_failure(path: Path, tmp_path: Path) -> None:
    """Where one file cannot be uploaded, nothing is submitted."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(StorageError, match=r"gone\.png"):
            await client.submit("w", {"image": path, "mask": tmp_path / "gone.png"})
        with pytest.raises(StorageError, match=r"gone\.png"):
            await client.run("w", {"image": tmp_path / "gone.png"})
    assert not shelf.submitted


async def test_side_by_side(path: Path) -> None:
    """Files of one submission are uploaded side by side, within the client's limit."""
    for limit in (1, 2):
        begun = 0
        async with a_shelf() as shelf, shelf.client(limits=Limits(max_transfers=limit), retries=QUICK) as client:

            class Slow(Blocks):
                async def __anext__(self) -> bytes:
                    nonlocal begun
                    begun += 1
                    await anyio.sleep_forever()
                    return b""

            files = {key: InputFile(Slow(b"data"), name="a.png", size=4) for key in ("image", "mask")}
            async with anyio.create_task_group() as group:

                async def send(files: dict[str, InputFile] = files) -> None:
                    await client.submit("w", files)

                group.start_soon(send)
                while begun < limit:
                    await anyio.wait_all_tasks_blocked()
                for _ in range(20):
                    await anyio.wait_all_tasks_blocked()
                assert begun == limit
                group.cancel_scope.cancel()


async def test_bytes_sent_again() -> None:
    """Bytes in memory and open files can be read again from where they began."""
    async with a_shelf() as shelf, shelf.client() as client:
        for source in (DATA, io.BytesIO(DATA)):
            shelf.plan("upload", Plan(status=503))
            await client.upload(source)
    assert [stored.data for stored in shelf.puts.values()] == [DATA, DATA]


async def test_pipe_sent_once() -> None:
    """What comes through a pipe cannot be read again."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.plan("upload", Plan(status=503))
        with pytest.raises(StorageError, match="cannot be read again"):
            await client.upload(Unseekable(DATA), size=len(DATA))  # type: ignore[arg-type]


async def test_blocks_of_other_kinds() -> None:
    """An async iterable may give any kind of bytes, and nothing else."""

    async def blocks(*given: object) -> AsyncIterator[bytes]:
        for block in given:
            yield block  # type: ignore[misc]

    async with a_shelf() as shelf, shelf.client() as client:
        await client.upload(blocks(bytearray(b"ab"), memoryview(b"cd")), size=4)
        with pytest.raises(StorageError, match="gives str, not bytes"):
            await client.upload(blocks("text"), size=4)
    assert only_put(shelf) == b"abcd"


async def test_length_left_to_us() -> None:
    """Where the signed headers do not name the length, it is sent all the same."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.names_length = False
        await client.upload(DATA)
    assert only_put(shelf) == DATA
    assert shelf.put_attempts[0]["content-length"] == str(len(DATA))


async def test_unreadable_answer() -> None:
    """An answer to an upload whose body cannot be read still has its status."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.plan("upload", Plan(status=404, body="x", headers="Content-Encoding: br\r\n"))
        with pytest.raises(StorageError) as caught:
            await client.upload(DATA)
    assert caught.value.status == 404


async def test_link_for_another_size() -> None:
    """A link that is signed for another size is an error at once: sent as it says, the file would be cut."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.signed = {"content-length": "5"}
        shelf.names_length = False
        with pytest.raises(StorageError, match="not for a file of 4 bytes") as caught:
            await client.upload(b"data")
    assert not caught.value.retryable
    assert not shelf.put_attempts
