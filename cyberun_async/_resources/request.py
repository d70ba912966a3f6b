"""Sending a request to any endpoint, with what every call has: signing in, retries, rate limit, error tree."""

from collections.abc import Mapping
from typing import Any

import attrs

from cyberun_async._protocol.api_request import APIResponse, api_call, check_returns, has_json
from cyberun_async._protocol.error_responses import request_id_of
from cyberun_async._transport.response import Response
from cyberun_async._transport.transport import Transport


async def request(
    transport: Transport, method: str, path: str, *, json: object, params: Mapping[str, object] | None, returns: Any
) -> APIResponse[Any]:
    """Send a request; see `AsyncClient.request`."""
    check_returns(returns)
    call = api_call(method, path, Response, json=json, params=params)
    response: Response = await transport.send(call)
    data = None
    if returns is not None or has_json(response.headers, response.body):
        data = await transport.decode(attrs.evolve(call, returns=returns or object), response)
    return APIResponse(
        status=response.status,
        headers=dict(response.headers),
        request_id=request_id_of(response.headers, (response.token,)),
        data=data,
        content=response.body,
    )
