"""What httpx keeps for itself may be called otherwise one day: then it goes on without, and never with an AttributeError."""

from __future__ import annotations

import httpx
import pytest
from support.scripted import (
    COMPLETED,
    END,
    SSE_HEAD,
    TASK,
    Remote,
    answer,
    connected,
    hold,
    scripted,
    send,
    status_event,
)

from cyberun_async import TaskStatus
from cyberun_async._protocol import endpoints

Original = httpx.AsyncHTTPTransport


class OtherNames(httpx.AsyncBaseTransport):
    """httpx's transport, which keeps its pool under another name."""

    def __init__(self, **options: object) -> None:
        self._inner = Original(**options)  # type: ignore[arg-type]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class OtherBackend(Original):
    """httpx's transport, whose pool keeps its backend under another name."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        pool = self._pool
        kept = pool.__dict__.pop("_network_backend")
        create = pool.create_connection

        def created(origin: object) -> object:
            pool._network_backend = kept
            try:
                return create(origin)  # type: ignore[arg-type]
            finally:
                del pool._network_backend

        pool.create_connection = created  # type: ignore[assignment, method-assign]


@pytest.fixture(params=[OtherNames, OtherBackend], ids=lambda kind: kind.__name__)
def _other_httpx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", request.param)


@pytest.mark.usefixtures("_other_httpx")
async def test_wait_by_stream() -> None:
    """A wait ends by its stream, beside which it polls."""
    async with scripted() as server, connected(server) as client:
        remote = Remote()
        remote.on(server)
        server.on("events", remote.then("completed", send(SSE_HEAD, status_event("running"), COMPLETED, END)))
        assert (await client.wait_for_result(TASK)).status == TaskStatus.COMPLETED


@pytest.mark.usefixtures("_other_httpx")
async def test_wait_by_polling() -> None:
    """A wait whose stream is silent ends by a poll, and leaves no connection behind."""
    async with scripted() as server, connected(server) as client:
        remote = Remote("completed")
        server.on("task", answer(200, {"id": TASK, "task_status": "running"}), remote.look)
        server.on("result", remote.result)
        server.on("events", hold(SSE_HEAD))
        assert (await client.wait_for_result(TASK)).status == TaskStatus.COMPLETED


@pytest.mark.usefixtures("_other_httpx")
async def test_connection() -> None:
    """A stream says that waiting for its bytes cannot be cancelled."""
    async with scripted() as server, connected(server) as client:
        server.on("events", hold(SSE_HEAD))
        connection = await client._core.transport.open_stream(endpoints.stream_task_events(TASK))
        assert not connection.is_cancel_safe
        await connection.aclose()


def test_private_parts_that_are_used() -> None:
    """Two private names of others are used without a way around them: whoever raises the pins looks at both."""
    from httpx_sse._decoders import SSEDecoder

    decoder = SSEDecoder()
    lines = ["event: a", "data: 1", "data: 2", ""]
    [event] = [event for line in lines if (event := decoder.decode(line)) is not None]
    assert (event.event, event.data) == ("a", "1\n2")
    assert callable(httpx.AsyncClient._transport_for_url)
