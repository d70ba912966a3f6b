"""A token provider that fails: in a wait like a lost connection, in a single call at once, and never as a foreign error."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest
from support.scripted import COMPLETED, END, SSE_HEAD, TASK, Remote, answer, hold, send
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import (
    AuthenticationError,
    ConfigurationError,
    CyberunError,
    Limits,
    Polling,
    Retries,
    Timeouts,
    TokenError,
    TransportError,
)

TOKEN = "eyJ.a.b"


class Provider:
    """Gives a token, but fails at some of its calls."""

    def __init__(self, failure: Exception | None = None, *, at: range = range(0)) -> None:
        self.calls = 0
        self._failure = failure or httpx.ConnectError("no route")
        self._at = at

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls in self._at:
            raise self._failure
        return TOKEN


@table("streams", [0, 1])
@table("at", [1, 2, 3, 4])
@table("failure", [httpx.ConnectError("no route"), OSError("no route"), KeyError("token")], ids=type)
@virtual
async def test_one_failure_in_a_wait_is_nothing(failure: Exception, at: int, streams: int) -> None:
    """Whichever request it was for, the wait goes on."""
    remote = Remote("running")
    provider = Provider(failure, at=range(at, at + 1))
    async with served(api_key=provider, limits=Limits(max_streams=streams)) as (server, client):
        remote.on(server)
        server.on("task", remote.look, remote.first("completed", remote.look))
        server.on("events", hold(SSE_HEAD))

        assert (await client.wait_for_result(TASK)).status == "completed"


@table("streams", [0, 1])
@virtual
async def test_a_provider_that_fails_for_ever(streams: int) -> None:
    """After the patience comes a `TokenError` with the cause."""
    failure = httpx.ConnectError("no route")
    provider = Provider(failure, at=range(2, 10_000))
    async with served(
        api_key=provider, polling=Polling(unavailable_timeout=20), limits=Limits(max_streams=streams)
    ) as (
        server,
        client,
    ):
        Remote("running").on(server)
        server.on("events", hold(SSE_HEAD))
        began = anyio.current_time()
        with pytest.raises(TokenError) as caught:
            await client.wait_for_result(TASK)
        seconds = anyio.current_time() - began

    assert (caught.value.__cause__, caught.value.task_id) == (failure, TASK)
    assert 20 <= seconds <= 30


@virtual
async def test_a_single_call() -> None:
    """It raises at once, and nothing was sent."""
    failure = httpx.ConnectError(f"no route for {TOKEN}")
    provider = Provider(failure, at=range(1, 10_000))
    async with served(api_key=provider, retries=Retries()) as (server, client):
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: client.tasks.get(TASK),
            lambda: client.submit("demo", validate=False),
            lambda: client.tasks.cancel(TASK),
        ]
        for call in calls:
            with pytest.raises(TokenError, match="no route") as caught:
                await call()
            assert caught.value.__cause__ is failure
            assert not caught.value.may_have_been_sent

    assert server.requests == []
    assert provider.calls == len(calls)


@virtual
async def test_a_fresh_token_after_a_401() -> None:
    """A provider that fails when it is asked for a fresh one fails the call likewise."""
    async with served(api_key=Provider(at=range(2, 3))) as (server, client):
        server.on("task", answer(401))
        with pytest.raises(TokenError):
            await client.tasks.get(TASK)


@table(
    "failure",
    [
        pytest.param(ConfigurationError("sign in first"), id="configuration"),
        pytest.param(
            TransportError("no", method="GET", path="/token", may_have_been_sent=True), id="one that would be retried"
        ),
    ],
)
@table("at", [1, 2, 3])
@virtual
async def test_a_providers_own_error(failure: CyberunError, at: int) -> None:
    """A `CyberunError` of the provider's own ends a wait at once, and comes out as it is."""
    provider = Provider(failure, at=range(at, 10_000))
    async with served(api_key=provider, retries=Retries()) as (server, client):
        Remote("running").on(server)
        server.on("events", hold(SSE_HEAD))
        began = anyio.current_time()
        with pytest.raises(type(failure)) as caught:
            await client.wait_for_result(TASK)
        assert anyio.current_time() - began <= 4
        with pytest.raises(type(failure)):
            await client.tasks.get(TASK)

    assert caught.value is failure
    assert provider.calls == at + 1


@virtual
async def test_a_provider_that_hangs() -> None:
    """It has as long as a call may take."""

    async def hang() -> str:
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    async with served(api_key=hang, timeouts=Timeouts(call=7)) as (_, client):
        began = anyio.current_time()
        with pytest.raises(TokenError, match="TimeoutError"):
            await client.tasks.get(TASK)
        assert anyio.current_time() - began == pytest.approx(7)


@virtual
async def test_a_token_that_cannot_be_one() -> None:
    """It is a `ConfigurationError`, also in a wait."""

    async def blank() -> str:
        return ""

    async with served(api_key=blank) as (server, client):
        with pytest.raises(ConfigurationError):
            await client.wait_for_result(TASK)

    assert server.requests == []


@virtual
async def test_a_401_that_a_fresh_token_cures() -> None:
    """In a wait, too, a provider is asked once more."""
    async with served(api_key=Provider()) as (server, client):
        Remote("completed").on(server)
        server.on("task", answer(401), Remote("completed").look)
        server.on("events", send(SSE_HEAD, COMPLETED, END))

        assert (await client.wait_for_result(TASK)).status == "completed"


@virtual
async def test_a_401_for_ever_ends_the_wait() -> None:
    """A fresh token that is refused as well ends it at once."""
    provider = Provider()
    async with served(api_key=provider) as (server, client):
        server.on("task", answer(401))
        server.on("events", hold(SSE_HEAD))
        with pytest.raises(AuthenticationError):
            await client.wait_for_result(TASK)

    assert server.kinds() == ["events", "task", "task"]


def test_it_can_be_sent_to_another_process() -> None:
    """It keeps its facts, and its message never has a token in it."""
    error = TokenError("ConnectError: no route", method="GET", path="/r/tasks", task_id="t-1")
    copy = pickle.loads(pickle.dumps(error))

    assert (str(copy), copy.method, copy.path, copy.task_id) == (str(error), "GET", "/r/tasks", "t-1")
