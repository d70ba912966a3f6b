"""Transfers of a key that has to pause: they hold none of the client's slots, which those of other keys need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from support.virtual import no_threads
from trio.testing import MockClock

from cyberun_async import AsyncClient, InputFile, Limits
from cyberun_async._files import transfer_slot, upload
from cyberun_async._files.part_file import PartFile
from cyberun_async._files.source import Source
from cyberun_async._files.transfer_slot import TransferGate, TransferSlot

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
PAUSE = 20


@pytest.fixture(autouse=True)
def _in_no_thread() -> Iterator[None]:
    with no_threads():
        yield


class Api:
    """Refuses the requests of one key for their rate for a while, but for the first reading of its result."""

    def __init__(self) -> None:
        self.until = anyio.current_time() + PAUSE
        self.is_first = True

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await anyio.sleep(0.1)
        is_one = request.headers["Authorization"] == "Bearer sk-one"
        is_paused = is_one and not self.is_first and anyio.current_time() < self.until
        self.is_first = self.is_first and not is_one
        if is_paused:
            return httpx.Response(429, headers={"Retry-After": str(PAUSE)}, json={})
        if request.url.path.endswith("/presign"):
            return httpx.Response(200, json={"file_key": "k", "upload_url": "http://storage/up?sig=s"})
        state = "expired" if is_one and anyio.current_time() < self.until else "fresh"
        urls = {name: f"http://storage/{name}?sig={state}" for name in ("a.bin", "b.bin")}
        return httpx.Response(200, json={"id": "t-1", "task_status": "completed", "download_urls": urls})


async def store(request: httpx.Request) -> httpx.Response:
    await anyio.sleep(0.1)
    if "expired" in str(request.url):
        return httpx.Response(
            403, content=b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
        )
    return httpx.Response(200, content=b"bytes" if request.method == "GET" else b"")


def client_of(api: Api, *, transfers: int) -> AsyncClient:
    return AsyncClient(
        "sk-root",
        base_url="http://localhost",
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(api)),
        storage_client=httpx.AsyncClient(transport=httpx.MockTransport(store)),
        limits=Limits(max_transfers=transfers),
    )


async def in_a_pause(work: Callable[[AsyncClient], Awaitable[object]], *, transfers: int) -> float:
    """Begin something with the key that pauses, transfer files with another, and give the time that the first took."""
    api = Api()
    async with client_of(api, transfers=transfers) as client, anyio.create_task_group() as group:
        one, two = (client.with_options(api_key=key) for key in ("sk-one", "sk-two"))
        start, ended = anyio.current_time(), []

        async def begin() -> None:
            await work(one)
            ended.append(anyio.current_time() - start)

        file = (await two.tasks.result("t-1")).files[0]
        group.start_soon(begin)
        await anyio.sleep(2)
        with anyio.fail_after(1):
            assert await two.read_file(file) == b"bytes"
            assert await two.upload(b"x", name="a.png") == "k"
        assert ended == []
        await anyio.sleep(2 * PAUSE)
        assert client._core.files.storage.gate.slots.value == transfers
    return ended[0]


async def test_upload() -> None:
    """An upload that waits for its presigned URL keeps no other out, and goes on once it has one."""

    async def upload_one(client: AsyncClient) -> None:
        await client.tasks.result("t-1")
        assert await client.upload(b"x", name="a.png") == "k"

    assert await in_a_pause(upload_one, transfers=1) > PAUSE


@pytest.mark.parametrize("transfers", [1, 2, 3])
async def test_download(transfers: int, tmp_path: Path) -> None:
    """Nor do the files of a task whose presigned URLs have expired, of which one asks for others for all of them."""

    async def download(client: AsyncClient) -> None:
        assert [path.read_bytes() for path in await client.download("t-1", tmp_path)] == [b"bytes"] * 2

    assert await in_a_pause(download, transfers=transfers) > PAUSE


async def test_reading() -> None:
    """Nor does a file that is read into memory."""

    async def read(client: AsyncClient) -> None:
        assert await client.read_file((await client.tasks.result("t-1")).files[0]) == b"bytes"

    assert await in_a_pause(read, transfers=1) > PAUSE


async def test_slow_token_provider(tmp_path: Path) -> None:
    """Nor does what waits for a token of a slow provider: an upload, and a download whose presigned URL has expired."""

    async def provide() -> str:
        await anyio.sleep(PAUSE * is_slow)
        return "sk-one"

    is_slow = False
    async with client_of(Api(), transfers=1) as client:
        one = client.with_options(api_key=provide, team_id="019abc12-4567-7890-abcd-ef1234567891")
        file = (await client.tasks.result("t-1")).files[0]
        result = await one.tasks.result("t-1")
        is_slow = True
        async with anyio.create_task_group() as group:
            group.start_soon(partial(one.upload, b"x", name="a.png"))
            group.start_soon(one.download, result, tmp_path)
            await anyio.sleep(2)
            with anyio.fail_after(1):
                assert await client.read_file(file) == b"bytes"
        assert client._core.files.storage.gate.slots.value == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"bytes"] * 2


async def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many uploads wait for the end of a pause, no more files are open than there are slots."""
    opened = []
    open_source = upload.open_source

    async def counted(file: InputFile) -> Source:
        opened.append(anyio.current_time())
        return await open_source(file)

    monkeypatch.setattr(upload, "open_source", counted)
    start = anyio.current_time()

    async def upload_many(client: AsyncClient) -> None:
        await client.tasks.result("t-1")
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(partial(client.upload, b"x", name="a.png"))

    assert await in_a_pause(upload_many, transfers=2) > PAUSE
    assert len([moment for moment in opened if moment < start + PAUSE]) == 2 + 1
    assert len(opened) == 30 + 1


