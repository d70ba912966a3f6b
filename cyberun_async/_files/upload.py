"""Input files to storage, and as parameters."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from cyberun_async._concurrency import run_all, run_in_child_task
from cyberun_async._errors import APIError, StorageError
from cyberun_async._files.retry import Refusal, RetryBudget, read_refusal
from cyberun_async._files.source import Source, open_source
from cyberun_async._files.storage import Storage, StorageAnswer, StorageFailure
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.files import InputFile, PresignedUpload, input_file, is_file_like, is_path
from cyberun_async._protocol.secret import Secret, secrets_of_url
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_callback

UploadProgress = Callable[[InputFile, int, int], object | Awaitable[object]]
"""Called with a file, how many of its bytes are on their way, and how many it has."""

DEFAULT_LIMIT = 500_000_000
"""The documented largest file, unless a deployment says otherwise."""


class Uploads:
    """Sends files to storage.

    Args:
        transport: Asks for the links.
        storage: Takes the bytes.
        settings: The client's.

    """

    def __init__(self, transport: Transport, storage: Storage, settings: Settings) -> None:
        """Send nothing yet."""
        self._transport = transport
        self._storage = storage
        self._settings = settings

    async def upload(self, file: InputFile, on_progress: UploadProgress | None = None) -> str:
        """Send one file and give its key; see `AsyncClient.upload`."""
        check_callback(on_progress, "on_progress")
        # As a child, since asyncio's own cancellation would leave a file open that a thread is about to open.
        return await run_in_child_task(lambda: self._upload(file, on_progress))

    async def _upload(self, file: InputFile, on_progress: UploadProgress | None) -> str:
        async with self._storage.gate:
            source = await open_source(file)
            try:
                return await Upload(
                    self._transport, self._storage, self._settings, file, source, on_progress=on_progress
                ).run()
            finally:
                with anyio.CancelScope(shield=True):
                    await source.aclose()

    async def of_parameters(self, parameters: Mapping[str, object]) -> dict[str, object]:
        """Send every file among the parameters, each once, and give the parameters with keys in their places."""
        files = {key: _identity(value) for key, value in parameters.items() if is_file_like(value)}
        distinct = {identity: parameters[key] for key, identity in files.items()}
        keys: dict[object, str] = {}

        async def send(identity: object, value: object) -> None:
            keys[identity] = await self.upload(input_file(value))

        await run_all(*[_bound(send, identity, value) for identity, value in distinct.items()])
        return {**parameters, **{key: keys[identity] for key, identity in files.items()}}


def _bound(send: Callable[[object, object], Awaitable[None]], *args: object) -> Callable[[], Awaitable[None]]:
    return lambda: send(*args)


def _identity(value: object) -> object:
    """Give what is equal for the same path under the same name, and for the same object."""
    file = input_file(value)
    return (file.source, file.name, file.content_type) if is_path(file.source) else id(file.source)


def _headers(presigned: PresignedUpload, size: int) -> Secret[Mapping[str, str]]:
    headers = dict(presigned.upload_headers)
    if _signed_length(presigned) is None:
        headers["Content-Length"] = str(size)
    return Secret(headers)


def _signed_length(presigned: PresignedUpload) -> str | None:
    headers = presigned.upload_headers.items()
    return next((value.strip() for name, value in headers if name.lower() == "content-length"), None)


class Upload:
    """One file on its way to storage."""

    def __init__(
        self,
        transport: Transport,
        storage: Storage,
        settings: Settings,
        file: InputFile,
        source: Source,
        *,
        on_progress: UploadProgress | None,
    ) -> None:
        """Send nothing yet."""
        self._transport = transport
        self._storage = storage
        self._file = file
        self._source = source
        self._on_progress = on_progress
        self._patience = RetryBudget(settings.retries)
        self._is_whole = self._may_be_there = False

    async def run(self) -> str:
        """Send it, and give its key.

        Raises:
            StorageError: It cannot be read, or the storage does not take it.
            APIError: The server gives no link.

        """
        presigned = await self._presign()
        is_fresh = True
        while True:
            answer = await self._try(presigned)
            if answer is not None and self._is_there(answer):
                return presigned.file_key
            if answer is not None:
                refusal = read_refusal(answer.status, answer.headers, answer.body, secrets_of_url(answer.url))
                if refusal.is_of_the_link and is_fresh:
                    is_fresh = False
                    await self._rewind(refusal.reason, refusal.status)
                    presigned, self._may_be_there = await self._presign(), False
                    continue
                await self._after(refusal)

    def _is_there(self, answer: StorageAnswer) -> bool:
        """Whether the storage has the file; "there is one already" is ours if its answer to us was lost."""
        return answer.is_success or (answer.status == 412 and self._may_be_there)

    async def _try(self, presigned: PresignedUpload) -> StorageAnswer | None:
        """Send all bytes once, and give the answer, or `None` where there was none and it may be tried again."""
        try:
            return await self._put(presigned)
        except StorageFailure as failure:
            await self._pause(str(failure), retryable=failure.retryable, cause=failure.__cause__)
            return None

    async def _after(self, refusal: Refusal) -> None:
        if refusal.is_transient:
            await self._pause(refusal.reason, status=refusal.status, asked=refusal.retry_after)
        else:
            raise self._refused(refusal.reason, refusal.status, refusal.advice)

    async def _pause(
        self,
        reason: str,
        *,
        retryable: bool = True,
        status: int | None = None,
        asked: float | None = None,
        cause: BaseException | None = None,
    ) -> None:
        delay = self._patience.delay(anyio.current_time(), asked) if retryable else None
        if delay is None:
            raise self._error(reason, retryable=retryable, status=status) from cause
        self._may_be_there |= self._is_whole
        await self._rewind(reason, status)
        await anyio.sleep(delay)

    async def _rewind(self, reason: str, status: int | None) -> None:
        if not await self._source.rewind():
            reason = f"{reason}; it cannot be read again from its beginning, so open it anew"
            raise self._error(reason, retryable=True, status=status)

    # The link

    async def _presign(self) -> PresignedUpload:
        call = endpoints.presign_file(self._file.name, self._source.size, self._file.content_type)
        try:
            return await self._transport.send(call)
        except APIError as refusal:
            too_large = refusal.status == 413 or (refusal.status in {400, 422} and self._source.size > DEFAULT_LIMIT)
            if not too_large:
                raise
            raise self._refused(f"the server refused ({refusal.status}: {refusal.message})", 413) from refusal

    # The bytes

    async def _put(self, presigned: PresignedUpload) -> StorageAnswer:
        if _signed_length(presigned) not in {None, str(self._source.size)}:
            raise self._error(f"the presigned URL is not for a file of {self._source.size} bytes")
        headers = _headers(presigned, self._source.size)
        sending, receiving = anyio.create_memory_object_stream[bytes](1)
        answers: list[StorageAnswer] = []

        reading = anyio.CancelScope()

        async def read() -> None:
            with sending, reading:
                await self._read(sending)

        async def send() -> None:
            with receiving:
                answer = await self._storage.put(Secret(presigned.upload_url), headers, receiving)
            answers.append(answer)
            if not answer.is_success:
                # It may have come early, and the source may be slow.
                reading.cancel()

        # A child that is cancelled before its first step closes nothing.
        with sending, receiving:
            await run_all(read, send)
        return answers[0]

    async def _read(self, sending: MemoryObjectSendStream[bytes]) -> None:
        done = 0
        self._is_whole = False
        await self._tell(done)
        async with aclosing(self._blocks()) as blocks:
            async for block in blocks:
                try:
                    await sending.send(block)
                except anyio.BrokenResourceError:
                    return  # The storage has answered already.
                done += len(block)
                await self._tell(done)
        self._is_whole = True

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

    async def _tell(self, done: int) -> None:
        self._patience.progressed(done)
        if self._on_progress is not None:
            outcome = self._on_progress(self._file, done, self._source.size)
            if inspect.isawaitable(outcome):
                await outcome

    # What went wrong

    def _changed(self, done: int) -> StorageError:
        size = self._source.size
        if done == size:
            return self._error("it changed while it was read; upload it again when nobody writes to it")
        return self._error(
            f"it has {'more' if done > size else f'only {done}'} bytes, but {size} were announced; give its exact size"
        )

    def _refused(self, reason: str, status: int, advice: str = "") -> StorageError:
        if status == 413 or self._source.size > DEFAULT_LIMIT:
            advice = (
                f"it has {self._source.size} bytes, and Cyberun takes files of up to 500 MB unless a deployment is set"
                " up for more. Larger ones need multipart uploads, whose endpoints are not documented for API keys"
            )
        return self._error(f"{reason}; {advice}", status=status)

    def _error(self, reason: str, *, retryable: bool = False, status: int | None = None) -> StorageError:
        return StorageError(
            reason, file=self._file.name, bytes_done=self._patience.furthest, retryable=retryable, status=status
        )
