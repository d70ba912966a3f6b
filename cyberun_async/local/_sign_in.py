"""The calls that get a credential, and say whose it is: refreshing tokens, pairing a device, the user's profile.

https://docs.cyberun.cloud/api-reference/auth/refresh-access-token,
https://docs.cyberun.cloud/api-reference/devicepair/start-a-desktop-pairing and
https://docs.cyberun.cloud/api-reference/user/get-current-user-profile
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from ._accounts import Accounts
from ._clock import Clock
from ._http import ApiError, not_found, read_json
from ._operations import Operations

PAIRING_LIFETIME = 300.0
POLL_INTERVAL = 2.0

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(slots=True, eq=False)
class Pairing:
    """A device that waits to be approved."""

    user_code: str
    expires_at: float
    team_id: str | None = None


class SignInCalls:
    """One method per call; those that get a credential need none."""

    def __init__(self, accounts: Accounts, clock: Clock, origin: Callable[[], str], *, pace: float) -> None:
        self._accounts = accounts
        self._clock = clock
        self._origin = origin
        self._interval = POLL_INTERVAL if clock.is_held else POLL_INTERVAL * pace
        self._pairings: dict[str, Pairing] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._pairings)} pairings>"

    def routes(self, operations: Operations) -> list[BaseRoute]:
        on = operations.route
        return [
            on("auth.refresh", "POST", "/auth/refresh", self.refresh),
            on("auth.revoke_device", "POST", "/auth/device/revoke", self.revoke_device),
            on("pairing.start", "POST", "/desktop/pair/start", self.start_pairing),
            on("pairing.poll", "POST", "/desktop/pair/poll", self.poll_pairing),
            on("pairing.confirm", "POST", "/desktop/pair/confirm", self.confirm_pairing),
            on("users.me", "GET", "/users/me", self.current_user),
        ]

    async def refresh(self, request: Request) -> Response:
        """Give a new pair of tokens for a refresh token, which is used up by it."""
        token = (await read_json(request)).get("refresh_token")
        if not isinstance(token, str) or not token:
            raise ApiError(400, "refresh_token is required")
        return JSONResponse(self._accounts.refresh(token))

    async def start_pairing(self, _: Request) -> Response:
        device_code = secrets.token_urlsafe(32)
        user_code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2))
        self._pairings[device_code] = Pairing(user_code, self._clock.time() + PAIRING_LIFETIME)
        return JSONResponse(
            {
                "device_code": device_code,
                "user_code": user_code,
                "verification_uri": f"{self._origin()}/pair",
                "expires_in": int(PAIRING_LIFETIME),
                "interval": self._interval,
            }
        )

    async def poll_pairing(self, request: Request) -> Response:
        """Give the key of a pairing that was approved, once."""
        code = str((await read_json(request)).get("device_code"))
        pairing = self._pairings.get(code)
        if pairing is None or self._clock.time() >= pairing.expires_at:
            raise not_found()
        if pairing.team_id is None:
            return JSONResponse({"status": "pending"})
        del self._pairings[code]
        device_key, agent_key = self._accounts.add_device(pairing.team_id)
        return JSONResponse({"status": "approved", "raw_key": device_key, "agent_key": agent_key})

    async def confirm_pairing(self, request: Request) -> Response:
        """Approve a pairing, as a user does who has signed in in the browser."""
        caller = self._accounts.sign_in(request.headers)
        if caller.family != "jwt":
            raise ApiError(403, "only users confirm a pairing")
        code = str((await read_json(request)).get("user_code"))
        self.approve(code, caller.team_id)
        return JSONResponse({"is_success": True})

    def approve(self, user_code: str, team_id: str) -> None:
        """Approve the pairing with a code for a team.

        Raises:
            ApiError: 404 where none waits for it.
        """
        now = self._clock.time()
        waiting = (each for each in self._pairings.values() if each.team_id is None and now < each.expires_at)
        pairing = next((each for each in waiting if each.user_code == user_code), None)
        if pairing is None:
            raise not_found()
        pairing.team_id = team_id

    async def revoke_device(self, request: Request) -> Response:
        """Revoke the device key that signs the request in."""
        if self._accounts.sign_in(request.headers).family != "dk":
            raise ApiError(403, "only a device key revokes itself")
        self._accounts.revoke(request.headers["authorization"].partition(" ")[2])
        return JSONResponse({"is_success": True})

    async def current_user(self, request: Request) -> Response:
        """Say who the user is."""
        return JSONResponse(self._accounts.user_of(request.headers))
