"""Every answer against the documented field tables, written down here by hand and not taken from the SDK.

`!` marks a field that must be there, `?` one that may be missing or null.
Source: the pages under https://docs.cyberun.cloud/api-reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

import httpx
import pytest
from local.conftest import client_with
from support.tables import table

from cyberun_async.local import LocalCyberun

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STATUSES = {"pending", "waiting", "queued", "running", "completed", "failed", "cancelled"}
CONTAINER_STATUSES = {"created", "deploying", "running", "stopping", "stopped", "failed"}

TASK = {
    "id": "uuid!",
    "workflow_id": "uuid!",
    "task_status": STATUSES,
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
    "tool_type": {"comfyui", "nerfstudio"},
}
RESULT = {
    "id": "uuid!",
    "task_status": STATUSES,
    "task_output": "object?",
    "download_url": "url?",
    "download_urls": "urls?",
    "expires_at": "time?",
    "task_error": "string?",
    "completed_at": "time?",
}
WORKFLOW = {
    "id": "uuid!",
    "workflow_slug": "string!",
    "display_name": "string?",
    "description": "string?",
    "version": "int?",
    "workflow_status": {"active", "disabled"},
    "parameters": "objects?",
    "required_labels": "strings?",
    "task_timeout": "int?",
    "max_retries": "int?",
    "preferred_gpu": "string?",
    "default_dispatch_target": "string?",
    "min_vram_gb": "int?",
    "required_models": "strings?",
    "tool_type": {"comfyui", "nerfstudio"},
    "created_at": "time?",
    "updated_at": "time?",
}
PARAMETER = {
    "key": "string!",
    "type": {"string", "number", "boolean", "select", "file"},
    "label": "string?",
    "description": "string?",
    "required": "bool!",
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
PRESIGNED = {"file_key": "string!", "upload_url": "url!", "upload_headers": "string map!"}
AGENT = {
    "agent_id": "string!",
    "agent_status": {"idle", "busy", "syncing", "tunnel", "unhealthy"},
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
CONTAINER = {
    "id": "uuid!",
    "service_slug": "string!",
    "display_name": "string?",
    "service_type": {"deployed", "external"},
    "service_status": CONTAINER_STATUSES,
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
    "openapi_url": "string?",
    "external_url": "url?",
    "external_auth_credential_id": "string?",
}
INVOCATION = {"status_code": "int!", "body_base64": "string!", "headers": "string map!"}
WEBHOOK = {
    "id": "uuid!",
    "display_name": "string!",
    "webhook_url": "url!",
    "webhook_secret": "string!",
    "webhook_events": "strings!",
    "webhook_status": "string!",
    "created_at": "time!",
    "last_delivered_at": "time?",
}
PAGE_META = {"current_page": "int!", "per_page": "int!", "total_count": "int!"}

LISTS = [
    ("r/workflows", "workflow_list", {**WORKFLOW}),
    ("r/tasks", "task_list", TASK),
    ("r/agents", "agent_list", AGENT),
    ("r/containers", "container_list", CONTAINER),
]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    assert isinstance(value, str)
    return value.endswith("Z") and datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


KINDS: Mapping[str, Callable[[object], bool]] = {
    "any": lambda _: True,
    "uuid": lambda value: isinstance(value, str) and UUID.fullmatch(value) is not None,
    "string": _is_text,
    "int": lambda value: _is_number(value) and isinstance(value, int),
    "number": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "time": _is_time,
    "url": _is_url,
    "list": lambda value: isinstance(value, list),
    "strings": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "object": lambda value: isinstance(value, dict),
    "objects": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    "urls": lambda value: isinstance(value, dict) and all(map(_is_url, value.values())),
    "string map": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
}


def assert_fits(value: object, table: Mapping[str, str | set[str]]) -> None:
    """Hold an object against its table: nothing undocumented, nothing missing, nothing of another kind."""
    assert isinstance(value, dict)
    assert value.keys() <= table.keys()
    for name, kind in table.items():
        if isinstance(kind, set):
            assert value[name] in kind, name
        elif value.get(name) is None:
            assert kind.endswith("?"), f"{name} is missing"
        else:
            assert KINDS[kind[:-1]](value[name]), f"{name} is no {kind[:-1]}: {value[name]!r}"


async def submit(http: httpx.AsyncClient, slug: str, **parameters: object) -> str:
    """Submit a task."""
    answer = await http.post(f"r/workflows/slug/{slug}/run", json={"parameters": parameters})
    assert answer.status_code == 202, answer.text
    assert answer.json().keys() == {"task_id"}
    task_id = answer.json()["task_id"]
    assert KINDS["uuid"](task_id)
    return str(task_id)


@pytest.mark.parametrize(("path", "name", "table"), LISTS, ids=[name for _, name, _ in LISTS])
async def test_lists(http: httpx.AsyncClient, path: str, name: str, table: Mapping[str, str | set[str]]) -> None:
    """A list has the documented name and page_meta, and items that fit their table."""
    await submit(http, "text-to-image", prompt="a lighthouse")
    body = (await http.get(path)).json()
    assert body.keys() == {name, "page_meta"}
    assert_fits(body["page_meta"], PAGE_META)
    assert body[name]
    for item in body[name]:
        assert_fits(item, table)


async def test_workflows(http: httpx.AsyncClient) -> None:
    """Each workflow fits its table by slug, by pinned slug and by id, and so do its parameters."""
    for listed in (await http.get("r/workflows")).json()["workflow_list"]:
        bodies = [
            (await http.get(f"r/workflows/{listed['id']}")).json(),
            (await http.get(f"r/workflows/slug/{listed['workflow_slug']}")).json(),
            (await http.get(f"r/workflows/slug/{listed['workflow_slug']}@{listed['version']}")).json(),
        ]
        assert bodies[0] == bodies[1] == bodies[2]
        assert_fits(bodies[0], WORKFLOW)
        for parameter in bodies[0]["parameters"]:
            assert_fits(parameter, PARAMETER)


@pytest.mark.parametrize("slug", ["text-to-image", "image-set", "always-fails", "nerfstudio-train"])
async def test_a_task_through_its_life(server: LocalCyberun, http: httpx.AsyncClient, slug: str) -> None:
    """A task and its result fit their tables before, during and after it runs."""
    definition = (await http.get(f"r/workflows/slug/{slug}")).json()
    samples = {"string": "x", "number": 1, "select": None, "boolean": True}
    needed = {p["key"]: samples[p["type"]] for p in definition["parameters"] if p["required"]}
    # A large picture takes as long as the rest of the test.
    needed |= {p["key"]: 64 for p in definition["parameters"] if p["key"] in {"width", "height"}}
    task_id = await submit(http, slug, **needed)
    seen = set()
    for _ in range(2000):
        task = (await http.get(f"r/tasks/{task_id}")).json()
        result = (await http.get(f"r/tasks/{task_id}/result")).json()
        assert_fits(task, TASK)
        assert_fits(result, RESULT)
        assert task["task_status"] == result["task_status"]
        seen.add(task["task_status"])
        if task["task_status"] in {"completed", "failed"}:
            break
        await server.clock.advance(0.5)
    assert {"queued", "running", "failed" if slug == "always-fails" else "completed"} <= seen
    assert bool(result["task_error"]) == (slug == "always-fails")
    assert ("download_urls" in result) == (slug == "image-set")


async def test_calls_that_change_something(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """The answers to presign, cancel and invoke fit their tables."""
    presign = {"file_name": "a.png", "file_size": 3, "content_type": "image/png"}
    assert_fits((await http.post("r/files/presign", json=presign)).json(), PRESIGNED)
    task_id = await submit(http, "text-to-image", prompt="x")
    assert (await http.post(f"r/tasks/{task_id}/cancel")).json() == {"is_success": True}
    invocation = await http.post("r/invoke/echo", json={"method": "GET", "path": "/x?y=1"})
    assert_fits(invocation.json(), INVOCATION)


async def test_webhook_management(server: LocalCyberun) -> None:
    """A webhook fits its table, for a device key and for a user token with its team."""
    hook = {"display_name": "x", "webhook_url": "https://example.com/h", "webhook_events": ["task.failed"]}
    async with client_with(server, server.device_key) as device:
        made = await device.post("webhooks", json=hook)
        assert made.json().keys() == {"id"}
        path = f"webhooks/{made.json()['id']}"
        assert (await device.put(path, json={"display_name": "y"})).json() == made.json()
        assert (await device.post(f"{path}/rotate-secret")).json().keys() == {"webhook_secret"}
    async with client_with(server, server.jwt, **{"X-Team-ID": server.team_id}) as user:
        assert_fits((await user.get(path)).json(), WEBHOOK)


@table(
    ("method", "path", "status"),
    [
        ("GET", "r/tasks/nope", 404),
        ("GET", "r/workflows/slug/nope", 404),
        ("GET", "r/containers/nope", 404),
        ("GET", "r/nope", 404),
        ("DELETE", "r/tasks", 405),
        ("GET", "r/tasks?per_page=101", 400),
        ("GET", "r/tasks?status=nope", 400),
        ("POST", "r/invoke/asleep", 409),
        ("POST", "r/workflows/slug/retired/run", 409),
        ("POST", "r/workflows/slug/text-to-image/run", 400),
    ],
)
async def test_refusals(http: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """Every refusal has the one documented body."""
    answer = await http.request(method, path, json={} if method == "POST" else None)
    assert answer.status_code == status
    assert answer.json().keys() == {"error_message"}
    assert answer.json()["error_message"]
