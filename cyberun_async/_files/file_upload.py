"""One input file to storage, by a single PUT to a presigned URL. (upload, retry)

**One request.** The documented upload is a single PUT of all bytes, with the headers that were signed. So the size must
be known before, and an upload that breaks off starts at its first byte again: there is nothing to resume.

**Why a retry is safe.** The same bytes go to the same key of the storage, so it costs nothing twice. A storage that says
that there is such an object already (412) has taken it by an earlier attempt whose response was lost, if all of its bytes
had been sent (`_may_be_there`); otherwise that is an error. A 400, 401 or 403 may be an expired URL: one fresh URL is
asked for, once. A retry needs the source again from its beginning, which an async iterable cannot give.

**What must not get there.** A file that changes while it is read is of no version. The last block is sent only once the
source is at its end, has the size that was announced, and has not changed; a storage that waits for that block has no
object yet, so nothing wrong is stored. A storage may respond before it has all bytes: then reading stops, since the
source may be slow, and a success that came too early is a failure.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from cyberun_async._concurrency import call_back, run_all
from cyberun_async._errors import APIError, StorageError
from cyberun_async._files.retry import RetryBudget
from cyberun_async._files.source import Source
from cyberun_async._files.storage import Storage, StorageResponse
from cyberun_async._files.storage_errors import StorageErrorResponse, read_storage_error
from cyberun_async._files.storage_failure import StorageFailure
from cyberun_async._files.transfer_slot import TransferSlot
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.files import InputFile, PresignedUpload
from cyberun_async._protocol.secret import Secret, secrets_of_url
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport

UploadProgress = Callable[[InputFile, int, int], object | Awaitable[object]]
"""Called with a file, how many of its bytes were sent, and how many it has."""

DEFAULT_LIMIT = 500_000_000
"""The documented largest file, unless a deployment says otherwise."""


def _headers(presigned: PresignedUpload, size: int) -> Secret[Mapping[str, str]]:
    headers = dict(presigned.upload_headers)
    if _signed_length(presigned) is None:
        headers["Content-Length"] = str(size)
    return Secret(headers)


def _signed_length(presigned: PresignedUpload) -> str | None:
    headers = presigned.upload_headers.items()
    return next((value.strip() for name, value in headers if name.lower() == "content-length"), None)


class FileUpload:
    """The upload of one file.

    Args:
        transport: Asks for the presigned URL.
        storage: Takes the bytes.
        settings: The client's.
        file: Which file it is.
        source: Where its bytes come from.
        slot: Is held.
        on_progress: Called with the progress.

    """

    def __init__(
        self,
        transport: Transport,
        storage: Storage,
        settings: Settings,
        file: InputFile,
        source: Source,
        *,
        slot: TransferSlot,
        on_progress: UploadProgress | None,
    ) -> None:
        self._transport = transport
        self._storage = storage
        self._file = file
        self._source = source
        self._slot = slot
        self._on_progress = on_progress
        self._retry_budget = RetryBudget(settings.retries)
        self._is_complete = self._may_be_there = False

    def __repr__(self) -> str:
        """Show which file it is, and how much of it was sent."""
        return (
            f"<{type(self).__name__} of {self._file.name}, {self._retry_budget.furthest} of {self._source.size} bytes>"
        )

    async def run(self) -> str:
        """Send it, and give its key.

        Raises:
            StorageError: It cannot be read, or the storage does not take it.
            APIError: The server gives no presigned URL.

        """
        presigned = await self._presign()
        is_fresh = True
        while True:
            response = await self._try(presigned)
            if response is not None and self._is_there(response):
                return presigned.file_key
            if response is not None:
                rejection = read_storage_error(
                    response.status, response.headers, response.body, secrets_of_url(response.url)
                )
                if rejection.may_be_expired and is_fresh:
                    is_fresh = False
                    await self._rewind(rejection.reason, rejection.status)
                    presigned, self._may_be_there = await self._presign(), False
                    continue
                await self._after(rejection)

    def _is_there(self, response: StorageResponse) -> bool:
        """Whether the storage has the file; "there is one already" is ours if its response to us was lost."""
        return response.is_success or (response.status == 412 and self._may_be_there)

    async def _try(self, presigned: PresignedUpload) -> StorageResponse | None:
        """Send all bytes once, and give the response, or `None` where there was none and it may be retried."""
        try:
            return await self._put(presigned)
        except StorageFailure as failure:
            await self._pause(str(failure), retryable=failure.retryable, cause=failure.__cause__)
            return None

    async def _after(self, rejection: StorageErrorResponse) -> None:
        if rejection.is_transient:
            await self._pause(rejection.reason, status=rejection.status, asked=rejection.retry_after)
        else:
            raise self._rejected(rejection.reason, rejection.status, rejection.advice)

    async def _pause(
        self,
        reason: str,
        *,
        retryable: bool = True,
        status: int | None = None,
        asked: float | None = None,
        cause: BaseException | None = None,
    ) -> None:
        delay = self._retry_budget.delay(anyio.current_time(), asked) if retryable else None
        if delay is None:
            raise self._error(reason, retryable=retryable, status=status) from cause
        self._may_be_there |= self._is_complete
        await self._rewind(reason, status)
        await anyio.sleep(delay)

    async def _rewind(self, reason: str, status: int | None) -> None:
        if not await self._source.rewind():
            reason = f"{reason}; it cannot be read again from its beginning, so open it anew"
            raise self._error(reason, retryable=True, status=status)

    # The presigned URL

    async def _presign(self) -> PresignedUpload:
        call = endpoints.presign_file(self._file.name, self._source.size, self._file.content_type)
        try:
            return await self._transport.send(call, waiting=self._slot.given_back)
        except APIError as rejection:
            too_large = rejection.status == 413 or (
                rejection.status in {400, 422} and self._source.size > DEFAULT_LIMIT
            )
            if not too_large:
                raise
            raise self._rejected(f"the server refused ({rejection.status}: {rejection.message})", 413) from rejection

    # The bytes

    async def _put(self, presigned: PresignedUpload) -> StorageResponse:
        if _signed_length(presigned) not in {None, str(self._source.size)}:
            raise self._error(f"the presigned URL is not for a file of {self._source.size} bytes")
        headers = _headers(presigned, self._source.size)
        sending, receiving = anyio.create_memory_object_stream[bytes](1)
        responses: list[StorageResponse] = []

        reading = anyio.CancelScope()

        async def read() -> None:
            with sending, reading:
                await self._read(sending)

        async def send() -> None:
            with receiving:
                response = await self._storage.put(Secret(presigned.upload_url), headers, receiving)
            responses.append(response)
            if not response.is_success:
                # It may have come early, and the source may be slow.
                reading.cancel()

        # A child that is cancelled before its first step closes nothing.
        with sending, receiving:
            await run_all(read, send)
        return responses[0]

    async def _read(self, sending: MemoryObjectSendStream[bytes]) -> None:
        done = 0
        self._is_complete = False
        await self._report_progress(done)
        async with aclosing(self._blocks()) as blocks:
            async for block in blocks:
                try:
                    await sending.send(block)
                except anyio.BrokenResourceError:
                    return  # The storage has responded already.
                done += len(block)
                await self._report_progress(done)
        self._is_complete = True

    async def _blocks(self) -> AsyncGenerator[bytes, None]:
        """Give all blocks; the last one only once it is certain that there are no more, and that nothing has changed.

        A storage that waits for the last block has no object yet, so a file that is not what it was does not get there.
        """
        size, done, last = self._source.size, 0, b""
        while block := await self._source.read():
            done += len(block)
            if done > size:
                break
            if last:
                yield last
            last = block
        if done != size or await self._source.has_changed():
            raise self._changed(done)
        yield last

    async def _report_progress(self, done: int) -> None:
        self._retry_budget.progressed(done)
        if self._on_progress is not None:
            await call_back(self._on_progress, self._file, done, self._source.size)

    # What went wrong

    def _changed(self, done: int) -> StorageError:
        size = self._source.size
        if done == size:
            return self._error("it changed while it was read; upload it again when nobody writes to it")
        return self._error(
            f"it has {'more' if done > size else f'only {done}'} bytes, but {size} were announced; give its exact size"
        )

    def _rejected(self, reason: str, status: int, advice: str = "") -> StorageError:
        if status == 413 or self._source.size > DEFAULT_LIMIT:
            advice = (
                f"it has {self._source.size} bytes, and Cyberun takes files of up to 500 MB unless a deployment is set"
                " up for more. Larger ones need multipart uploads, whose endpoints are not documented for API keys"
            )
        return self._error(f"{reason}; {advice}", status=status)

    def _error(self, reason: str, *, retryable: bool = False, status: int | None = None) -> StorageError:
        return StorageError(
            reason, file=self._file.name, bytes_done=self._retry_budget.furthest, retryable=retryable, status=status
        )
