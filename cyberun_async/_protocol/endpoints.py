"""Every documented runtime call, as a value.

The pages behind them are under https://docs.cyberun.cloud/api-reference.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from types import NoneType
from urllib.parse import urlsplit

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.agents import Agent
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.containers import Container, Invocation
from cyberun_async._protocol.files import PresignedUpload
from cyberun_async._protocol.pages import MOST_PER_PAGE, Page
from cyberun_async._protocol.paths import is_uuid, segment
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Submitted, Task, TaskResult
from cyberun_async._protocol.webhooks import RotatedSecret, Webhook
from cyberun_async._protocol.workflows import Workflow
from cyberun_async._settings import is_loopback

INVOKE_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


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


def _workflow_path(ref: str) -> str:
    escaped = segment(ref, "the workflow")
    return f"/r/workflows/{escaped}" if is_uuid(ref) else f"/r/workflows/slug/{escaped}"


def _task_path(task_id: str) -> str:
    return f"/r/tasks/{segment(task_id, 'task_id')}"


def _page_query(number: int, per_page: int, **filters: str | None) -> Mapping[str, str | int]:
    chosen = {name: value for name, value in filters.items() if value is not None}
    return {"current_page": number, "per_page": per_page, **chosen}


def list_workflows(number: int = 1, per_page: int = MOST_PER_PAGE) -> Call[Page[Workflow]]:
    """Ask for one page of the workflows."""
    return Call("GET", "/r/workflows", Page[Workflow], query=_page_query(number, per_page))


def get_workflow(ref: str) -> Call[Workflow]:
    """Ask for a workflow by slug, `slug@version` or UUID."""
    return Call("GET", _workflow_path(ref), Workflow)


def run_workflow(ref: str, parameters: Mapping[str, object], dispatch: Dispatch = Dispatch()) -> Call[Submitted]:
    """Submit a task: the one call that costs money each time it arrives."""
    if not isinstance(parameters, Mapping):
        raise InvalidParameters([f"parameters must be a mapping of values by key, not {type(parameters).__name__}"])
    body = {"parameters": dict(parameters), **attrs.asdict(dispatch, filter=lambda _, value: value is not None)}
    return Call("POST", f"{_workflow_path(ref)}/run", Submitted, body=body, repeatable=False)


def list_tasks(
    number: int = 1, per_page: int = MOST_PER_PAGE, *, status: TaskStatus | str | None = None
) -> Call[Page[Task]]:
    """Ask for one page of the tasks, of one status or of all."""
    if status is not None and (not isinstance(status, str) or not status or not status.isascii()):
        raise InvalidParameters([f"status must be a status word such as running, not {status!r}"])
    word = None if status is None else str(status)
    return Call("GET", "/r/tasks", Page[Task], query=_page_query(number, per_page, status=word))


def get_task(task_id: str) -> Call[Task]:
    """Ask how a task stands."""
    return Call("GET", _task_path(task_id), Task, task_id=task_id)


def get_task_result(task_id: str) -> Call[TaskResult]:
    """Ask for a task's result, with fresh links."""
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
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        problems.append(f"the file's size must be its exact number of bytes, not {size!r}")
    if not isinstance(content_type, str) or not content_type:
        problems.append("the file's content type must be a MIME type such as image/png")
    if problems:
        raise InvalidParameters(problems)
    body = {"file_name": name, "file_size": size, "content_type": content_type}
    return Call("POST", "/r/files/presign", PresignedUpload, body=body)


def list_agents(number: int = 1, per_page: int = MOST_PER_PAGE) -> Call[Page[Agent]]:
    """Ask for one page of the team's agents."""
    return Call("GET", "/r/agents", Page[Agent], query=_page_query(number, per_page))


def list_containers(number: int = 1, per_page: int = MOST_PER_PAGE) -> Call[Page[Container]]:
    """Ask for one page of the container services."""
    return Call("GET", "/r/containers", Page[Container], query=_page_query(number, per_page))


def get_container(slug: str) -> Call[Container]:
    """Ask for a container service."""
    return Call("GET", f"/r/containers/{segment(slug, 'the service')}", Container)


def invoke_container(
    slug: str,
    method: str,
    path: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call[Invocation]:
    """Call a container service through the server."""
    problems = []
    if method not in INVOKE_METHODS:
        problems.append(f"method must be one of {', '.join(INVOKE_METHODS)}, not {method!r}")
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        problems.append(f"path must begin with a single slash and stay on the service, not {path!r}")
    if content is not None and not isinstance(content, (bytes, bytearray, memoryview)):
        problems.append(f"content must be bytes, not {type(content).__name__}")
    if headers and not all(isinstance(text, str) for text in (*headers, *headers.values())):
        problems.append("headers must be strings by name")
    if problems:
        raise InvalidParameters(problems)
    body: dict[str, object] = {"method": method, "path": path}
    if content is not None:
        body["body_base64"] = b64encode(content).decode()
    if headers:
        body["headers"] = dict(headers)
    # What the service behind it does with a repetition is not for us to know, unless the method says so.
    repeatable = method in {"GET", "HEAD", "OPTIONS"}
    return Call("POST", f"/r/invoke/{segment(slug, 'the service')}", Invocation, body=body, repeatable=repeatable)


def _webhook_fields(
    *, display_name: str | None, url: str | None, events: Sequence[str] | None, status: str | None = None
) -> dict[str, object]:
    """Check what is given of a webhook, and write it in the wire's words.

    Raises:
        InvalidParameters: Something given cannot be.

    """
    problems = []
    if display_name is not None and not (isinstance(display_name, str) and 1 <= len(display_name) <= 255):
        problems.append("display_name must have 1 to 255 characters")
    if url is not None and not (isinstance(url, str) and _may_be_delivered_to(url) and len(url) <= 2048):
        problems.append("url must begin with https:// and have at most 2048 characters")
    if events is not None and (isinstance(events, str) or not events):
        problems.append("events must be a list with at least one of task.completed and task.failed")
    if problems:
        raise InvalidParameters(problems)
    fields = {
        "display_name": display_name,
        "webhook_url": url,
        "webhook_events": None if events is None else list(events),
        "webhook_status": status,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _may_be_delivered_to(url: str) -> bool:
    """Whether a webhook may have the address: https, or a receiver on this machine, which a local Cyberun can reach."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return url.startswith("https://") or (url.startswith("http://") and is_loopback(host))


def _webhook_path(webhook_id: str) -> str:
    return f"/webhooks/{segment(webhook_id, 'webhook_id')}"


def create_webhook(display_name: str, url: str, events: Sequence[str]) -> Call[Webhook]:
    """Make a webhook."""
    body = _webhook_fields(display_name=display_name, url=url, events=events)
    return Call("POST", "/webhooks", Webhook, body=body, repeatable=False)


def get_webhook(webhook_id: str) -> Call[Webhook]:
    """Ask for a webhook."""
    return Call("GET", _webhook_path(webhook_id), Webhook)


def update_webhook(
    webhook_id: str, *, display_name: str | None, url: str | None, events: Sequence[str] | None, status: str | None
) -> Call[None]:
    """Change a webhook."""
    body = _webhook_fields(display_name=display_name, url=url, events=events, status=status)
    return Call("PUT", _webhook_path(webhook_id), NoneType, body=body)


def rotate_webhook_secret(webhook_id: str) -> Call[RotatedSecret]:
    """Give a webhook a new secret."""
    return Call("POST", f"{_webhook_path(webhook_id)}/rotate-secret", RotatedSecret, repeatable=False)
