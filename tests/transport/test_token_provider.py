"""Token providers: asked once for all who wait, and never by themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest
from support.raw import Peer, raw_server
from support.tables import table

from cyberun_async import AsyncClient, AuthenticationError, ConfigurationError, Limits, TransportError

TEAM = "019abc12-4567-7890-abcd-ef1234567891"
TASK = {"id": "t-1", "task_status": "running", "workflow_id": "w-1"}


class Provider:
    """Gives tokens, of which it counts the calls, once it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.ready = anyio.Event()

    async def __call__(self) -> str:
        self.asked += 1
        await self.ready.wait()
        return f"eyJ.token.{self.asked}"


def client_of(token: Callable[[], Awaitable[str]], url: str = "http://localhost", **options: object) -> AsyncClient:
    if url == "http://localhost":
        options["http_client"] = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    return AsyncClient(token, team_id=TEAM, base_url=url, **options)  # type: ignore[arg-type]


def respond(request: httpx.Request) -> httpx.Response:
    return httpx.Response(401 if request.headers["Authorization"].endswith("refused") else 200, json=TASK)


async def test_shared() -> None:
    """Two hundred calls by four connections ask once."""
    provider = Provider()
    client = client_of(provider, limits=Limits(max_connections=4))
    async with client, anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(client.tasks.get, "t-1")
        await anyio.wait_all_tasks_blocked()
        provider.ready.set()
    assert provider.asked == 1


async def test_shared_on_the_wire() -> None:
    """Each of the calls is sent with the token that was asked for once."""
    provider = Provider()

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer()

    async with raw_server(serve) as server:
        async with client_of(provider, server.url) as client, anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.tasks.get, "t-1")
            await anyio.wait_all_tasks_blocked()
            provider.ready.set()
        assert (provider.asked, len(server.requests)) == (1, 20)
        assert all(b"Bearer eyJ.token.1\r\n" in request for request in server.requests)


async def test_handed_over() -> None:
    """When the call that asks is cancelled, another one asks in its place."""
    provider = Provider()

    async def get(scope: anyio.CancelScope) -> None:
        with scope:
            await client.tasks.get("t-1")

    first = anyio.CancelScope()
    async with client_of(provider) as client, anyio.create_task_group() as group:
        for scope in (first, anyio.CancelScope()):
            group.start_soon(get, scope)
            await anyio.wait_all_tasks_blocked()
            assert provider.asked == 1
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        assert provider.asked == 2
        provider.ready.set()


@table("is_nested", [False, True])
async def test_own_client(is_nested: bool) -> None:
    """A provider that sends by the client that asks it would wait for itself: it is told so, through others, too."""

    async def ask() -> str:
        if is_nested:
            async with client_of(ask_client) as other:
                await other.tasks.get("t-1")
        else:
            await ask_client()
        return "eyJ.a.b"

    async def ask_client() -> str:
        await client.tasks.get("t-1")
        return "eyJ.a.b"

    async with client_of(ask) as client:
        with anyio.fail_after(5), pytest.raises(ConfigurationError, match="give it another client"):
            await client.tasks.get("t-1")


async def test_other_client() -> None:
    """It may use another client, and what it leaves running may use its own one later."""
    release = anyio.Event()

    async def later() -> None:
        await release.wait()
        await client.tasks.get("t-1")

    async def ask() -> str:
        async with client_of(plain) as other:
            await other.tasks.get("t-1")
        if not release.is_set():
            group.start_soon(later)
        return "eyJ.a.b"

    async def plain() -> str:
        return "eyJ.a.b"

    async with client_of(ask) as client, anyio.create_task_group() as group:
        await client.tasks.get("t-1")
        release.set()


async def test_what_another_client_raises() -> None:
    """A provider's own failure says nothing of the submission, which was not sent, and it is not retried."""
    asked: list[int] = []

    async def fail() -> str:
        asked.append(1)
        raise TransportError("broke", method="POST", path="/login", may_have_been_sent=True)

    async with client_of(fail) as client:
        with pytest.raises(TransportError, match="POST /login") as caught:
            await client.submit("w", validate=False)
    assert (caught.value.may_have_been_sent, len(asked)) == (False, 1)


async def test_refused_twice() -> None:
    """A token that is refused is asked for once more, and then it is the answer."""

    async def token() -> str:
        return "eyJ.refused"

    async with client_of(token) as client:
        with pytest.raises(AuthenticationError):
            await client.tasks.get("t-1")
