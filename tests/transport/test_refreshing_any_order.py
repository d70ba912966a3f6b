"""Refreshing, whatever responses come, callers leave and saves fail: no refresh token is used twice, or before it is saved."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import anyio
import httpx
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from cyberun_async import CyberunError, RefreshingToken
from cyberun_async._transport import refreshing_token

UNUSED = {"no connection", "403", "404"}
"""Outcomes after which a refresh token is as good as before."""

USED = {"new pair", "lost", "500", "401", "no JSON", "only an access token", "late"}


class Service:
    """Rotates tokens, and keeps a record of what was sent and saved."""

    def __init__(self, outcomes: list[str], fails: list[bool]) -> None:
        self.outcomes = outcomes
        self.fails = fails
        self.sent: list[tuple[str, str]] = []
        self.saved = ["r0"]
        self.release = anyio.Event()

    async def respond(self, request: httpx.Request) -> httpx.Response:
        token = json.loads(request.content)["refresh_token"]
        assert token in self.saved, "it was not saved before it was used"
        outcome = self.outcomes.pop(0) if self.outcomes else "new pair"
        self.sent.append((token, outcome))
        number = len(self.sent)
        pair: dict[str, Any] = {"access_token": f"eyJ.a.{number}", "refresh_token": f"r{number}", "expires_in": 3600}
        match outcome:
            case "no connection":
                raise httpx.ConnectError("no route")
            case "lost":
                raise httpx.ReadError("gone")
            case "late":
                await self.release.wait()
            case "no JSON":
                return httpx.Response(200, text="<html>")
            case "only an access token":
                del pair["refresh_token"]
            case "new pair":
                pass
            case status:
                return httpx.Response(int(status), json={"error_message": "no"})
        return httpx.Response(200, json=pair)

    async def save(self, refresh_token: str) -> None:
        await anyio.lowlevel.checkpoint()
        if self.fails and self.fails.pop(0):
            raise OSError("the disk is full")
        self.saved.append(refresh_token)


async def story(service: Service, steps: list[str]) -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(service.respond))
    token = RefreshingToken("r0", save=service.save, base_url="http://localhost", http_client=client)
    latest = ""

    async def ask() -> None:
        nonlocal latest
        with suppress(CyberunError, OSError):
            latest = await token()

    for step in steps:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            # It does not wait for the retries of what cannot have arrived.
            await anyio.wait_all_tasks_blocked()
            if step == "leave":
                group.cancel_scope.cancel()
            service.release.set()
            group.cancel_scope.deadline = anyio.current_time() + 1
        service.release = anyio.Event()
        if step == "reject":
            token.invalidate(latest)


@given(
    st.lists(st.sampled_from(sorted(UNUSED | USED)), max_size=6),
    st.lists(st.booleans(), max_size=4),
    st.lists(st.sampled_from(["ask", "leave", "reject"]), min_size=1, max_size=6),
)
def test_no_refresh_token_is_used_twice(outcomes: list[str], fails: list[bool], steps: list[str]) -> None:
    """A refresh token is sent again only after outcomes that leave it unused, and only once it was saved."""
    service = Service(list(outcomes), fails)
    before = refreshing_token.CANCELLATION_GRACE
    refreshing_token.CANCELLATION_GRACE = 0.5
    try:
        # Nothing waits for time to pass.
        anyio.run(story, service, steps, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    finally:
        refreshing_token.CANCELLATION_GRACE = before
    used: set[str] = set()
    for token, outcome in service.sent:
        assert token not in used, service.sent
        if outcome in USED:
            used.add(token)