async def test_open_part_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many downloads wait for fresh URLs, a bounded number of them has a file open."""
    monkeypatch.setattr(transfer_slot, "MAX_PAUSED", 5)
    opened, most = 0, 0
    open_part, close_part = PartFile.open, PartFile.close

    def counted_open(part: PartFile) -> None:
        nonlocal opened, most
        open_part(part)
        opened += 1
        most = max(most, opened)

    def counted_close(part: PartFile) -> None:
        nonlocal opened
        close_part(part)
        opened -= 1

    monkeypatch.setattr(PartFile, "open", counted_open)
    monkeypatch.setattr(PartFile, "close", counted_close)
    async with client_of(Api(), transfers=2) as client:
        one = client.with_options(api_key="sk-one")
        result = await one.tasks.result("t-1")
        start = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(partial(one.download, result, tmp_path / str(number)))
        assert anyio.current_time() - start > PAUSE - 1
    assert (opened, most) == (0, 5 + 2)
    assert [path.read_bytes() for path in tmp_path.rglob("*.bin")] == [b"bytes"] * 40


async def test_cancelled_in_a_pause() -> None:
    """A transfer that is cancelled in a pause leaves no slot behind, and takes none along."""

    async def leave(client: AsyncClient) -> None:
        await client.tasks.result("t-1")
        async with anyio.create_task_group() as group:
            group.start_soon(partial(client.upload, b"x", name="a.png"))
            await anyio.sleep(5)
            group.cancel_scope.cancel()

    assert await in_a_pause(leave, transfers=1) < PAUSE


async def test_cancelled_while_waiting_for_a_slot() -> None:
    """So does one that is cancelled while it waits for a slot, for the first time or again."""
    gate = TransferGate(1)
    begun = gate.begun.value
    slot = TransferSlot(gate)
    async with slot:
        assert (repr(slot), repr(gate)) == ("<TransferSlot held>", "<TransferGate: 0 free>")
        with anyio.move_on_after(1):
            async with TransferSlot(gate):
                pytest.fail("there was none")
        with anyio.move_on_after(1):
            async with slot.given_back():
                await gate.slots.acquire()
        assert repr(slot) == "<TransferSlot not held>"
    assert (gate.slots.value, gate.begun.value) == (0, begun)
