"""All bytes of an output file, checked."""

from collections.abc import Callable

import anyio.to_thread

from cyberun_async._errors import StorageError
from cyberun_async._files.checksums import Checksum, new_digest
from cyberun_async._files.file_stream import FileStream
from cyberun_async._files.presigned_urls import log
from cyberun_async._files.remote_file import ETAG_IS_NO_MD5, MAX_CHECKED_FETCHES
from cyberun_async._files.storage import Storage
from cyberun_async._files.transfer_slot import TransferSlot


async def read_file(open_stream: Callable[[TransferSlot], FileStream], storage: Storage, max_bytes: int) -> bytes:
    """Give the bytes of a file, checked; see `AsyncClient.read_file`."""
    fetched: str | None = None
    async with storage.slot() as slot:
        for _ in range(MAX_CHECKED_FETCHES):
            stream, before = open_stream(slot), fetched
            data = await _read(stream, max_bytes)
            if stream.checksum is None:
                return data
            fetched = await anyio.to_thread.run_sync(_hash, data, stream.checksum)
            if fetched == stream.checksum.value:
                return data
            if fetched == before and not stream.checksum.is_sure and await stream.is_confirmed():
                log.warning(ETAG_IS_NO_MD5, stream.file.name)
                return data
    raise StorageError(
        "what arrived does not have the checksum that the storage gives",
        file=stream.file.name,
        bytes_done=len(data),
        retryable=True,
        task_id=stream.file.task_id,
    )


async def _read(stream: FileStream, max_bytes: int) -> bytes:
    data = bytearray()
    async with stream:
        async for chunk in stream:
            data += chunk
            if max(len(data), stream.size or 0) > max_bytes:
                reason = f"it has {stream.size or f'more than {max_bytes}'} bytes, and max_bytes is {max_bytes}; raise it, or use open_file()"
                raise StorageError(reason, file=stream.file.name, bytes_done=len(data), task_id=stream.file.task_id)
    return bytes(data)


def _hash(data: bytes, checksum: Checksum) -> str:
    digest = new_digest(checksum.algorithm)
    digest.update(data)
    return digest.hexdigest()
