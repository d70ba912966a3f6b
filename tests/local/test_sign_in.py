"""Getting a credential from the local server: refreshing a user's tokens."""

from __future__ import annotations

import re

import httpx
import pytest
from local.conftest import client_with

from cyberun_async.local import LocalCyberun


async def test_refresh(server: LocalCyberun) -> None:
    """A refresh token gives a new pair, once; it needs no credential."""
    first = server.refresh_token
    async with httpx.AsyncClient(base_url=server.base_url, verify=False) as http:
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
    async with httpx.AsyncClient(base_url=server.base_url, verify=False) as http:
        assert (await http.post("/auth/refresh", json={"refresh_token": token})).status_code == 401


@pytest.mark.parametrize("body", [{}, {"refresh_token": 3}, {"refresh_token": ""}])
async def test_without_a_token(server: LocalCyberun, body: dict[str, object]) -> None:
    """A body without one is a 400."""
    async with httpx.AsyncClient(base_url=server.base_url, verify=False) as http:
        assert (await http.post("/auth/refresh", json=body)).status_code == 400


async def start(http: httpx.AsyncClient) -> dict[str, str]:
    pairing: dict[str, str] = (await http.post("desktop/pair/start")).json()
    return pairing


async def poll(http: httpx.AsyncClient, pairing: dict[str, str]) -> httpx.Response:
    return await http.post("desktop/pair/poll", json={"device_code": pairing["device_code"]})


async def test_pairing(server: LocalCyberun) -> None:
    """A code that a user confirms gives a device key, once, which revokes itself and its companion."""
    team = {"X-Team-ID": server.team_id}
    async with (
        httpx.AsyncClient(base_url=server.base_url, verify=False) as http,
        client_with(server, server.jwt, **team) as user,
    ):
        pairing = await start(http)
        assert set(pairing) == {"device_code", "user_code", "verification_uri", "expires_in", "interval"}
        assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", pairing["user_code"])
        assert (await poll(http, pairing)).json() == {"status": "pending"}
        confirmed = await user.post(
            "desktop/pair/confirm", json={"user_code": pairing["user_code"], "device_name": "x"}
        )
        assert confirmed.status_code == 200
        approved = (await poll(http, pairing)).json()
        assert approved["status"] == "approved"
        assert approved["agent_key"].startswith("ak-")
        assert (await poll(http, pairing)).status_code == 404
    async with client_with(server, approved["raw_key"]) as device:
        assert (await device.get("users/me")).json()["email_address"] == "ada@example.com"
        assert (await device.post("auth/device/revoke")).status_code == 200
        assert (await device.get("users/me")).status_code == 401


async def test_pairing_expires(server: LocalCyberun) -> None:
    """A code is good for five minutes of the server's clock."""
    async with httpx.AsyncClient(base_url=server.base_url, verify=False) as http:
        pairing = await start(http)
        await server.clock.advance(300)
        assert (await poll(http, pairing)).status_code == 404
    with pytest.raises(ValueError, match="no device waits"):
        server.confirm_pairing(pairing["user_code"])


async def test_who_confirms(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A key confirms nothing, and has no profile; only a device key revokes itself."""
    pairing = await start(http)
    assert (await http.post("desktop/pair/confirm", json={"user_code": pairing["user_code"]})).status_code == 403
    assert (await http.get("users/me")).status_code == 403
    assert (await http.post("auth/device/revoke")).status_code == 403
    server.confirm_pairing(pairing["user_code"])
    assert (await poll(http, pairing)).json()["status"] == "approved"


async def test_confirmed_from_elsewhere(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Another process confirms a code over the control path."""
    pairing = await start(http)
    async with httpx.AsyncClient(verify=False, headers={"Authorization": f"Bearer {server.control_token}"}) as control:
        url = f"{server.control_url}/pairings"
        assert (await control.post(url, json={"user_code": pairing["user_code"]})).status_code == 204
        assert (await control.post(url, json={"user_code": pairing["user_code"]})).status_code == 404
    assert (await poll(http, pairing)).json()["status"] == "approved"
