"""Who is let in."""

from __future__ import annotations

import uuid

import httpx
import pytest
from local.conftest import client_with

from cyberun_async.local import LocalCyberun


@pytest.mark.parametrize("key", ["api_key", "device_key"])
async def test_keys_need_no_team(server: LocalCyberun, key: str) -> None:
    """An sk- or dk- key is let in, and a team that is sent with it is ignored."""
    async with client_with(server, getattr(server, key), **{"X-Team-ID": "nonsense"}) as client:
        assert (await client.get("r/agents")).status_code == 200


@pytest.mark.parametrize("credential", ["sk-unknown", "ak", "eyJhbGciOiJIUzI1NiJ9.e30.forged"])
async def test_strangers(server: LocalCyberun, credential: str) -> None:
    """An unknown or forged credential is refused with 401, and so is every agent key."""
    token = server.agent_key if credential == "ak" else credential
    async with client_with(server, token) as client:
        assert (await client.get("r/agents")).status_code == 401


async def test_user_tokens(server: LocalCyberun) -> None:
    """A user token needs its team, and expires on the server's clock."""
    token = server.issue_jwt(60)
    async with client_with(server, token) as client:
        assert (await client.get("r/agents")).status_code == 400
        assert (await client.get("r/agents", headers={"X-Team-ID": str(uuid.uuid4())})).status_code == 403
        team = {"X-Team-ID": server.team_id}
        assert (await client.get("r/agents", headers=team)).status_code == 200
        await server.clock.advance(61)
        assert (await client.get("r/agents", headers=team)).status_code == 401


async def test_revocation(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A revoked key is refused from the next request on."""
    assert (await http.get("r/agents")).status_code == 200
    server.revoke(server.api_key)
    assert (await http.get("r/agents")).status_code == 401


async def test_integration_keys_do_not_manage(http: httpx.AsyncClient) -> None:
    """An sk- key may not manage webhooks."""
    assert (await http.get(f"webhooks/{uuid.uuid4()}")).status_code == 403
