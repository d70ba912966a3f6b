"""The table of endpoints in the docs: complete, and true of what the SDK sends."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from support.tables import table

from cyberun_async import AsyncClient, CyberunError, Polling, Retries
from cyberun_async._protocol import sign_in
from cyberun_async._protocol.secret import Secret
from cyberun_async._resources.group import Group

DOCUMENTED = """
GET /r/workflows
GET /r/workflows/{workflowId}
GET /r/workflows/slug/{workflowSlug}
POST /r/workflows/{workflowId}/run
POST /r/workflows/slug/{workflowSlug}/run
GET /r/tasks
GET /r/tasks/{taskId}
GET /r/tasks/{taskId}/result
GET /r/tasks/{taskId}/events
POST /r/tasks/{taskId}/cancel
POST /r/files/presign
GET /r/agents
GET /r/containers
GET /r/containers/{serviceSlug}
ANY /r/containers/{serviceSlug}/*
POST /r/invoke/{serviceSlug}
POST /uploads/multipart/initiate
POST /models/presign
POST /models
GET /models/{modelId}
POST /webhooks
GET /webhooks/{webhookId}
PUT /webhooks/{webhookId}
POST /webhooks/{webhookId}/rotate-secret
POST /auth/login
POST /auth/refresh
POST /auth/oauth/exchange-code
POST /auth/device/revoke
GET /users/me
PUT /users/me/password
PUT /teams/current
POST /teams/current/transfer
DELETE /members/{userId}
POST /invitations
GET /invitations
POST /credentials
GET /credentials
DELETE /credentials/{credentialId}
POST /desktop/pair/start
POST /desktop/pair/poll
POST /desktop/pair/confirm
GET /workflows/{workflowId}
PUT /workflows/{workflowId}
POST /workflows/import
GET /agents
POST /agents/{agentId}/tunnel
GET /agents/{agentId}/tunnel
POST /containers
PUT /containers/{serviceId}
POST /containers/{serviceId}/undeploy
PUT /cloud-providers/comfy-cloud
GET /cloud-providers/comfy-cloud
POST /mcp
"""
"""What the pages under https://docs.cyberun.cloud describe, copied by hand."""

ID = str(UUID(int=7))


def _table() -> tuple[Any, ...]:
    path = Path(__file__).parents[1] / "docs" / "drawings" / "endpoints.py"
    spec = importlib.util.spec_from_file_location("endpoints_of_the_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table: tuple[Any, ...] = module.ENDPOINTS
    assert all(f"`{each.method} {each.path}`" in module.draw() for each in table)
    return table


TABLE = _table()


async def first_of(items: AsyncIterator[object]) -> None:
    """Take one item, or none."""
    async for _ in items:
        return


CALLS: dict[str, Callable[[AsyncClient], Awaitable[object]]] = {
    "workflows.list": lambda client: first_of(client.workflows.list()),
    "workflows.get": lambda client: client.workflows.get(ID),
    "workflows.run": lambda client: client.workflows.run(ID),
    "submit": lambda client: client.submit(ID, validate=False),
    "run": lambda client: client.run(ID, validate=False),
    "map": lambda client: client.map(ID, [{}], validate=False).gather(),
    "tasks.list": lambda client: first_of(client.tasks.list()),
    "ping": lambda client: client.ping(),
    "tasks.get": lambda client: client.tasks.get("t"),
    "tasks.result": lambda client: client.tasks.result("t"),
    "tasks.cancel": lambda client: client.tasks.cancel("t"),
    "events": lambda client: first_of(client.events("t")),
    "wait_for_result": lambda client: client.wait_for_result("t", timeout=5),
    "files.presign": lambda client: client.files.presign("a.png", 1, "image/png"),
    "upload": lambda client: client.upload(b"x", name="a.png"),
    "agents.list": lambda client: first_of(client.agents.list()),
    "containers.list": lambda client: first_of(client.containers.list()),
    "containers.get": lambda client: client.containers.get("s"),
    "containers.invoke": lambda client: client.containers.invoke("s", "GET", "/"),
    "containers.stream": lambda client: client.containers.stream("s", "GET", "/x").__aenter__(),
    "webhooks.create": lambda client: client.webhooks.create("a", "https://x", ["task.failed"]),
    "webhooks.get": lambda client: client.webhooks.get("w"),
    "webhooks.update": lambda client: client.webhooks.update("w", display_name="b"),
    "webhooks.rotate_secret": lambda client: client.webhooks.rotate_secret("w"),
    "users.me": lambda client: client.users.me(),
}
"""One call of each method; those that are named with a UUID are tried with a slug, too."""


def test_it_is_complete() -> None:
    """It has each documented endpoint once, and each is either in the SDK, or has a reason."""
    assert sorted(f"{each.method} {each.path}" for each in TABLE) == sorted(DOCUMENTED.split("\n")[1:-1])
    assert [each.path for each in TABLE if bool(each.sdk) == bool(each.why)] == []


def test_every_call_is_in_it() -> None:
    """Each method of a group is in the table."""
    groups = {name: group for name, group in vars(AsyncClient("sk-1")).items() if isinstance(group, Group)}
    methods = {
        f"{name}.{method}"
        for name, group in groups.items()
        for method, _ in inspect.getmembers(group, callable)
        if not method.startswith("_")
    }
    assert methods == {name for each in TABLE for name in each.sdk if "." in name}


@table("name", CALLS)
async def test_it_is_true(name: str) -> None:
    """A method sends its request where the table says."""
    sent = set()

    async def refuse(request: httpx.Request) -> httpx.Response:
        sent.add(f"{request.method} {request.url.path}")
        return httpx.Response(403)

    http = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
    async with AsyncClient(
        "sk-1", base_url="https://x", http_client=http, retries=Retries(budget=0), polling=Polling(interval=1)
    ) as client:
        with suppress(CyberunError):
            await CALLS[name](client)
    rows = [each for each in TABLE if name in each.sdk]
    patterns = [f"{'[A-Z]+' if each.method == 'ANY' else each.method} {_pattern(each.path)}" for each in rows]
    assert sent
    assert all(any(re.fullmatch(pattern, one) for pattern in patterns) for one in sent), (sent, patterns)


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)).replace(r"\*", ".*")


@table(
    ("call", "endpoint"),
    [
        (sign_in.start_pairing(), "POST /desktop/pair/start"),
        (sign_in.poll_pairing(Secret("c")), "POST /desktop/pair/poll"),
        (sign_in.revoke_device(), "POST /auth/device/revoke"),
        (sign_in.refresh_tokens(Secret("r")), "POST /auth/refresh"),
    ],
)
def test_signing_in(call: Any, endpoint: str) -> None:
    """Those of the command line, and of token providers, go where the table says."""
    assert f"{call.method} {call.path}" == endpoint
    assert endpoint in {f"{each.method} {each.path}" for each in TABLE if each.sdk}
