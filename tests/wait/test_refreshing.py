"""Waits whose token refreshes: one that cannot be refreshed for now does not end them, one that never can does."""

from __future__ import annotations

import httpx
import pytest
from support.scripted import SSE_HEAD, TASK, Remote, hold
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import CachedToken, Limits, Polling, SignInRequired, TokenError

FOR_NOW = TokenError("ConnectError: no route", method="POST", path="/auth/refresh")


class Tokens:
    """Gives tokens, but fails at some calls."""

    def __init__(self, failure: Exception, *, at: range) -> None:
        self.calls = 0
        self._failure = failure
        self._at = at

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls in self._at:
            raise self._failure from httpx.ConnectError("no route")
        return f"eyJ.a.{self.calls}"


@table("streams", [0, 1])
@virtual
async def test_none_for_now(streams: int) -> None:
    """A `TokenError` of the provider's own counts as a lost connection."""
    remote = Remote("running")
    tokens = Tokens(FOR_NOW, at=range(2, 4))
    async with served(api_key=tokens, limits=Limits(max_streams=streams)) as (server, client):
        remote.on(server)
        server.on("task", remote.look, remote.first("completed", remote.look))
        server.on("events", hold(SSE_HEAD))
        assert (await client.wait_for_result(TASK)).status == "completed"
    assert tokens.calls > 3


@virtual
async def test_none_for_long() -> None:
    """Where it lasts, it is what the wait fails with, with the task and the cause; others' errors stay as they are."""
    tokens = Tokens(FOR_NOW, at=range(1, 10_000))
    async with served(api_key=CachedToken(tokens), polling=Polling(unavailable_timeout=20)) as (server, client):
        Remote("running").on(server)
        with pytest.raises(TokenError) as caught:
            await client.wait_for_result(TASK)
    assert caught.value.task_id == TASK
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    assert FOR_NOW.task_id is None


@virtual
async def test_never() -> None:
    """A user who has to sign in again is told so at once."""
    tokens = Tokens(SignInRequired("was rejected (no)"), at=range(2, 10_000))
    async with served(api_key=tokens) as (server, client):
        Remote("running").on(server)
        server.on("events", hold(SSE_HEAD))
        with pytest.raises(SignInRequired):
            await client.wait_for_result(TASK)
    assert tokens.calls <= 4
