"""Output files in storage, behind links that expire."""

import logging

import anyio

from cyberun_async._errors import StorageError, TaskCancelled, TaskFailed
from cyberun_async._files.resume import NOTHING, Delivery, Have, range_headers, read_delivery, size_in_refusal
from cyberun_async._files.retry import Refusal, RetryBudget, read_refusal
from cyberun_async._files.storage import Storage, StorageBody, StorageFailure
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.secret import Secret, secrets_of_url
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._settings import Retries
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_kind

log = logging.getLogger("cyberun_async.files")

CHECKED = 2
"""Times that a file is fetched before its checksum is believed to be broken for good, or to be none."""

NO_MD5 = "%s: its ETag looks like an MD5, but is not that of its bytes, which came twice alike"
"""The warning about an entity tag that was taken for a checksum."""


class Links:
    """The links of one task's files, renewed at most once for all who find theirs refused."""

    def __init__(self, transport: Transport, task_id: str, files: tuple[OutputFile, ...]) -> None:
        """Take the links as they are."""
        self._transport = transport
        self._task_id = task_id
        self._by_key = {file.key: file for file in files}
        self._lock = anyio.Lock()
        self.generation = 0

    def url(self, file: OutputFile) -> Secret[str]:
        """Give the newest link of a file."""
        return Secret(self._by_key[file.key].url if file.key in self._by_key else file.url)

    async def renew(self, generation: int) -> None:
        """Read the result again, unless somebody has done so since `generation`."""
        async with self._lock:
            if generation == self.generation:
                result = await self._transport.send(endpoints.get_task_result(self._task_id))
                self._by_key = {file.key: file for file in result.files}
                self.generation += 1
                log.debug("task %s: renewed the presigned URLs of %d files", self._task_id, len(self._by_key))


class Output:
    """One output file in storage: asked for again after a failure, by a fresh link after a refusal.

    Attributes:
        file: Which one.
        done: How many of its bytes are safe, for the errors.

    """

    def __init__(self, storage: Storage, links: Links, file: OutputFile, retries: Retries) -> None:
        """Ask for nothing yet."""
        self.file = file
        self.done = 0
        self._storage = storage
        self._links = links
        self._patience = RetryBudget(retries)
        self._is_renewed = False

    def progressed(self, done: int) -> None:
        """Note how many bytes are safe; failures are forgiven anew if it is further than ever before."""
        self.done = done
        if self._patience.progressed(done):
            self._is_renewed = False

    def start_over(self) -> None:
        """Begin to fetch the whole file a second time."""
        self._patience.start_over()

    async def ask(self, have: Have) -> tuple[Delivery, StorageBody]:
        """Ask for what is missing; the body must be closed.

        Raises:
            StorageError: The storage refuses, or has not answered for longer than the retries allow.
            APIError: The server does not give a fresh link.

        """
        return await self._ask(range_headers(have), have)

    async def confirms(self, size: int, etag: str | None) -> bool:
        """Whether the storage says of one byte what it said of all: the size of the file, and its version."""
        delivery = await self.look()
        return delivery.total in {None, size} and delivery.etag == etag

    async def ensure_size(self, size: int) -> None:
        """Ask for the size of a file that ended with the connection, which a break does as well.

        Raises:
            StorageFailure: It has more bytes than came.

        """
        total = (await self.look()).total
        if total is not None and total > size:
            raise StorageFailure(f"{size} of {total} bytes came", retryable=True)

    async def look(self) -> Delivery:
        """Ask how large the file is and which version, for the price of its first byte."""
        delivery, body = await self._ask({"Range": "bytes=0-0"}, NOTHING)
        await body.aclose()
        return delivery

    async def _ask(self, headers: dict[str, str], have: Have) -> tuple[Delivery, StorageBody]:
        while True:
            generation = self._links.generation
            try:
                body = await self._storage.get(self._links.url(self.file), headers)
            except StorageFailure as failure:
                await self.pause(failure)
                continue
            # A 416 says nothing where no range was asked for.
            is_answer = bool(headers) or body.status != 416
            delivery = read_delivery(body.status, body.headers, have) if is_answer else None
            if delivery is not None:
                return delivery, body
            refusal, size = await self._refused(body)
            if body.status == 416 and size is not None and is_answer:
                delivery = read_delivery(416, {"content-range": f"bytes */{size}"}, have)
                if delivery is not None:
                    return delivery, body
            if body.status in {206, 416} and headers:
                headers, have = {}, NOTHING
            else:
                await self._after(refusal, generation)

    async def _refused(self, body: StorageBody) -> tuple[Refusal, int | None]:
        """Read a refusal, and the size of the file where it says that; its text may quote the link."""
        try:
            text = await body.text()
        finally:
            await body.aclose()
        return read_refusal(body.status, body.headers, text, secrets_of_url(body.url)), size_in_refusal(text)

    async def _after(self, refusal: Refusal, generation: int) -> None:
        if refusal.is_of_the_link and not self._is_renewed:
            self._is_renewed = True
            await self._links.renew(generation)
        elif not refusal.is_transient:
            raise self.error(f"{refusal.reason}; {refusal.advice}", status=refusal.status)
        else:
            await self._pause(refusal.reason, refusal.retry_after, refusal.status)

    async def pause(self, failure: StorageFailure) -> None:
        """Wait before the next try.

        Raises:
            StorageError: It has failed for too long.

        """
        if not failure.retryable:
            raise self.error(str(failure)) from failure.__cause__
        await self._pause(str(failure), cause=failure.__cause__)

    async def _pause(
        self,
        reason: str,
        asked: float | None = None,
        status: int | None = None,
        cause: BaseException | None = None,
    ) -> None:
        delay = self._patience.delay(anyio.current_time(), asked)
        if delay is None:
            raise self.error(reason, retryable=True, status=status) from cause
        log.debug("%s: interrupted after %d bytes, resuming in %.2f s: %s", self.file.name, self.done, delay, reason)
        await anyio.sleep(delay)

    def error(self, reason: str, *, retryable: bool = False, status: int | None = None) -> StorageError:
        """Give the error that this file is not complete."""
        return StorageError(
            reason,
            file=self.file.name,
            bytes_done=self.done,
            retryable=retryable,
            status=status,
            task_id=self.file.task_id,
        )


async def files_of(transport: Transport, task: str | TaskResult) -> tuple[str, tuple[OutputFile, ...]]:
    """Give the task's id and its files; a result without presigned URLs may come from a journal, so it is read again.

    Raises:
        TaskFailed: It failed, and has none.
        TaskCancelled: It was cancelled, and has none.
        StorageError: It has not ended, and has none yet.

    """
    result = task if isinstance(task, TaskResult) else None
    has_none = result is not None and result.status in {TaskStatus.FAILED, TaskStatus.CANCELLED}
    if result is None or not (has_none or result.download_url or result.download_urls):
        check_kind(task, (str, TaskResult), "task", "a task's id or its result")
        result = await transport.send(endpoints.get_task_result(task if isinstance(task, str) else task.id))
    if result.files or result.status == TaskStatus.COMPLETED:
        return result.id, result.files
    if result.status == TaskStatus.FAILED:
        raise TaskFailed(result)
    if result.status == TaskStatus.CANCELLED:
        raise TaskCancelled(result)
    raise StorageError(
        f"it is {result.status} and has none before it ends, see client.wait_for_result()",
        file="files",
        retryable=True,
        task_id=result.id,
    )
