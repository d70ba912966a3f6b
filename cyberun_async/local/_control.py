"""The same controls over HTTP, for programs in another process: faults, requests, the clock, and the credentials.

They are on loopback, without a key, below `/_local`.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ._clock import Clock
from ._faults import Fault, Faults
from ._http import ApiError, read_json, wire_time
from ._operations import Exchange

KINDS = {
    name
    for name, method in inspect.getmembers(Faults, inspect.isfunction)
    if inspect.signature(method).return_annotation == "Fault"
}
"""What can go wrong: the names of the methods of `server.faults`."""


class Control:
    """One method per control."""

    def __init__(self, faults: Faults, exchanges: list[Exchange], clock: Clock) -> None:
        self._faults = faults
        self._exchanges = exchanges
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/faults", self.add_fault, methods=["POST"]),
            Route("/faults", self.clear_faults, methods=["DELETE"]),
            Route("/faults", self.list_fired, methods=["GET"]),
            Route("/requests", self.list_requests, methods=["GET"]),
            Route("/clock", self.advance, methods=["POST"]),
        ]

    async def add_fault(self, request: Request) -> Response:
        """Add the fault `{"kind": "status", "code": 503, "on": "tasks.get", "times": 3}`."""
        options = await read_json(request)
        kind = options.pop("kind", None)
        if kind not in KINDS:
            raise ApiError(400, f"kind must be one of: {', '.join(sorted(KINDS))}")
        try:
            fault: Fault = getattr(self._faults, str(kind))(**options)
        except TypeError as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse({"kind": fault.name, "aim": asdict(fault.aim)}, 201)

    async def clear_faults(self, _: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def list_fired(self, _: Request) -> Response:
        return JSONResponse([{"kind": name, **_shown(exchange)} for name, exchange in self._faults.fired])

    async def list_requests(self, _: Request) -> Response:
        return JSONResponse([_shown(exchange) for exchange in self._exchanges])

    async def advance(self, request: Request) -> Response:
        """Let the `{"seconds": 60}` pass."""
        seconds = (await read_json(request)).get("seconds")
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds < 0:
            raise ApiError(400, "seconds must be a number of at least 0")
        await self._clock.advance(seconds)
        return JSONResponse({"now": wire_time(self._clock.now())})


def _shown(exchange: Exchange) -> dict[str, object]:
    """Show a request without its headers, which carry the key."""
    return {
        "method": exchange.method,
        "path": exchange.path,
        "query": dict(exchange.query),
        "operation": exchange.operation,
        "task_id": exchange.task_id,
        "status": exchange.status,
        "when": wire_time(exchange.when),
    }
