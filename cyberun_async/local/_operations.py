"""Every request by the name of its call: recorded, and given to the faults before the call sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from starlette.datastructures import Headers, QueryParams
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._clock import Clock

Handler = Callable[[Request], Awaitable[Response]]
_KEPT_BODY = 1 << 20


@dataclass(slots=True, eq=False)
class Exchange:
    """One request as it was received, and its response.

    `operation` is the call's name, such as ``tasks.get`` or ``storage.put``; empty for a path that no call has.
    `when` is the server clock's time of arrival. `body` keeps the first MiB. `status` is None until the reply begins, and stays so
    when it never does. `task_id` is the task the call was about, or the one it submitted.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    when: datetime
    operation: str = ""
    task_id: str | None = None
    body: bytes = field(default=b"", repr=False)
    status: int | None = None
    # How long the links of this answer live, if a fault has its own idea of it.
    link_lifetime: float | None = field(default=None, repr=False)


class Recorder:
    """The outermost layer: remembers each request, and routes on the raw path.

    A path is decoded segment by segment only after it has been routed, so that an escaped slash in an id cannot change the route.
    """

    def __init__(self, app: ASGIApp, clock: Clock, exchanges: list[Exchange], control_path: str) -> None:
        self._app = app
        self._clock = clock
        self._exchanges = exchanges
        self._control_path = control_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"a local Cyberun speaks HTTP only, not {scope['type']}")
        path = scope["raw_path"].decode("ascii")
        exchange = Exchange(
            method=scope["method"],
            path=path,
            query=QueryParams(scope["query_string"]),
            headers=Headers(scope=scope),
            when=self._clock.now(),
        )
        if not path.startswith(self._control_path):
            self._exchanges.append(exchange)
        scope["path"] = path
        scope["state"]["exchange"] = exchange

        async def recorded_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request" and len(exchange.body) < _KEPT_BODY:
                exchange.body = (exchange.body + message.get("body", b""))[:_KEPT_BODY]
            return message

        async def recorded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)

        await self._app(scope, recorded_receive, recorded_send)


class Operations:
    """Makes the routes, each with its call's name and the layer that misbehaves on request."""

    def __init__(self, faults: Middleware | None = None) -> None:
        self._faults = faults

    def route(self, operation: str, method: str | list[str], path: str, handler: Handler) -> Route:
        methods = [method] if isinstance(method, str) else method
        middleware = [Middleware(Named, operation), *([self._faults] if self._faults else [])]
        return Route(path, handler, methods=methods, name=operation, middleware=middleware)


class Named:
    """Writes a call's name into the record of each of its requests."""

    def __init__(self, app: ASGIApp, operation: str) -> None:
        self._app = app
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["state"]["exchange"]
        exchange.operation = self._operation
        exchange.task_id = scope["path_params"].get("task_id")
        await self._app(scope, receive, send)
