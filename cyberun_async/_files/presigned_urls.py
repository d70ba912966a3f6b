"""The presigned URLs of a task's output files, which expire and are renewed."""

import logging
from contextlib import nullcontext

import anyio

from cyberun_async._protocol import endpoints
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.secret import Secret
from cyberun_async._transport.transport import Transport, Waiting

log = logging.getLogger("cyberun_async.files")


class PresignedUrls:
    """The presigned URLs of one task's files, renewed at most once for all transfers that find theirs expired.

    Args:
        transport: Reads the result again, which has fresh ones.
        task_id: The task.
        files: Its files.

    Attributes:
        generation: How often they were renewed.

    """

    def __init__(self, transport: Transport, task_id: str, files: tuple[OutputFile, ...]) -> None:
        self._transport = transport
        self._task_id = task_id
        self._by_key = {file.key: file for file in files}
        self._renewed: anyio.Event | None = None
        self.generation = 0

    def __repr__(self) -> str:
        """Show the task, and how often they were renewed."""
        return f"<{type(self).__name__} of task {self._task_id}, renewed {self.generation} times>"

    def url(self, file: OutputFile) -> Secret[str]:
        """Give the newest presigned URL of a file."""
        return Secret(self._by_key[file.key].url if file.key in self._by_key else file.url)

    async def renew(self, generation: int, waiting: Waiting = nullcontext) -> None:
        """Read the result again, unless that was done since `generation`.

        Args:
            generation: What the caller has seen.
            waiting: Gives what is entered while another does that, or while a pause goes on.

        """
        while generation == self.generation:
            if (renewed := self._renewed) is None:
                await self._read_result(waiting)
            else:
                async with waiting():
                    await renewed.wait()

    async def _read_result(self, waiting: Waiting) -> None:
        self._renewed = renewed = anyio.Event()
        try:
            result = await self._transport.send(endpoints.get_task_result(self._task_id), waiting=waiting)
            self._by_key = {file.key: file for file in result.files}
            self.generation += 1
            log.debug("task %s: renewed the presigned URLs of %d files", self._task_id, len(self._by_key))
        finally:
            self._renewed = None
            renewed.set()
