"""What the stateful classes of transfers show of themselves: their state, and nothing that is signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from support.shelf import SECRET, TASK_ID, a_shelf

from cyberun_async import InputFile, Retries
from cyberun_async._files.existing import ExistingFiles
from cyberun_async._files.file_download import Downloads, FileDownload
from cyberun_async._files.file_upload import FileUpload
from cyberun_async._files.part_file import PartFile
from cyberun_async._files.presigned_urls import PresignedUrls
from cyberun_async._files.remote_file import RemoteFile
from cyberun_async._files.retry import RetryBudget
from cyberun_async._files.source import open_source
from cyberun_async._files.storage_body import RawSocketReader
from cyberun_async._files.upload import Uploads

if TYPE_CHECKING:
    import httpx

NOBODY = cast("Any", None)


async def test_reprs_of_a_download(tmp_path: Path) -> None:
    """A download shows its file, and how far it is."""
    async with a_shelf() as shelf, shelf.client() as client:
        shelf.put("a.bin", bytes(10))
        (file,) = (await client.tasks.result(TASK_ID)).files
        urls = PresignedUrls(client._core.transport, TASK_ID, (file,))
        download = FileDownload(
            Downloads(client._core.files.storage, client._core.settings, urls, tmp_path, None), file
        )
        shown = [
            repr(each)
            for each in (
                urls,
                download,
                client._core.files.storage,
                RemoteFile(client._core.files.storage, urls, file, Retries()),
            )
        ]
        body = await client._core.files.storage.get(urls.url(file), {})
        shown += [repr(body)]
        while await body.receive() is not None:
            pass
        shown += [repr(body)]
        await body.aclose()
        shown += [repr(body)]
    assert shown == [
        "<PresignedUrls of task t-1, renewed 0 times>",
        "<FileDownload of a.bin of task t-1, 0 of None bytes>",
        "<Storage, without connections>",
        "<RemoteFile a.bin of task t-1, 0 bytes>",
        "<StorageBody, 200, open>",
        "<StorageBody, 200, at its end>",
        "<StorageBody, 200, closed>",
    ]
    assert SECRET not in "".join(shown)


async def test_reprs_of_an_upload() -> None:
    """An upload shows its file, and how much of it was sent."""
    async with a_shelf() as shelf, shelf.client() as client:
        file = InputFile(b"abc", name="a.bin")
        source = await open_source(file)
        upload = FileUpload(
            client._core.transport,
            client._core.files.storage,
            client._core.settings,
            file,
            source,
            slot=client._core.files.storage.slot(),
            on_progress=None,
        )
        assert repr(upload) == "<FileUpload of a.bin, 0 of 3 bytes>"
        assert repr(Uploads(client._core.transport, client._core.files.storage, client._core.settings)) == (
            "<Uploads to <Storage, without connections>>"
        )
        await source.aclose()


def test_reprs_of_what_is_on_the_disk(tmp_path: Path) -> None:
    """Temporary and existing files show where they are."""
    part = PartFile(tmp_path, "a.bin", "id")
    assert repr(part) == f"<PartFile '{part._data}', 0 of None bytes, closed>"
    part.open()
    assert repr(part).endswith("open>")
    part.close()
    assert repr(ExistingFiles(tmp_path, "a.bin", NOBODY)) == f"<ExistingFiles '{tmp_path / 'a.bin'}'>"


def test_repr_of_a_budget() -> None:
    """A retry budget shows its failures since the transfer last got further."""
    budget = RetryBudget(Retries())
    budget.progressed(7)
    budget.delay(0)
    assert repr(budget) == "<RetryBudget, 1 failures after 7 bytes>"


def test_repr_of_a_raw_reader() -> None:
    """It shows how much of the body is there."""

    class Response:
        extensions = {"network_stream": None}  # noqa: RUF012

    assert repr(RawSocketReader(cast("httpx.Response", Response()), 10, 1)) == "<RawSocketReader, 0 of 10 bytes>"
