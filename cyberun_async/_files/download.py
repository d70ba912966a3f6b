"""The files of a result into a directory: each complete under its name, or not at all. `file_download.py` fetches one."""

import os
from functools import partial
from pathlib import Path

import anyio.to_thread

from cyberun_async._concurrency import run_all
from cyberun_async._errors import CyberunError, InvalidParameters, StorageError, TaskCancelled, TaskFailed
from cyberun_async._files.file_download import DownloadProgress, Downloads, FileDownload
from cyberun_async._files.part_file import map_disk_errors
from cyberun_async._files.presigned_urls import PresignedUrls
from cyberun_async._files.storage import Storage
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_callback, check_kind, is_whole_number


async def download(
    transport: Transport,
    storage: Storage,
    settings: Settings,
    task: str | TaskResult,
    directory: "str | os.PathLike[str]",
    *,
    concurrency: int,
    on_progress: DownloadProgress | None,
) -> list[Path]:
    """Fetch every file of a result; see `AsyncClient.download`."""
    check_kind(directory, (str, bytes, os.PathLike), "directory", "a path")
    check_callback(on_progress, "on_progress")
    if not is_whole_number(concurrency, minimum=1):
        raise InvalidParameters([f"concurrency must be a whole number above zero, not {concurrency!r}"])
    task_id, files = await result_files(transport, task)
    urls = PresignedUrls(transport, task_id, files)
    downloads = Downloads(storage, settings, urls, Path(os.fsdecode(directory)), on_progress)
    with map_disk_errors(files[0].name if files else "files", 0, task_id):
        await anyio.to_thread.run_sync(partial(downloads.directory.mkdir, parents=True, exist_ok=True))
    paths: dict[str, Path] = {}
    failures: dict[str, CyberunError] = {}
    waiting = iter(files)

    async def work() -> None:
        # Nothing cancels the other workers: what they have begun may be saved, and each meets a full disk by itself.
        for file in waiting:
            try:
                paths[file.key] = await FileDownload(downloads, file).run()
            except CyberunError as failure:
                failures[file.key] = failure
                if not _is_about_one_file(failure):
                    return

    await run_all(*[work] * min(concurrency, len(files)))
    if failures:
        raise _first_failure(failures, [file for file in files if file.key not in paths])
    return [paths[file.key] for file in files]


def _is_about_one_file(failure: CyberunError) -> bool:
    """Whether the storage rejected one file for good; a full disk or a broken network is about the next file, too."""
    return isinstance(failure, StorageError) and failure.status is not None and not failure.retryable


def _first_failure(failures: dict[str, CyberunError], missing: list[OutputFile]) -> CyberunError:
    """Give the first failure, and let it say what else is missing."""
    key, first = next(iter(failures.items()))
    others = [file.name for file in missing if file.key != key]
    if others and isinstance(first, StorageError):
        first.args = (f"{first}; also missing: {', '.join(others)}",)
    return first


async def result_files(transport: Transport, task: str | TaskResult) -> tuple[str, tuple[OutputFile, ...]]:
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
