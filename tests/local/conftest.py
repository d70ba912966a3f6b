"""A local Cyberun whose clock only a test moves, and plain HTTP to talk to it: none of the SDK's own code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from cyberun_async.local import LocalCyberun


@pytest.fixture(params=["asyncio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Ask on one loop only: the server has one of its own, and does not see which one asks."""
    backend: str = request.param
    return backend


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Run a server whose clock is held."""
    with LocalCyberun(clock="held") as running:
        yield running


@pytest.fixture
async def http(server: LocalCyberun) -> AsyncIterator[httpx.AsyncClient]:
    """Talk to it with its integration key."""
    async with client_with(server, server.api_key) as client:
        yield client


def client_with(server: LocalCyberun, credential: str, **headers: str) -> httpx.AsyncClient:
    """Make a client of the API with a credential."""
    return httpx.AsyncClient(
        base_url=server.base_url + "/",
        headers={"Authorization": f"Bearer {credential}", **headers},
        transport=httpx.AsyncHTTPTransport(verify=False),
    )
