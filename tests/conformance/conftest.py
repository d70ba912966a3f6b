"""A local Cyberun, and a client of it for all checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from transport.conftest import authority, server_tls, trusted, trusting  # noqa: F401 - fixtures, for the checks of TLS

from cyberun_async import AsyncClient, Polling
from cyberun_async.local import LocalCyberun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

POLLING = Polling(interval=0.5)
"""A stream has twice that time to tell what a look has found, also on a busy machine."""


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Run a server whose tasks take milliseconds, unless their scripts say otherwise."""
    with LocalCyberun(pace=0.001) as running:
        yield running


@pytest.fixture
async def client(server: LocalCyberun) -> AsyncIterator[AsyncClient]:
    """Open a client with the integration key."""
    async with AsyncClient(server.api_key, base_url=server.base_url, polling=POLLING) as opened:
        yield opened
