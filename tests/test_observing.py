"""What an observer is told, and that it can do no harm."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import anyio
import attrs
import httpx
import pytest
from support.scripted import SSE_HEAD, Remote, hold
from support.scripted import TASK as TASK_ID
from support.tables import table
from support.virtual import simulated, virtual

from cyberun_async import (
    AsyncClient,
    DecodeError,
    NotFoundError,
    Observer,
    RequestStarted,
    ResponseReceived,
    Retries,
    RetryPlanned,
    ServerError,
    TaskEvent,
    TaskFailed,
    TransportError,
    WaitProgressed,
    WaitTimeout,
)
from cyberun_async.local import LocalCyberun

TASK = {"id": "t-1", "task_status": "running", "workflow_id": "w-1"}


class Keeper(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.requests: list[RequestStarted] = []
        self.responses: list[ResponseReceived] = []
        self.retries: list[RetryPlanned] = []
        self.waits: list[WaitProgressed] = []

    def on_request(self, record: RequestStarted) -> None:
        self.requests.append(record)

    def on_response(self, record: ResponseReceived) -> None:
        self.responses.append(record)

    def on_retry(self, record: RetryPlanned) -> None:
        self.retries.append(record)

    def on_wait(self, record: WaitProgressed) -> None:
        self.waits.append(record)


def client_of(observer: object, *statuses: int | Exception) -> AsyncClient:
    """Give a client whose calls are answered so, one after the other."""
    left = list(statuses)

    def answer(request: httpx.Request) -> httpx.Response:
        status = left.pop(0)
        if isinstance(status, Exception):
            raise status
        return httpx.Response(status, json=TASK if status != 299 else [])

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return AsyncClient(
        "sk-test",
        base_url="http://localhost",
        http_client=http,
        retries=Retries(initial=0.001),
        observer=observer,  # type: ignore[arg-type]
    )


async def test_attempts() -> None:
    """Each attempt has a beginning and an end, and each repetition is announced."""
    keeper = Keeper()
    async with client_of(keeper, 503, httpx.ReadError("reset"), 200) as client:
        await client.tasks.get("t-1")
    shown = [(each.method, each.path, each.attempt, each.task_id) for each in keeper.requests]
    assert shown == [("GET", "/r/tasks/t-1", attempt, "t-1") for attempt in (1, 2, 3)]
    assert [each.request for each in keeper.responses] == keeper.requests
    assert [(each.status, each.error) for each in keeper.responses] == [
        (503, None),
        (None, "TransportError"),
        (200, None),
    ]
    assert [each.seconds >= 0 for each in keeper.responses] == [True] * 3
    assert [(each.method, each.path, each.attempt) for each in keeper.retries] == [
        ("GET", "/r/tasks/t-1", 1),
        ("GET", "/r/tasks/t-1", 2),
    ]
    assert [type(each.failure) for each in keeper.retries] == [ServerError, TransportError]
    assert [0 <= each.delay <= 0.002 for each in keeper.retries] == [True] * 2
    assert len({each.number for each in keeper.requests}) == 3


async def test_cancelled_attempt() -> None:
    """An attempt that is cancelled has an end, too."""
    keeper = Keeper()

    async def never(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    http = httpx.AsyncClient(transport=httpx.MockTransport(never))
    async with AsyncClient("sk-test", base_url="http://localhost", http_client=http, observer=keeper) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.tasks.get, "t-1")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    assert [(each.status, each.error) for each in keeper.responses] == [(None, "cancelled")]


async def test_unreadable_answer() -> None:
    """An answer that cannot be read is none."""
    keeper = Keeper()
    http = httpx.AsyncClient(
        transport=httpx.MockTransport(
            lambda _: httpx.Response(200, headers={"Content-Encoding": "br"}, stream=_Bytes())
        )
    )
    async with AsyncClient("sk-test", base_url="http://localhost", http_client=http, observer=keeper) as client:
        with pytest.raises(DecodeError):
            await client.tasks.get("t-1")
    assert [(each.status, each.error) for each in keeper.responses] == [(None, "DecodeError")]


class _Bytes(httpx.AsyncByteStream):
    async def __aiter__(self):  # type: ignore[no-untyped-def]
        yield b"{}"


SMALL = {"prompt": "a lighthouse", "width": 64, "height": 64}


@pytest.fixture
def server() -> LocalCyberun:
    """A local Cyberun to be started by the test."""
    return LocalCyberun(pace=0.001)


async def test_waits() -> None:
    """A wait is told from its beginning over each status to its end."""
    keeper, seen = Keeper(), []
    server = LocalCyberun(clock="held")

    async def let_a_second_pass(event: TaskEvent) -> None:
        seen.append(event)
        await server.clock.advance(1)

    async with server, AsyncClient(server.api_key, base_url=server.base_url, observer=keeper) as client:
        result = await client.run("text-to-image", SMALL, timeout=15, on_event=let_a_second_pass)
    first, *middle, last = keeper.waits
    assert first == WaitProgressed(first.number, result.id, None)
    assert last == WaitProgressed(first.number, result.id, "completed", is_over=True)
    statuses = [each.status for each in middle]
    assert statuses == list(dict.fromkeys(statuses))
    assert statuses[-1] == "completed"
    assert "running" in statuses
    assert seen[-1].is_terminal


async def test_waits_that_fail(server: LocalCyberun) -> None:
    """How a wait ended other than well is told by name."""
    keeper = Keeper()
    async with server, AsyncClient(server.api_key, base_url=server.base_url, observer=keeper) as client:
        with pytest.raises(TaskFailed):
            await client.run("always-fails", timeout=15)
        with pytest.raises(NotFoundError):
            await client.wait_for_result("019abc12-9012-7890-abcd-ef1234567896", timeout=15)
    ends = [(each.status, each.error) for each in keeper.waits if each.is_over]
    assert ends == [("failed", "TaskFailed"), (None, "NotFoundError")]


@virtual
async def test_waits_without_an_end() -> None:
    """A wait whose deadline has passed was cancelled."""
    keeper = Keeper()
    async with simulated() as server, AsyncClient("sk-1", base_url=server.base_url, observer=keeper) as client:
        Remote("running").on(server)
        server.on("events", hold(SSE_HEAD))
        with pytest.raises(WaitTimeout):
            await client.wait_for_result(TASK_ID, timeout=60)
    assert [(each.status, each.error) for each in keeper.waits if each.is_over] == [("running", "cancelled")]


class Failing:
    """Fails at everything."""

    def __getattr__(self, name: str) -> object:
        def fail(record: object) -> None:
            raise LookupError(name)

        return fail


async def test_failing_observer(server: LocalCyberun, caplog: pytest.LogCaptureFixture) -> None:
    """What an observer raises is logged, and changes nothing."""
    async with server:
        async with AsyncClient(server.api_key, base_url=server.base_url, observer=Failing()) as client:  # type: ignore[arg-type]
            result = await client.run("text-to-image", SMALL, timeout=15)
    assert result.files
    logged = {record.getMessage() for record in caplog.records if record.name == "cyberun_async.observer"}
    assert logged == {f"an observer failed in {name}" for name in ("on_request", "on_response", "on_wait")}


async def test_partial_observer() -> None:
    """An observer may be any object with some of the methods; those of `Observer` do nothing."""
    for observer in (SimpleNamespace(on_request=id), Observer()):
        async with client_of(observer, 503, 200) as client:
            assert (await client.tasks.get("t-1")).id == "t-1"
    Observer().on_wait(WaitProgressed(1, "t-1", None))


@table("kind", [RequestStarted, ResponseReceived, RetryPlanned, WaitProgressed])
def test_records_are_values(kind: type) -> None:
    """What an observer is told cannot be changed by it."""
    assert attrs.fields(kind)
    assert kind.__setattr__ is not object.__setattr__


async def test_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt and each repetition is a line of the log, at the debug level."""
    caplog.set_level(logging.DEBUG, "cyberun_async.transport")
    async with client_of(None, 503, 200) as client:
        await client.tasks.get("t-1")
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    first, again, second = (record.getMessage() for record in caplog.records if record.name.startswith("cyberun"))
    assert first.startswith("GET /r/tasks/t-1: 503 in 0.")
    assert again.startswith("GET /r/tasks/t-1: attempt 1 failed, retry in 0.00 s: GET /r/tasks/t-1 failed with 503")
    assert second.startswith("GET /r/tasks/t-1: 200 in 0.")
