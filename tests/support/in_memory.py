"""A storage without a socket: a function from a request to a reply, behind clients of the test's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import anyio.lowlevel
import attrs
import httpx

from cyberun_async import AsyncClient, Retries

TASK_ID = "t-1"

NO_WAIT = Retries(budget=5, initial=0.001, maximum=0.001)


@attrs.frozen
class Reply:
    """What the storage says to one request.

    Attributes:
        breaks: Whether the connection breaks where the body ends.

    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str | bytes] = attrs.field(factory=dict)
    breaks: bool = False


class _Stream(httpx.AsyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._parts = [reply.body] if reply.body else []
        self._breaks = reply.breaks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self._parts:
            return self._parts.pop()
        if self._breaks:
            raise httpx.ReadError("broken on purpose")
        raise StopAsyncIteration


class InMemory(httpx.AsyncBaseTransport):
    """Answers every request by a function, and keeps what was asked.

    Attributes:
        requests: All that came, in order.
        bodies: The body of each.

    """

    def __init__(self, answer: Callable[[httpx.Request], Reply]) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(b"".join([block async for block in request.stream]))  # type: ignore[union-attr]
        await anyio.lowlevel.checkpoint()
        reply = self._answer(request)
        headers = [(n.encode(), v if isinstance(v, bytes) else v.encode()) for n, v in reply.headers.items()]
        return httpx.Response(reply.status, headers=headers, stream=_Stream(reply))


@asynccontextmanager
async def in_memory(
    storage: Callable[[httpx.Request], Reply],
    *,
    key: str = "a.bin",
    link: str = "http://storage/a.bin?sig=s",
    upload_headers: Mapping[str, str] | None = None,
    **options: object,
) -> AsyncIterator[tuple[AsyncClient, InMemory]]:
    """Open a client whose task has one file and whose storage is a function."""

    def api(request: httpx.Request) -> Reply:
        if request.url.path.endswith("/presign"):
            body: object = {"file_key": "k", "upload_url": link, "upload_headers": upload_headers or {}}
        else:
            body = {"id": TASK_ID, "task_status": "completed", "download_urls": {key: link}}
        return Reply(body=json.dumps(body).encode())

    place = InMemory(storage)
    given = {"retries": NO_WAIT, **options}
    async with (
        httpx.AsyncClient(transport=InMemory(api)) as for_api,
        httpx.AsyncClient(transport=place) as for_storage,
        AsyncClient(
            "sk-1",
            base_url="http://localhost/api/v1",
            http_client=for_api,
            storage_client=for_storage,
            **given,  # type: ignore[arg-type]
        ) as client,
    ):
        yield client, place
