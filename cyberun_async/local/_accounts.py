"""Who may call: the credential families of Cyberun Cloud, each with the rules of its kind.

https://docs.cyberun.cloud/api-reference and https://docs.cyberun.cloud/cloud/concepts/credentials
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ._clock import Clock
from ._http import ApiError

Family = Literal["jwt", "sk", "dk", "ak"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A request that has been let in: by which kind of credential, and for which team."""

    family: Family
    team_id: str


class Accounts:
    """One team with one key of each family, and any number of user tokens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jwt_secret = secrets.token_bytes(32)
        self._revoked: set[str] = set()
        self._refresh_tokens: set[str] = set()
        self.team_id = str(uuid.uuid4())
        self.api_key = f"sk-{secrets.token_hex(24)}"
        self.device_key = f"dk-{secrets.token_hex(24)}"
        self.agent_key = f"ak-{secrets.token_hex(24)}"
        self._families: dict[str, Family] = {self.api_key: "sk", self.device_key: "dk", self.agent_key: "ak"}

    def issue_jwt(self, lifetime: float) -> str:
        """Sign a user token that expires `lifetime` seconds from now on the server's clock."""
        claims = {"sub": str(uuid.uuid4()), "iat": int(self._clock.time()), "exp": self._clock.time() + lifetime}
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._jwt_signature(signed)}"

    def issue_refresh_token(self) -> str:
        """Give a refresh token, which is good for one refresh."""
        token = secrets.token_urlsafe(32)
        self._refresh_tokens.add(token)
        return token

    def refresh(self, refresh_token: str, lifetime: float) -> dict[str, object]:
        """Exchange a refresh token for a new pair of tokens.

        Raises:
            ApiError: 401 for one that is unknown, revoked, or was used before.
        """
        if refresh_token not in self._refresh_tokens or refresh_token in self._revoked:
            raise ApiError(401, "refresh token is invalid or was used")
        self._refresh_tokens.remove(refresh_token)
        return {
            "access_token": self.issue_jwt(lifetime),
            "refresh_token": self.issue_refresh_token(),
            "expires_in": int(lifetime),
        }

    def revoke(self, credential: str) -> None:
        """Refuse the credential from the next request on."""
        self._revoked.add(credential)

    def sign_in(self, headers: Mapping[str, str]) -> Caller:
        """Say who is calling.

        Raises:
            ApiError: 401 for a missing, unknown, revoked or expired credential and for every ``ak-`` key;
                400 for a user token without a usable ``X-Team-ID``.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token or token in self._revoked:
            raise ApiError(401, "invalid or missing credentials")
        if token.startswith("eyJ"):
            self._check_jwt(token)
            return Caller("jwt", self._team_of_jwt_call(headers))
        family = self._families.get(token)
        # An agent key is good for the gateway's WebSocket only; the REST API rejects it.
        if family is None or family == "ak":
            raise ApiError(401, "invalid or missing credentials")
        return Caller(family, self.team_id)

    def _team_of_jwt_call(self, headers: Mapping[str, str]) -> str:
        given = headers.get("x-team-id", "")
        try:
            team_id = str(uuid.UUID(given))
        except ValueError:
            raise ApiError(400, "X-Team-ID header is required and must be a UUID") from None
        if team_id != self.team_id:
            # Not documented; 403 is this server's choice for a team the user does not belong to.
            raise ApiError(403, "not a member of this team")
        return team_id

    def _check_jwt(self, token: str) -> None:
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._jwt_signature(signed).encode(), signature.encode()):
            raise ApiError(401, "invalid or missing credentials")
        claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        if claims["exp"] <= self._clock.time():
            raise ApiError(401, "token has expired")

    def _jwt_signature(self, signed: str) -> str:
        digest = hmac.new(self._jwt_secret, signed.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(claims: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
