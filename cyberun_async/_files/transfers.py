"""Uploads and downloads of one client, on connections of their own to the storage."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cyberun_async._errors import InvalidParameters
from cyberun_async._files.download import download
from cyberun_async._files.file_download import DownloadProgress
from cyberun_async._files.file_stream import FileStream
from cyberun_async._files.ranges import COMPLETE_FILE, ByteRange, check_range, read_http_range
from cyberun_async._files.read_file import read_file
from cyberun_async._files.storage import Storage
from cyberun_async._files.transfer_slot import TransferSlot
from cyberun_async._files.upload import Uploads
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_kind

if TYPE_CHECKING:
    import httpx


class FileTransfers:
    """Sends and fetches files.

    Args:
        transport: Asks for presigned URLs.
        settings: The client's.
        storage_client: A client of the user's own to send through; it is never closed here.
        storage: That of the client that this is a view of.

    Attributes:
        storage: Takes and gives the bytes.
        uploads: Sends input files.

    """

    def __init__(
        self,
        transport: Transport,
        settings: Settings,
        storage_client: "httpx.AsyncClient | None" = None,
        *,
        storage: Storage | None = None,
    ) -> None:
        """Open nothing."""
        self._transport = transport
        self._settings = settings
        self.storage: Storage = storage or Storage(settings, storage_client, transport.check_usable)
        self.uploads: Uploads = Uploads(transport, self.storage, settings)

    def __repr__(self) -> str:
        """Show whether there may be connections."""
        return f"<{type(self).__name__} {'open' if self.is_open else 'without connections'}>"

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return self.storage.is_open

    async def aclose(self) -> None:
        """End what is going on and close every connection, under cancellation too; safe to call twice."""
        await self.storage.aclose()

    async def download(
        self,
        task: str | TaskResult,
        directory: "str | os.PathLike[str]",
        *,
        concurrency: int,
        on_progress: DownloadProgress | None,
    ) -> list[Path]:
        """Fetch every file of a result; see `AsyncClient.download`."""
        return await download(
            self._transport,
            self.storage,
            self._settings,
            task,
            directory,
            concurrency=concurrency,
            on_progress=on_progress,
        )

    def open(
        self,
        file: OutputFile,
        *,
        start: int = 0,
        stop: int | None = None,
        http_range: str | None = None,
        if_range: str | None = None,
    ) -> FileStream:
        """Stream a file, or a part of it; see `AsyncClient.open_file`."""
        part: ByteRange | None = check_range(start, stop)
        if part == COMPLETE_FILE:
            part = None
        if http_range is not None:
            check_kind(http_range, str, "http_range", "the value of a Range header, or None")
            if part is not None:
                raise InvalidParameters(["http_range says the part already: leave out start and stop"])
            part = read_http_range(http_range)
        return FileStream(self._transport, self.storage, self._settings, file, part=part, if_range=if_range)

    async def read(self, file: OutputFile, max_bytes: int) -> bytes:
        """Give a file's bytes; see `AsyncClient.read_file`."""

        def open_stream(slot: TransferSlot) -> FileStream:
            return FileStream(self._transport, self.storage, self._settings, file, slot=slot)

        return await read_file(open_stream, self.storage, max_bytes)
