"""The user who is signed in: with a device key or a token, and not with a team's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cyberun_async import AsyncClient, PermissionDeniedError, User

if TYPE_CHECKING:
    from cyberun_async.local import LocalCyberun


@pytest.mark.parametrize("family", ["dk", "jwt"])
async def test_me(cyberun: LocalCyberun, family: str) -> None:
    """Both belong to a user, with the teams that they are in."""
    key = cyberun.device_key if family == "dk" else cyberun.jwt
    async with AsyncClient(key, team_id=cyberun.team_id, base_url=cyberun.base_url) as client:
        user = await client.users.me()
        assert user == (await client.request("GET", "/users/me", returns=User)).data
    assert user.id
    assert user.email
    assert user.teams


async def test_a_teams_key(cyberun_client: AsyncClient) -> None:
    """An `sk-` key belongs to a team: the service refuses it."""
    with pytest.raises(PermissionDeniedError):
        await cyberun_client.users.me()


async def test_a_view(cyberun: LocalCyberun, cyberun_client: AsyncClient) -> None:
    """A view asks with its own key, and sends requests by hand with it, too."""
    view = cyberun_client.with_options(api_key=cyberun.device_key)
    assert (await view.users.me()).id == (await view.request("GET", "/users/me")).data["id"]
