"""The calls that get a credential: refreshing a user's tokens.

https://docs.cyberun.cloud/api-reference/auth/refresh-access-token
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from ._accounts import Accounts
from ._http import ApiError, read_json
from ._operations import Operations

HOUR = 3600.0


class SignInCalls:
    """One method per call; none of them needs a credential."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.token_lifetime = HOUR

    def routes(self, operations: Operations) -> list[BaseRoute]:
        on = operations.route
        return [on("auth.refresh", "POST", "/auth/refresh", self.refresh)]

    async def refresh(self, request: Request) -> Response:
        """Give a new pair of tokens for a refresh token, which is used up by it."""
        token = (await read_json(request)).get("refresh_token")
        if not isinstance(token, str) or not token:
            raise ApiError(400, "refresh_token is required")
        return JSONResponse(self._accounts.refresh(token, self.token_lifetime))
