"""One output file in storage: its bytes by range, retried after a failure, by a fresh presigned URL once one expired."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial

import anyio

from cyberun_async._errors import StorageError
from cyberun_async._files.presigned_urls import PresignedUrls, log
from cyberun_async._files.ranges import ByteRange, read_part
from cyberun_async._files.resume import NOTHING, Delivery, Have, range_headers, read_delivery, size_in_error
from cyberun_async._files.retry import RetryBudget
from cyberun_async._files.storage import Storage
from cyberun_async._files.storage_body import StorageBody
from cyberun_async._files.storage_errors import StorageErrorResponse, read_storage_error
from cyberun_async._files.storage_failure import StorageFailure
from cyberun_async._files.transfer_slot import TransferSlot
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.secret import secrets_of_url
from cyberun_async._settings import Retries
from cyberun_async._transport.transport import Waiting

MAX_CHECKED_FETCHES = 2
"""Times that a file is fetched before its checksum is believed to be broken for good, or to be none."""

ETAG_IS_NO_MD5 = "%s: its ETag looks like an MD5, but is not that of its bytes, which came twice alike"
"""The warning about an entity tag that was taken for a checksum."""

ReadDelivery = Callable[[int, Mapping[str, str]], Delivery | None]
"""Gives what a response brings by its status and headers, or `None` where it cannot be used."""


class RemoteFile:
    """One output file in storage.

    Attributes:
        file: Which one.
        done: How many of its bytes are safe, for the errors.

    """

    def __init__(
        self,
        storage: Storage,
        urls: PresignedUrls,
        file: OutputFile,
        retries: Retries,
        slot: TransferSlot | None = None,
    ) -> None:
        self.file = file
        self.done = 0
        self._storage = storage
        self._urls = urls
        self._waiting: Waiting = nullcontext if slot is None else slot.given_back
        self._retry_budget = RetryBudget(retries)
        self._is_renewed = False

    def __repr__(self) -> str:
        """Show which file it is, and how many of its bytes are safe."""
        return f"<{type(self).__name__} {self.file.name} of task {self.file.task_id}, {self.done} bytes>"

    def progressed(self, done: int) -> None:
        """Note how many bytes are safe; failures are forgiven anew if it is further than ever before."""
        self.done = done
        if self._retry_budget.progressed(done):
            self._is_renewed = False

    def start_over(self) -> None:
        """Start to fetch the complete file a second time."""
        self._retry_budget.start_over()

    async def ask(self, have: Have, stop: int | None = None) -> tuple[Delivery, StorageBody]:
        """Ask for what is missing, up to some byte or to the end; the body must be closed.

        Raises:
            StorageError: The storage rejects the request, or has not responded for longer than the retries allow.
            APIError: The server does not give a fresh presigned URL.

        """
        return await self._ask(range_headers(have, stop), partial(read_delivery, have=have))

    async def ask_for(self, wanted: ByteRange) -> tuple[Delivery, StorageBody]:
        """Ask for a part of the file; the body must be closed. Raises what `ask` raises."""
        return await self._ask(wanted.headers, partial(read_part, wanted=wanted))

    async def confirms(self, size: int, etag: str | None) -> bool:
        """Whether the storage says of one byte what it said of all: the size of the file, and its version."""
        delivery = await self.probe()
        return delivery.total in {None, size} and delivery.etag == etag

    async def ensure_size(self, size: int) -> None:
        """Ask for the size of a file that ended with the connection, which a break does as well.

        Raises:
            StorageFailure: It has more bytes than came.

        """
        total = (await self.probe()).total
        if total is not None and total > size:
            raise StorageFailure(f"{size} of {total} bytes came", retryable=True)

    async def probe(self) -> Delivery:
        """Ask how large the file is and which version, for the price of its first byte."""
        delivery, body = await self._ask({"Range": "bytes=0-0"}, partial(read_delivery, have=NOTHING))
        await body.aclose()
        return delivery

    async def _ask(self, headers: dict[str, str], read: ReadDelivery) -> tuple[Delivery, StorageBody]:
        while True:
            generation = self._urls.generation
            try:
                body = await self._storage.get(self._urls.url(self.file), headers)
            except StorageFailure as failure:
                await self.pause(failure)
                continue
            # A 416 says nothing where no range was asked for.
            may_be_delivery = bool(headers) or body.status != 416
            delivery = read(body.status, body.headers) if may_be_delivery else None
            if delivery is not None:
                return delivery, body
            response, size = await self._rejected(body)
            if body.status == 416 and size is not None and may_be_delivery:
                delivery = read(416, {"content-range": f"bytes */{size}"})
                if delivery is not None:
                    return delivery, body
            if body.status in {206, 416} and headers:
                headers, read = {}, partial(read_delivery, have=NOTHING)
            else:
                await self._after(response, generation)

    async def _rejected(self, body: StorageBody) -> tuple[StorageErrorResponse, int | None]:
        """Read an error response, and the size of the file where it says that; its text may quote the URL."""
        try:
            text = await body.text()
        finally:
            await body.aclose()
        return read_storage_error(body.status, body.headers, text, secrets_of_url(body.url)), size_in_error(text)

    async def _after(self, response: StorageErrorResponse, generation: int) -> None:
        if response.may_be_expired and not self._is_renewed:
            self._is_renewed = True
            await self._urls.renew(generation, self._waiting)
        elif not response.is_transient:
            raise self.error(f"{response.reason}; {response.advice}", status=response.status)
        else:
            await self._pause(response.reason, response.retry_after, response.status)

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
        delay = self._retry_budget.delay(anyio.current_time(), asked)
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
