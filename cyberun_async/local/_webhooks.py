"""Webhooks: the calls that manage them, and real, signed deliveries with the documented retries.

https://docs.cyberun.cloud/cloud/guides/webhooks
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import secrets
import uuid
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from ._accounts import Accounts
from ._clock import Clock
from ._http import ApiError, not_found, path_uuid, read_json, wire_time
from ._operations import Operations
from ._tasks import Task

EVENTS = ("task.completed", "task.failed")
DELAYS = (0.0, 5.0, 30.0, 120.0)
"""Seconds before each try."""

TIMEOUT = 5.0
"""Real seconds that a receiver has to answer; how long it is at the service is not documented."""


@dataclass(slots=True, eq=False)
class Hook:
    """One webhook."""

    display_name: str
    url: str
    events: Sequence[str]
    created_at: datetime
    team_id: str
    status: str = "active"
    secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(24)}", repr=False)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    last_delivered_at: datetime | None = None

    def wire(self) -> dict[str, object]:
        """Give the body. https://docs.cyberun.cloud/api-reference/webhook/get-webhook-details"""
        return {
            "id": self.id,
            "display_name": self.display_name,
            "webhook_url": self.url,
            "webhook_secret": self.secret,
            "webhook_events": list(self.events),
            "webhook_status": self.status,
            "created_at": wire_time(self.created_at),
            "last_delivered_at": wire_time(self.last_delivered_at),
        }


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try to deliver: `status` is the receiver's answer, or None where there was none."""

    url: str
    event_type: str
    task_id: str
    attempt: int
    status: int | None
    when: datetime


class Webhooks:
    """Keeps the webhooks and delivers to them when tasks end."""

    def __init__(self, accounts: Accounts, clock: Clock, threads: Executor) -> None:
        self._accounts = accounts
        self._clock = clock
        self._threads = threads
        self._hooks: dict[str, Hook] = {}
        self.deliveries: list[Delivery] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._hooks)}, {len(self.deliveries)} deliveries>"

    def routes(self, operations: Operations) -> list[BaseRoute]:
        on = operations.route
        return [
            on("webhooks.create", "POST", "/webhooks", self.create),
            on("webhooks.get", "GET", "/webhooks/{webhook_id}", self.get),
            on("webhooks.update", "PUT", "/webhooks/{webhook_id}", self.update),
            on("webhooks.rotate_secret", "POST", "/webhooks/{webhook_id}/rotate-secret", self.rotate_secret),
        ]

    async def create(self, request: Request) -> Response:
        """Make a webhook. The prose promises the secret in the answer, the schema does not show it: it is left out here.

        The status of the answer is not documented: 201 is this server's choice.
        """
        team_id = self._manage(request)
        body = await read_json(request)
        name, url, events = (body.get(key) for key in ("display_name", "webhook_url", "webhook_events"))
        hook = Hook(_name(name), _url(url), _events(events), self._clock.now(), team_id)
        self._hooks[hook.id] = hook
        return JSONResponse({"id": hook.id}, 201)

    async def get(self, request: Request) -> Response:
        return JSONResponse(self._hook(request).wire())

    async def update(self, request: Request) -> Response:
        hook = self._hook(request)
        body = await read_json(request)
        if "display_name" in body:
            hook.display_name = _name(body["display_name"])
        if "webhook_url" in body:
            hook.url = _url(body["webhook_url"])
        if "webhook_events" in body:
            hook.events = _events(body["webhook_events"])
        if "webhook_status" in body:
            hook.status = str(body["webhook_status"])
        return JSONResponse({"id": hook.id})

    async def rotate_secret(self, request: Request) -> Response:
        hook = self._hook(request)
        hook.secret = f"whsec_{secrets.token_hex(24)}"
        return JSONResponse({"webhook_secret": hook.secret})

    def task_ended(self, task: Task) -> None:
        """Begin to deliver; a cancelled task makes no delivery."""
        event_type = f"task.{task.status}"
        for hook in self._hooks.values():
            if hook.team_id == task.team_id and hook.status == "active" and event_type in hook.events:
                self._clock.live(self._deliver(hook, event_type, task))

    async def _deliver(self, hook: Hook, event_type: str, task: Task) -> None:
        body = json.dumps(
            {
                "event_type": event_type,
                "task_id": task.id,
                "task_status": task.status,
                "task_output": task.output,
                "task_error": task.error,
                "timestamp": wire_time(self._clock.now()),
            }
        ).encode()
        for attempt, delay in enumerate(DELAYS, start=1):
            await self._clock.sleep(delay)
            status = await asyncio.get_running_loop().run_in_executor(self._threads, _post, hook.url, body, hook.secret)
            self.deliveries.append(Delivery(hook.url, event_type, task.id, attempt, status, self._clock.now()))
            if status is not None and 200 <= status < 300:
                hook.last_delivered_at = self._clock.now()
                return

    def _manage(self, request: Request) -> str:
        """Let the caller in, and give the team."""
        caller = self._accounts.sign_in(request.headers)
        if caller.family == "sk":
            # Documented as not for sk- keys, without the status: 403 is this server's choice.
            raise ApiError(403, "this key may not manage webhooks")
        return caller.team_id

    def _hook(self, request: Request) -> Hook:
        team_id = self._manage(request)
        hook = self._hooks.get(path_uuid(request, "webhook_id"))
        if hook is None or hook.team_id != team_id:
            raise not_found()
        return hook


def _post(url: str, body: bytes, secret: str) -> int | None:
    """Deliver once, in a thread."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Webhook-Signature-256": f"sha256={signature}"}
    try:
        connection.request("POST", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _name(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 255:
        raise ApiError(400, "display_name must have 1 to 255 characters")
    return value


def _url(value: object) -> str:
    """Take an https address; http:// to this machine, too, which only this server does, so that receivers can be tested."""
    if not isinstance(value, str) or len(value) > 2048:
        raise ApiError(400, "webhook_url must have at most 2048 characters")
    parts = urlsplit(value)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise ApiError(400, "webhook_url must begin with https://")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _events(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not set(value) <= set(EVENTS):
        raise ApiError(400, f"webhook_events must name at least one of: {', '.join(EVENTS)}")
    return value
