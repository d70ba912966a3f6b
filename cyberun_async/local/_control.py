"""The same controls over HTTP, for programs in another process: faults, requests, the clock, scripts, and pairing.

They are below `/_local`, behind the control token (see `_guard`). They take JSON only, and only values that leave the
server working: what is asked for here is asked for by programs in any language, and perhaps by one that is not meant to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ._clock import Clock
from ._control_values import check_options
from ._faults import Fault, Faults
from ._http import ApiError, read_json, wire_time
from ._operations import Exchange
from ._scheduler import Scheduler
from ._script_values import read_script

KINDS = {
    name
    for name, method in inspect.getmembers(Faults, inspect.isfunction)
    if not name.startswith("_") and inspect.signature(method).return_annotation == "Fault"
}
"""What can go wrong: the names of the methods of `server.faults`."""

MAX_FAULTS = 1000
"""Faults that wait to strike; each request is held against all of them."""

MAX_SCRIPTS = 1000
"""Scripts that wait for a task."""

LARGEST_BODY = 64 * 1024


class Control:
    """One method per control."""

    def __init__(
        self,
        faults: Faults,
        exchanges: list[Exchange],
        clock: Clock,
        scheduler: Scheduler,
        approve: Callable[[str], None],
    ) -> None:
        self._faults = faults
        self._exchanges = exchanges
        self._clock = clock
        self._scheduler = scheduler
        self._approve = approve

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/faults", self.add_fault, methods=["POST"]),
            Route("/faults", self.clear_faults, methods=["DELETE"]),
            Route("/faults", self.list_fired, methods=["GET"]),
            Route("/requests", self.list_requests, methods=["GET"]),
            Route("/clock", self.advance, methods=["POST"]),
            Route("/scripts", self.add_script, methods=["POST"]),
            Route("/pairings", self.confirm_pairing, methods=["POST"]),
        ]

    async def add_fault(self, request: Request) -> Response:
        """Add the fault `{"kind": "status", "code": 503, "on": "tasks.get", "times": 3}`."""
        options = await _read(request)
        kind = options.pop("kind", None)
        if not isinstance(kind, str) or kind not in KINDS:
            raise ApiError(400, f"kind must be one of: {', '.join(sorted(KINDS))}")
        check_options(options)
        if self._faults.count >= MAX_FAULTS:
            raise ApiError(409, f"there are {MAX_FAULTS} faults already: clear them first")
        try:
            fault: Fault = getattr(self._faults, kind)(**options)
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
        seconds = (await _read(request)).get("seconds")
        try:
            await self._clock.advance(seconds)  # type: ignore[arg-type]
        except ValueError as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse({"now": wire_time(self._clock.now())})

    async def add_script(self, request: Request) -> Response:
        """Give the next task of a workflow the life `{"workflow": "text-to-image", "steps": [{"fail": "out of memory"}]}`."""
        script = read_script(await _read(request))
        if self._scheduler.scripts_waiting >= MAX_SCRIPTS:
            raise ApiError(409, f"there are {MAX_SCRIPTS} scripts already: submit tasks that use them first")
        self._scheduler.script_next(script)
        return JSONResponse({"workflow": script.workflow, "steps": len(script.steps), "times": script.times}, 201)

    async def confirm_pairing(self, request: Request) -> Response:
        """Approve the device that shows `{"user_code": "ABCD-EFGH"}`, as a user does in the browser."""
        self._approve(str((await _read(request)).get("user_code")))
        return Response(status_code=204)


async def _read(request: Request) -> dict[str, object]:
    """Read a JSON object that is said to be one: what a page of another site may send unasked is text or a form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the control endpoints take application/json")
    return await read_json(request, most=LARGEST_BODY)


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
