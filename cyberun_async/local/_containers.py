"""Container services, and the two ways through to them.

https://docs.cyberun.cloud/api-reference/containers
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from ._accounts import Accounts
from ._clock import Clock
from ._http import ApiError, not_found, page, path_param, read_json, wire_time
from ._operations import Operations

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_PART = 64 * 1024

_DROPPED = {
    *("authorization", "host", "content-length"),
    *(
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ),
}


@dataclass(frozen=True, slots=True)
class Service:
    """A container service. It responds to `/stream` with the body that it got, to `/events` with events, and else by `echo`."""

    slug: str
    display_name: str
    created_at: datetime
    status: str = "running"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def wire(self) -> dict[str, object]:
        """Give the body. https://docs.cyberun.cloud/api-reference/container/get-a-container-service-by-slug-runtime"""
        return {
            "id": self.id,
            "service_slug": self.slug,
            "display_name": self.display_name,
            "service_type": "deployed",
            "service_status": self.status,
            "created_at": wire_time(self.created_at),
            "updated_at": wire_time(self.created_at),
            "service_desc": "Responds to each request with what it was sent.",
            "docker_image": "example/echo:1",
            "exposed_port": 8080,
            "health_path": "/health",
            "env_config": [{"env_name": "GREETING", "env_value": "hello"}],
            "volume_config": [{"host_path": "/srv/echo", "container_path": "/data"}],
            "required_labels": [],
            "gpu_count": 0,
            "replica_count": 1,
            "usage_prompt": "Send any request to any path.",
        }

    @staticmethod
    def echo(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Answer a request as the service would."""
        passed = {name: value for name, value in headers.items() if name.lower() not in _DROPPED}
        text = {"method": method, "path": path, "headers": passed, "body_base64": base64.b64encode(body).decode()}
        return json.dumps(text).encode()


class ContainerCalls:
    """One method per call."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        now = clock.now()
        services = [Service("echo", "Echo", now), Service("asleep", "Asleep", now, status="stopped")]
        self._services = {service.slug: service for service in services}

    def routes(self, operations: Operations) -> list[BaseRoute]:
        on = operations.route
        return [
            on("containers.list", "GET", "/r/containers", self.list_services),
            on("containers.get", "GET", "/r/containers/{service_slug}", self.get_service),
            on("containers.proxy", METHODS, "/r/containers/{service_slug}/{path:path}", self.proxy),
            on("containers.invoke", "POST", "/r/invoke/{service_slug}", self.invoke),
        ]

    async def list_services(self, request: Request) -> Response:
        """List the services. What the list is called is not documented: `container_list` is by the pattern of its siblings."""
        self._accounts.sign_in(request.headers)
        return page(request, "container_list", list(self._services.values()), Service.wire)

    async def get_service(self, request: Request) -> Response:
        return JSONResponse(self._service(request).wire())

    async def proxy(self, request: Request) -> Response:
        service = self._running(request)
        query = f"?{request.url.query}" if request.url.query else ""
        path = f"/{request.path_params['path']}{query}"
        if request.url.path.endswith("/stream"):
            # All of it first: a client that sends does not read yet.
            return StreamingResponse(_in_parts(await request.body()), media_type="application/octet-stream")
        if request.url.path.endswith("/events"):
            count = int(request.query_params.get("count") or 3)
            return StreamingResponse(_ticks(count), media_type="text/event-stream")
        return Response(
            service.echo(request.method, path, request.headers, await request.body()), media_type="application/json"
        )

    async def invoke(self, request: Request) -> Response:
        """Call a service. https://docs.cyberun.cloud/api-reference/container/invoke-a-container-service-runtime"""
        service = self._running(request)
        body = await read_json(request)
        method, path, headers = body.get("method"), body.get("path"), body.get("headers") or {}
        if method not in METHODS:
            raise ApiError(400, f"method must be one of: {', '.join(METHODS)}")
        if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
            raise ApiError(400, "path must start with a single slash")
        if not isinstance(headers, dict):
            raise ApiError(400, "headers must be an object")
        answer = service.echo(str(method), path, headers, _decoded(body.get("body_base64") or ""))
        return JSONResponse(
            {
                "status_code": 200,
                "body_base64": base64.b64encode(answer).decode(),
                "headers": {"Content-Type": "application/json"},
            }
        )

    def _service(self, request: Request) -> Service:
        self._accounts.sign_in(request.headers)
        service = self._services.get(path_param(request, "service_slug"))
        if service is None:
            raise not_found()
        return service

    def _running(self, request: Request) -> Service:
        service = self._service(request)
        if service.status != "running":
            # That it must be running is documented, the status of the error response is not: 409 is this server's choice.
            raise ApiError(409, "service is not running")
        return service


def _decoded(body: object) -> bytes:
    try:
        return base64.b64decode(str(body), validate=True)
    except binascii.Error:
        raise ApiError(400, "body_base64 is not base64") from None


async def _in_parts(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PART):
        yield body[start : start + _PART]


async def _ticks(count: int) -> AsyncIterator[bytes]:
    for number in range(1, count + 1):
        yield f'id: {number}\nevent: tick\ndata: {{"n": {number}}}\n\n'.encode()
