"""The documented samples, word for word, and variants of them.

Source: the pages under https://docs.cyberun.cloud/api-reference; the generator that made them leaves out every
enumeration, so the ones here that end in `stated` are the same with theirs filled in.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from cyberun_async import (
    Agent,
    Container,
    Invocation,
    ParameterDef,
    PresignedUpload,
    Task,
    TaskResult,
    Webhook,
    Workflow,
)
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.tasks import Submitted

Json = Any
"""A parsed JSON value."""

Path = tuple[str | int, ...]
"""The way from the top of a JSON value to a place in it."""

ID = "019abc12-9012-7890-abcd-ef1234567896"
WORKFLOW_ID = "019abc12-5678-7890-abcd-ef1234567892"

RESULT = {
    "id": ID,
    "task_output": {
        "storage_key": "tasks/019c65a0-1234-7000-8000-abcdef123456/output_00001_.png",
        "image_count": 1,
    },
    "download_url": "https://s3.example.com/tasks/019c65a0-.../output.png?X-Amz-Expires=3600&...",
    "download_urls": {"9.images.0": "https://s3.example.com/outputs/.../image.png?X-Amz-Expires=3600&..."},
    "expires_at": "2025-02-10T15:01:30Z",
    "task_error": "",
    "completed_at": "2025-02-10T14:01:30Z",
}
TASK = {
    "id": ID,
    "workflow_id": WORKFLOW_ID,
    "created_at": "2025-02-10T14:00:00Z",
    "task_error": "",
    "retry_count": 0,
    "started_at": "2025-02-10T14:00:05Z",
    "completed_at": "2025-02-10T14:01:30Z",
    "agent_id": "agent-gpu-01",
    "agent_labels": ["gpu", "comfyui"],
    "gateway_id": "gw-a1b2c3d4",
    "gpu_type": "NVIDIA GeForce RTX 4090",
    "dispatch_target": "agent",
    "target_pool": "team",
    "tool_type": "comfyui",
}
PARAMETER = {
    "key": "steps",
    "label": "Steps",
    "description": "How many",
    "required": True,
    "default": 20,
    "min": 1,
    "max": 150,
    "options": ["euler", "ddim"],
    "accept": ["image/png"],
    "node_id": "3",
    "field": "steps",
    "target_path": "train.max_num_iterations",
    "source_key": "input_image",
}
WORKFLOW = {
    "id": WORKFLOW_ID,
    "workflow_slug": "text-to-image",
    "display_name": "Text to image",
    "description": "Draws what you say",
    "version": 2,
    "parameters": [PARAMETER],
    "required_labels": ["gpu"],
    "task_timeout": 600,
    "max_retries": 3,
    "preferred_gpu": "RTX_4090",
    "default_dispatch_target": "agent",
    "min_vram_gb": 24,
    "required_models": ["sd_xl_base_1.0.safetensors"],
    "created_at": "2025-02-10T14:00:00Z",
    "updated_at": "2025-02-10T14:00:00Z",
}
AGENT = {
    "agent_id": "agent-gpu-01",
    "agent_labels": ["gpu"],
    "last_heartbeat": "2025-02-10T14:00:00Z",
    "agent_version": "1.2.3",
    "tool": "comfyui",
    "tool_version": "0.3.10",
    "comfyui_version": "0.3.10",
    "gpu_capacity": 2,
    "running_count": 1,
    "running_tasks": [ID],
    "platform_arch": "amd64",
    "sync_phase": "download",
    "sync_detail": "sd_xl_base_1.0.safetensors",
    "sync_percent": 42.5,
    "connected_at": "2025-02-10T13:00:00Z",
    "tasks_completed": 128,
    "current_task_id": ID,
    "system_stats": {
        "comfyui_version": "0.3.10",
        "pytorch_version": "2.5.1",
        "os_type": "linux",
        "gpu_devices": [
            {
                "device_name": "NVIDIA GeForce RTX 4090",
                "device_type": "cuda",
                "vram_total": 25757220864,
                "vram_free": 20000000000,
            }
        ],
    },
}
CONTAINER = {
    "id": "019abc12-3456-7890-abcd-ef1234567890",
    "service_slug": "whisper",
    "display_name": "Whisper",
    "created_at": "2025-02-10T14:00:00Z",
    "updated_at": "2025-02-10T14:00:00Z",
    "service_desc": "Speech to text",
    "docker_image": "ghcr.io/example/whisper:1",
    "exposed_port": 8080,
    "health_path": "/health",
    "env_config": [{"env_name": "MODEL", "env_value": "large"}],
    "volume_config": [{"host_path": "/data", "container_path": "/models"}],
    "required_labels": ["gpu"],
    "gpu_count": -1,
    "replica_count": 1,
    "usage_prompt": "POST audio to /transcribe",
    "openapi_url": "https://example.com/openapi.json",
    "external_url": "https://example.com",
    "external_auth_credential_id": "019abc12-0000-7890-abcd-ef1234567890",
}
PRESIGNED = {
    "file_key": "inputs/019abc12/1/aW1hZ2UvcG5n/input_image.png",
    "upload_url": "https://s3.example.com/inputs/...?X-Amz-Signature=...",
    "upload_headers": {"Content-Length": "1048576", "If-None-Match": "*"},
}
INVOCATION = {
    "status_code": 200,
    "body_base64": "eyJvayI6dHJ1ZX0=",
    "headers": {"Content-Type": "application/json"},
}
WEBHOOK = {
    "id": "019abc12-7777-7890-abcd-ef1234567890",
    "display_name": "Mine",
    "webhook_url": "https://example.com/hook",
    "webhook_secret": "whsec_0123456789abcdef",
    "webhook_events": ["task.completed", "task.failed"],
    "created_at": "2025-02-10T14:00:00Z",
    "last_delivered_at": "2025-02-10T14:01:30Z",
}
PAGE_META = {"current_page": 1, "per_page": 20, "total_count": 42}


@attrs.frozen
class Sample:
    """A documented answer."""

    kind: Any
    """What it becomes."""
    json: Json
    required: frozenset[Path] = frozenset()
    """The places that must be there."""
    open: frozenset[Path] = frozenset()
    """The places that take anything."""


def _paths(*paths: Path) -> frozenset[Path]:
    return frozenset(paths)


SAMPLES: Mapping[str, Sample] = {
    "submitted": Sample(Submitted, {"task_id": ID}, _paths(("task_id",))),
    "result": Sample(TaskResult, RESULT, _paths(("id",)), _paths(("task_output",))),
    "result, stated": Sample(
        TaskResult, {**RESULT, "task_status": "completed"}, _paths(("id",)), _paths(("task_output",))
    ),
    "task": Sample(Task, TASK, _paths(("id",))),
    "task, stated": Sample(Task, {**TASK, "task_status": "running"}, _paths(("id",))),
    "tasks": Sample(
        Page[Task], {"task_list": [TASK], "page_meta": PAGE_META}, _paths(("task_list",), ("task_list", 0, "id"))
    ),
    "parameter": Sample(ParameterDef, PARAMETER, _paths(("key",)), _paths(("default",))),
    "parameter, stated": Sample(ParameterDef, {**PARAMETER, "type": "number"}, _paths(("key",)), _paths(("default",))),
    "workflow": Sample(
        Workflow,
        {**WORKFLOW, "workflow_status": "active", "tool_type": "comfyui"},
        _paths(("id",), ("parameters", 0, "key")),
        _paths(("parameters", 0, "default")),
    ),
    "workflows": Sample(
        Page[Workflow],
        {"workflow_list": [WORKFLOW], "page_meta": PAGE_META},
        _paths(("workflow_list",), ("workflow_list", 0, "id"), ("workflow_list", 0, "parameters", 0, "key")),
        _paths(("workflow_list", 0, "parameters", 0, "default")),
    ),
    "agents": Sample(
        Page[Agent],
        {"agent_list": [{**AGENT, "agent_status": "busy"}], "page_meta": PAGE_META},
        _paths(("agent_list",), ("agent_list", 0, "agent_id")),
        _paths(("agent_list", 0, "running_tasks", 0)),
    ),
    "container": Sample(
        Container,
        {**CONTAINER, "service_type": "deployed", "service_status": "running"},
        _paths(("id",), ("env_config", 0, "env_name")),
    ),
    "containers": Sample(
        Page[Container],
        {"service_list": [CONTAINER], "page_meta": PAGE_META},
        _paths(("service_list",), ("service_list", 0, "id"), ("service_list", 0, "env_config", 0, "env_name")),
    ),
    "presigned upload": Sample(PresignedUpload, PRESIGNED, _paths(("file_key",), ("upload_url",))),
    "webhook": Sample(Webhook, WEBHOOK, _paths(("id",))),
    "webhook, stated": Sample(Webhook, {**WEBHOOK, "webhook_status": "active"}, _paths(("id",))),
    "invocation": Sample(Invocation, INVOCATION, _paths(("status_code",))),
}


def places(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Go through all places in a JSON value below its top."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in pairs:
        yield (*path, step), item
        yield from places(item, (*path, step))


def at(value: Json, path: Path) -> Json:
    """Give what is at a place."""
    for step in path:
        value = value[step]
    return value


def without(value: Json, path: Path) -> Json:
    """Give a copy without the field at a place."""
    changed = copy.deepcopy(value)
    del at(changed, path[:-1])[path[-1]]
    return changed


def with_(value: Json, path: Path, item: Json) -> Json:
    """Give a copy with something else at a place."""
    changed = copy.deepcopy(value)
    at(changed, path[:-1])[path[-1]] = item
    return changed


def spelled(path: Path) -> str:
    """Write a place as one reads it aloud."""
    return ".".join(map(str, path))
