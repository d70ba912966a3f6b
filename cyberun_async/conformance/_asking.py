"""Single requests to the service, and their responses as they are, strictly read."""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

import attrs

from cyberun_async._client import AsyncClient, core_of
from cyberun_async._errors import DecodeError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.error_responses import api_error
from cyberun_async._protocol.json_text import parse_json
from cyberun_async.conformance._report import Differs
from cyberun_async.conformance._tables import Table, additions, problems


@attrs.frozen
class JSONResponse:
    """The status and the JSON of a response."""

    status: int
    date: str | None
    body: object = attrs.field(repr=False)


async def ask(
    client: AsyncClient,
    path: str,
    *,
    method: str = "GET",
    query: Mapping[str, str | int] | None = None,
    body: Mapping[str, object] | None = None,
    expect: int | None = 200,
) -> JSONResponse:
    """Send one request, once.

    Raises:
        Differs: The status is another than the expected one, or the response is not JSON.
        TransportError: There was no response.

    """
    call = Call(method, path, NoneType, query=query or {}, body=body, repeatable=method == "GET")
    return await send(client, call, expect=expect)


async def send(client: AsyncClient, call: Call[object], *, expect: int | None) -> JSONResponse:
    """Send a call, once; see `ask`."""
    method, path = call.method, call.path
    response = await core_of(client).transport.fetch(call)
    if expect is not None and response.status != expect:
        if response.status >= 300:
            error = api_error(
                response.status, response.headers, response.body, method=method, path=path, secrets=(response.token,)
            )
            raise Differs(str(error))
        raise Differs(f"{method} {path} ended with {response.status} instead of {expect}")
    try:
        parsed = parse_json(response.body)
    except DecodeError as problem:
        raise Differs(f"the response to {method} {path} is {problem.problem}") from None
    return JSONResponse(response.status, response.headers.get("date"), parsed)


Reader = Callable[[object], object]
"""How the client reads an object; raises `DecodeError` where it cannot."""


def reader_of(client: AsyncClient, kind: Any) -> Reader:
    """Give how a client reads a type."""
    return lambda value: structure(value, kind, core_of(client).transport.mismatches)


def differs(problem: str, values: Sequence[object], read: Reader) -> Differs:
    """Say what differs, and whether the client lives with it."""
    try:
        for value in values:
            read(value)
    except DecodeError as error:
        return Differs(f"{problem}. The client cannot read that: {error.problem}")
    return Differs(f"{problem}. The client tolerates that")


def hold(what: str, values: Sequence[object], table: Table, read: Reader) -> str:
    """Hold objects against their table, and say which fields they have beyond it.

    Raises:
        Differs: One of them does not fit; it says whether the client can read them all the same.

    """
    found = sorted({problem for value in values for problem in problems(value, table)})
    if found:
        raise differs(f"{what}: {'; '.join(found)}", values, read)
    more = sorted(set().union(*(additions(value, table) for value in values)))
    return f"{what} fits its table" + (f", and has fields that no document names: {', '.join(more)}" if more else "")
