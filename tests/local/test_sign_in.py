"""Getting a credential from the local server: refreshing a user's tokens."""

from __future__ import annotations

import httpx
import pytest

from cyberun_async.local import LocalCyberun


async def test_refresh(server: LocalCyberun) -> None:
    """A refresh token gives a new pair, once; it needs no credential."""
    first = server.refresh_token
    async with httpx.AsyncClient(base_url=server.base_url) as http:
        response = await http.post("/auth/refresh", json={"refresh_token": first})
        assert response.status_code == 200
        pair = response.json()
        assert set(pair) == {"access_token", "refresh_token", "expires_in"}
        signed_in = {"Authorization": f"Bearer {pair['access_token']}", "X-Team-ID": server.team_id}
        assert (await http.get("/r/agents", headers=signed_in)).status_code == 200
        assert (await http.post("/auth/refresh", json={"refresh_token": first})).status_code == 401
        assert (await http.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})).status_code == 200


async def test_revoked(server: LocalCyberun) -> None:
    """A revoked refresh token is rejected."""
    token = server.refresh_token
    server.revoke(token)
    async with httpx.AsyncClient(base_url=server.base_url) as http:
        assert (await http.post("/auth/refresh", json={"refresh_token": token})).status_code == 401


@pytest.mark.parametrize("body", [{}, {"refresh_token": 3}, {"refresh_token": ""}])
async def test_without_a_token(server: LocalCyberun, body: dict[str, object]) -> None:
    """A body without one is a 400."""
    async with httpx.AsyncClient(base_url=server.base_url) as http:
        assert (await http.post("/auth/refresh", json=body)).status_code == 400
