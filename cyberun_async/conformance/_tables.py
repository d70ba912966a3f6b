"""What the documents say of each object, written down by hand and read by nothing else of the SDK.

The SDK takes in what it can make sense of; these tables are strict, so that a difference shows. A field is written as its
kind, or as its words with `|` between them; `!` marks one that the documents require, `?` one that may be missing or null.

Source: the pages under https://docs.cyberun.cloud/api-reference.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

Table = Mapping[str, str]

_STATUS = "pending|waiting|provisioning|queued|running|completed|failed|cancelled"
_TOOL = "comfyui|nerfstudio"

PAGE_META: Table = {"current_page": "int!", "per_page": "int!", "total_count": "int!"}
WORKFLOW: Table = {
    "id": "uuid!",
    "workflow_slug": "string!",
    "display_name": "string?",
    "description": "string?",
    "version": "int?",
    "workflow_status": "active|disabled?",
    "parameters": "objects?",
    "required_labels": "strings?",
    "task_timeout": "int?",
    "max_retries": "int?",
    "preferred_gpu": "string?",
    "default_dispatch_target": "string?",
    "min_vram_gb": "int?",
    "required_models": "strings?",
    "tool_type": f"{_TOOL}?",
    "created_at": "time?",
    "updated_at": "time?",
}
PARAMETER: Table = {
    "key": "string!",
    "type": "string|number|boolean|select|file!",
    "label": "string?",
    "description": "string?",
    "required": "bool?",
    "default": "any?",
    "min": "number?",
    "max": "number?",
    "options": "strings?",
    "accept": "strings?",
    "node_id": "string?",
    "field": "string?",
    "target_path": "string?",
    "source_key": "string?",
}
TASK: Table = {
    "id": "uuid!",
    "workflow_id": "uuid!",
    "task_status": f"{_STATUS}!",
    "created_at": "time?",
    "task_error": "string?",
    "retry_count": "int?",
    "started_at": "time?",
    "completed_at": "time?",
    "agent_id": "string?",
    "agent_labels": "strings?",
    "gateway_id": "string?",
    "gpu_type": "string?",
    "dispatch_target": "string?",
    "target_pool": "string?",
    "tool_type": f"{_TOOL}?",
}
RESULT: Table = {
    "id": "uuid!",
    "task_status": f"{_STATUS}!",
    "task_output": "object?",
    "download_url": "url?",
    "download_urls": "urls?",
    "expires_at": "time?",
    "task_error": "string?",
    "completed_at": "time?",
}
AGENT: Table = {
    "agent_id": "string!",
    "agent_status": "idle|busy|syncing|tunnel|unhealthy?",
    "agent_labels": "strings?",
    "last_heartbeat": "time?",
    "agent_version": "string?",
    "tool": "string?",
    "tool_version": "string?",
    "comfyui_version": "string?",
    "gpu_capacity": "int?",
    "running_count": "int?",
    "running_tasks": "list?",
    "platform_arch": "string?",
    "sync_phase": "string?",
    "sync_detail": "string?",
    "sync_percent": "number?",
    "connected_at": "time?",
    "tasks_completed": "int?",
    "current_task_id": "string?",
    "system_stats": "object?",
}
CONTAINER: Table = {
    "id": "uuid!",
    "service_slug": "string!",
    "display_name": "string?",
    "service_type": "deployed|external?",
    "service_status": "created|deploying|running|stopping|stopped|failed?",
    "created_at": "time?",
    "updated_at": "time?",
    "service_desc": "string?",
    "docker_image": "string?",
    "exposed_port": "int?",
    "health_path": "string?",
    "env_config": "objects?",
    "volume_config": "objects?",
    "required_labels": "strings?",
    "gpu_count": "int?",
    "replica_count": "int?",
    "usage_prompt": "string?",
    "openapi_url": "path?",
    "external_url": "url?",
    "external_auth_credential_id": "string?",
}
REFUSAL: Table = {"error_message": "string!"}
SUBMITTED: Table = {"task_id": "uuid!"}
PRESIGNED: Table = {"file_key": "string!", "upload_url": "url!", "upload_headers": "string map!"}

EVENTS: Mapping[str, Table] = {
    "status": {"task_id": "uuid!", "status": f"{_STATUS}!", "timestamp": "time?"},
    "progress": {
        "task_id": "uuid!",
        "progress": "share?",
        "current_node": "string?",
        "step_current": "int?",
        "step_total": "int?",
        "timestamp": "time?",
        "stage": "download|process_data|train|export|upload?",
        "message": "string?",
    },
    "completed": {"task_id": "uuid!", "status": "completed!", "completed_at": "time?", "output": "object?"},
    "failed": {"task_id": "uuid!", "status": "failed!", "error": "string?"},
    "cancelled": {"task_id": "uuid!", "status": "cancelled!"},
    "error": {"message": "string!"},
}
"""By the name of the event: https://docs.cyberun.cloud/api-reference/streaming-events"""

LAST_EVENTS = ("completed", "failed", "cancelled")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)").fullmatch


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme in {"http", "https"}


_KINDS: Mapping[str, Callable[[object], bool]] = {
    "any": lambda _: True,
    "uuid": lambda value: isinstance(value, str) and bool(_UUID(value)),
    "string": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "share": lambda value: isinstance(value, (int, float)) and _is_number(value) and 0 <= value <= 1,
    "bool": lambda value: isinstance(value, bool),
    "time": lambda value: isinstance(value, str) and bool(_TIME(value)),
    "url": _is_url,
    "path": lambda value: isinstance(value, str) and not urlsplit(value).scheme,
    "list": lambda value: isinstance(value, list),
    "strings": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "object": lambda value: isinstance(value, dict),
    "objects": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    "urls": lambda value: isinstance(value, dict) and all(map(_is_url, value.values())),
    "string map": lambda value: isinstance(value, dict) and all(isinstance(item, str) for item in value.values()),
}


def problems(value: object, table: Table) -> Sequence[str]:
    """Say where an object differs from its table, without its values: some of them are links that open files."""
    if not isinstance(value, dict):
        return ["it is no object"]
    return [problem for name, kind in table.items() if (problem := _problem(name, value.get(name), kind))]


def additions(value: object, table: Table) -> set[str]:
    """Name the fields that no document knows."""
    return set(value) - set(table) if isinstance(value, dict) else set()


def _problem(name: str, value: object, field: str) -> str:
    kind, mark = field[:-1], field[-1]
    if value is None:
        return f"{name} is missing" if mark == "!" else ""
    if kind in _KINDS:
        return "" if _KINDS[kind](value) else f"{name} is a {type(value).__name__} that is no {kind}"
    return "" if value in kind.split("|") else f"{name} is {str(value)[:40]!r}, which is none of {kind}"
