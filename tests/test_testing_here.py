"""The fixtures of the plugin in this very run, as anyio's own plugin runs them."""

from __future__ import annotations

from cyberun_async import AsyncClient
from cyberun_async.local import LocalCyberun


async def test_the_client_is_open(cyberun: LocalCyberun, cyberun_client: AsyncClient) -> None:
    """It is a client of the local Cyberun."""
    assert (await cyberun_client.workflows.get("text-to-image")).slug == "text-to-image"
    assert cyberun.requests[-1].operation == "workflows.get"
