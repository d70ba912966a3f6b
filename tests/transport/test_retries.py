"""Sending again, as the client does it: within the budget, the caller's deadline, and what the server asked for."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest
from trio.testing import MockClock

from cyberun_async import AsyncClient, ConfigurationError, Limits, RateLimitError, Retries, ServerError
from cyberun_async._protocol import endpoints

# Time that passes by itself, as soon as nobody has anything to do.
VIRTUAL_TIME = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)

TASK = {"id": "t-1", "task_status": "running", "workflow_id": "w-1"}

Answer = Callable[[httpx.Request], httpx.Response]


class Script:
    """Answers with one response after the other, the last one for ever, and notes when it was asked."""

    def __init__(self, *responses: httpx.Response) -> None:
        self.responses = list(responses)
        self.asked: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(anyio.current_time())
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        body = {**TASK, "id": request.url.path.rpartition("/")[2]}
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return httpx.Response(response.status_code, headers=headers, json=body)

    @property
    def after(self) -> list[float]:
        """The seconds from the first request to each."""
        return [moment - self.asked[0] for moment in self.asked]


def answer(status: int = 200, retry_after: str | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return httpx.Response(status, json=TASK, headers=headers)


def client_of(answer: Answer, retries: Retries = Retries(), limits: Limits = Limits()) -> AsyncClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return AsyncClient("sk-test", base_url="http://localhost", http_client=http, retries=retries, limits=limits)


async def test_until_it_works() -> None:
    """A call is sent again until it is answered."""
    script = Script(answer(503), answer(502), answer())
    async with client_of(script, Retries(initial=0.001)) as client:
        assert (await client.tasks.get("t-1")).id == "t-1"
    assert len(script.asked) == 3


async def test_no_budget() -> None:
    """A budget of zero sends once."""
    script = Script(answer(503))
    async with client_of(script, Retries(budget=0)) as client:
        with pytest.raises(ServerError):
            await client.tasks.get("t-1")
    assert len(script.asked) == 1


@VIRTUAL_TIME
async def test_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """With delays at their longest, a call is sent again as long as that is within the budget."""
    monkeypatch.setitem(_defaults(), "jitter", lambda: 1.0)
    script = Script(answer(503))
    async with client_of(script) as client:
        with pytest.raises(ServerError):
            await client.tasks.get("t-1")
    assert script.after == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5])


@VIRTUAL_TIME
async def test_slow_failures_count_from_the_first() -> None:
    """A first attempt that took longer than the budget is sent again all the same: it is failures that it limits."""
    asked = []

    async def fail_after_forty_seconds(request: httpx.Request) -> httpx.Response:
        asked.append(anyio.current_time())
        await anyio.sleep(40)
        return answer(503)

    async with client_of(fail_after_forty_seconds) as client:  # type: ignore[arg-type]
        with pytest.raises(ServerError):
            await client.tasks.get("t-1")
    assert len(asked) == 2


@VIRTUAL_TIME
async def test_deadline_of_the_caller() -> None:
    """A delay that ends after the caller's deadline is not begun: the failure comes at once, and says what it was."""
    script = Script(answer(429, "20"))
    async with client_of(script) as client:
        started = anyio.current_time()
        with anyio.fail_after(10), pytest.raises(RateLimitError):
            await client.tasks.get("t-1")
        assert anyio.current_time() == pytest.approx(started)


@VIRTUAL_TIME
@pytest.mark.parametrize(
    "header",
    [
        pytest.param("20", id="seconds"),
        pytest.param("Sun, 06 Nov 1994 08:49:57 GMT", id="a date"),
    ],
)
async def test_one_slows_all(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 that says when to come again holds back every call of the client, streams too, and submissions too."""
    # The moment of the example in RFC 9110, section 5.6.7.
    monkeypatch.setattr("time.time", lambda: 784111777.0)
    script = Script(answer(429, header), answer())
    async with client_of(script) as client:

        async def open_stream() -> None:
            with pytest.raises(Exception, match="text/event-stream"):
                await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))

        async with anyio.create_task_group() as group:
            group.start_soon(client.tasks.get, "t-1")
            await anyio.sleep(1)
            group.start_soon(client.tasks.get, "t-2")
            group.start_soon(open_stream)
    assert len(script.asked) == 4
    assert all(19.999 < after < 21 for after in script.after[1:])


@VIRTUAL_TIME
async def test_streams_count() -> None:
    """A 429 on a stream holds back the calls."""
    script = Script(answer(429, "20"), answer())
    async with client_of(script) as client:
        with pytest.raises(RateLimitError):
            await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))
        await client.tasks.get("t-1")
    assert script.after == pytest.approx([0, 20])


@VIRTUAL_TIME
async def test_put_off_again() -> None:
    """While a call is held back, another 429 may hold it back for longer."""
    script = Script(answer(429, "10"), answer(429, "30"), answer())
    retries = Retries(budget=0)
    async with client_of(script, retries) as client:

        async def refused(task_id: str) -> None:
            with pytest.raises(RateLimitError):
                await client.tasks.get(task_id)

        async with anyio.create_task_group() as group:
            group.start_soon(refused, "t-1")
            group.start_soon(refused, "t-2")
            await anyio.sleep(1)
            group.start_soon(client.tasks.get, "t-3")
    assert script.after == pytest.approx([0, 0, 30])


async def test_too_long() -> None:
    """A server that wants more than a minute gets no sleep: the failure comes at once, and nobody else waits."""
    script = Script(answer(429, "61"), answer())
    async with client_of(script) as client:
        with anyio.fail_after(5):
            with pytest.raises(RateLimitError) as caught:
                await client.tasks.get("t-1")
            assert caught.value.retry_after == 61
            await client.tasks.get("t-1")


async def test_held_back_by_the_gate() -> None:
    """No more calls are in the air than the limit says."""
    release, most, now = anyio.Event(), 0, 0

    async def count(request: httpx.Request) -> httpx.Response:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1
        return answer()

    client = client_of(count, limits=Limits(max_connections=7))  # type: ignore[arg-type]
    async with client, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(client.tasks.get, "t-1")
        await anyio.wait_all_tasks_blocked()
        release.set()
    assert most == 7


async def test_closed_while_it_waits_to_be_sent_again() -> None:
    """A call that is to be sent again by a client that has been closed says so."""
    script = Script(answer(503))
    client = client_of(script, Retries(initial=0.05))

    async def closed() -> None:
        with pytest.raises(ConfigurationError, match="closed"):
            await client.tasks.get("t-1")

    async with anyio.create_task_group() as group:
        group.start_soon(closed)
        await anyio.wait_all_tasks_blocked()
        await client.aclose()


def _defaults() -> dict[str, object]:
    from cyberun_async._transport.retry import delay_before_retry

    defaults: dict[str, object] = delay_before_retry.__kwdefaults__
    return defaults
