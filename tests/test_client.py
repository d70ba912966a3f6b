"""The client itself: what it takes, what it shows, and where it may be made."""

from __future__ import annotations

import inspect

import anyio
from support.tables import table

from cyberun_async import AsyncClient, Limits
from cyberun_async.local import LocalCyberun


def test_signature() -> None:
    """All but the key goes by name, and everything has a default."""
    first, *others = inspect.signature(AsyncClient).parameters.values()
    assert (first.name, first.default) == ("api_key", None)
    assert {each.kind for each in others} == {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.Parameter.empty not in {each.default for each in others}


def test_repr() -> None:
    """It shows where it talks to, and never the key."""
    assert repr(AsyncClient("sk-abc")) == "<AsyncClient https://core.cyberun.cloud/api/v1>"


async def test_entered() -> None:
    """Entering it gives the client itself, and opens nothing."""
    client = AsyncClient("sk-abc")
    async with client as entered:
        assert entered is client
        assert not client._core.transport.is_open


@table("backend", ["asyncio", "trio"])
def test_made_before_the_loop(backend: str) -> None:
    """A client may be made before there is an event loop: it belongs to that of its first use."""
    with LocalCyberun() as server:
        client = AsyncClient(server.api_key, base_url=server.base_url, limits=Limits(max_connections=2))

        async def use() -> None:
            async with client, anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(client.workflows.get, "text-to-image")

        anyio.run(use, backend=backend)
        assert len(server.requests) == 10


async def test_used_without_entering() -> None:
    """It works without `async with`, too, as long as it is closed."""
    with LocalCyberun() as server:
        client = AsyncClient(server.api_key, base_url=server.base_url)
        assert (await client.workflows.get("text-to-image")).slug == "text-to-image"
        await client.aclose()


@table("name", ["workflows", "tasks", "files", "agents", "containers"])
def test_groups(name: str) -> None:
    """Single requests are on the groups."""
    assert getattr(AsyncClient("sk-abc"), name)
