"""The calls that submit and follow a task, as values; those of the other groups are beside their records.

The pages behind them are under https://docs.cyberun.cloud/api-reference.
"""

from collections.abc import Collection, Mapping, Sequence
from types import NoneType

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.files import PresignedUpload
from cyberun_async._protocol.pages import MAX_PAGE_SIZE, Page, page_query
from cyberun_async._protocol.paths import segment, workflow_path
from cyberun_async._protocol.status import ACTIVE, TaskStatus
from cyberun_async._protocol.submitted import read_submitted
from cyberun_async._protocol.tasks import Submitted, Task, TaskResult
from cyberun_async._validators import is_whole_number


@attrs.frozen
class Dispatch:
    """Where a task is to run; what is `None` is left to the server.

    Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

    Attributes:
        dispatch_target: As documented, `agent` for one.
        target_pool: As documented, `team` for one.
        submitter_region: As documented, `us-east` for one.
        tool_type: `comfyui` or `nerfstudio`.

    """

    dispatch_target: str | None = None
    target_pool: str | None = None
    submitter_region: str | None = None
    tool_type: str | None = None


def _task_path(task_id: str) -> str:
    return f"/r/tasks/{segment(task_id, 'task_id')}"


def run_workflow(ref: str, parameters: Mapping[str, object], dispatch: Dispatch = Dispatch()) -> Call[Submitted]:
    """Submit a task: the one call that costs money each time it arrives."""
    if not isinstance(parameters, Mapping):
        raise InvalidParameters([f"parameters must be a mapping of values by key, not {type(parameters).__name__}"])
    body = {"parameters": dict(parameters), **attrs.asdict(dispatch, filter=lambda _, value: value is not None)}
    return Call("POST", f"{workflow_path(ref)}/run", Submitted, body=body, repeatable=False, read=read_submitted)


def statuses_of(status: object) -> "Sequence[str | None]":
    """Give the statuses to list, in the order in which a task goes through them: one that moves on meanwhile is seen.

    Raises:
        InvalidParameters: It is neither a status nor a collection of some.

    """
    if status is None or isinstance(status, str):
        return [status]
    if not isinstance(status, Collection) or not status or not all(isinstance(each, str) for each in status):
        raise InvalidParameters([f"status must be a status such as running, or several, not {status!r}"])
    return sorted(dict.fromkeys(status), key=lambda each: ACTIVE.index(each) if each in ACTIVE else len(ACTIVE))


def list_tasks(
    number: int = 1, per_page: int = MAX_PAGE_SIZE, *, status: TaskStatus | str | None = None
) -> Call[Page[Task]]:
    """Ask for one page of the tasks, of one status or of all."""
    if status is not None and (not isinstance(status, str) or not status or not status.isascii()):
        raise InvalidParameters([f"status must be a status such as running, not {status!r}"])
    value = None if status is None else str(status)
    return Call("GET", "/r/tasks", Page[Task], query=page_query(number, per_page, status=value))


def get_task(task_id: str) -> Call[Task]:
    """Ask how a task stands."""
    return Call("GET", _task_path(task_id), Task, task_id=task_id)


def get_task_result(task_id: str) -> Call[TaskResult]:
    """Ask for a task's result, with fresh presigned URLs."""
    return Call("GET", f"{_task_path(task_id)}/result", TaskResult, task_id=task_id)


def stream_task_events(task_id: str) -> Call[None]:
    """Ask for a task's event stream."""
    return Call("GET", f"{_task_path(task_id)}/events", NoneType, task_id=task_id)


def cancel_task(task_id: str) -> Call[None]:
    """Ask to cancel a task; on one that has ended the server does nothing and says yes."""
    return Call("POST", f"{_task_path(task_id)}/cancel", NoneType, task_id=task_id)


def presign_file(name: str, size: int, content_type: str) -> Call[PresignedUpload]:
    """Ask for a place to send one input file to."""
    problems = []
    if not isinstance(name, str) or not name:
        problems.append("the file's name must not be empty")
    if not is_whole_number(size):
        problems.append(f"the file's size must be its exact number of bytes, not {size!r}")
    if not isinstance(content_type, str) or not content_type:
        problems.append("the file's content type must be a MIME type such as image/png")
    if problems:
        raise InvalidParameters(problems)
    body = {"file_name": name, "file_size": size, "content_type": content_type}
    return Call("POST", "/r/files/presign", PresignedUpload, body=body)
