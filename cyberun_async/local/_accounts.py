"""Who may call: teams, and the credential families of Cyberun Cloud, each with the rules of its kind.

https://docs.cyberun.cloud/api-reference and https://docs.cyberun.cloud/cloud/concepts/credentials
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ._clock import Clock
from ._http import ApiError

Family = Literal["jwt", "sk", "dk", "ak"]

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Caller:
    """A request that has been let in: by which kind of credential, for which team, and as which user."""

    family: Family
    team_id: str
    user_id: str


@dataclass(frozen=True, slots=True, eq=False)
class LocalTeam:
    """A team with its keys; it sees no other team's tasks, uploads and webhooks.

    Attributes:
        id: What a user token must name in ``X-Team-ID``.
        name: Its name for people.
        api_key: An integration key (``sk-``).
        device_key: A device key (``dk-``), which may also call the management endpoints.
        agent_key: An agent key (``ak-``), which the REST API rejects.
    """

    id: str
    name: str
    api_key: str = field(repr=False)
    device_key: str = field(repr=False)
    agent_key: str = field(repr=False)
    _accounts: Accounts = field(repr=False)

    @property
    def jwt(self) -> str:
        """A fresh token of the team's user, good for an hour."""
        return self.issue_jwt()

    @property
    def refresh_token(self) -> str:
        """A fresh refresh token of the team's user, good for one ``POST /auth/refresh``."""
        return self._accounts.issue_refresh_token([self.id])

    def issue_jwt(self, lifetime: float = HOUR) -> str:
        """Sign a token of the team's user that expires `lifetime` seconds from now on the server's clock."""
        return self._accounts.issue_jwt(lifetime, [self.id])

    def new_key(self) -> str:
        """Make another integration key (``sk-``) of the team."""
        return self._accounts.add_key("sk", self.id)


class Accounts:
    """Teams, each with keys of every family and a user, who has any number of tokens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jwt_secret = secrets.token_bytes(32)
        self._revoked: set[str] = set()
        self._refresh_tokens: dict[str, Sequence[str]] = {}
        self._keys: dict[str, tuple[Family, str]] = {}
        self._companions: dict[str, str] = {}
        self._users: dict[str, str] = {}
        self.teams: list[LocalTeam] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.teams)} teams, {len(self._keys)} keys>"

    def add_team(self, name: str) -> LocalTeam:
        """Make a team with its keys and its user."""
        team_id = str(uuid.uuid4())
        self._users[team_id] = str(uuid.uuid4())
        device_key, agent_key = self.add_device(team_id)
        team = LocalTeam(team_id, name, self.add_key("sk", team_id), device_key, agent_key, self)
        self.teams.append(team)
        return team

    def add_key(self, family: Family, team_id: str) -> str:
        """Make a key of a family for a team."""
        key = f"{family}-{secrets.token_hex(24)}"
        self._keys[key] = family, team_id
        return key

    def add_device(self, team_id: str) -> tuple[str, str]:
        """Make a device key and its companion agent key."""
        device_key, agent_key = self.add_key("dk", team_id), self.add_key("ak", team_id)
        self._companions[device_key] = agent_key
        return device_key, agent_key

    def issue_jwt(self, lifetime: float, team_ids: Sequence[str]) -> str:
        """Sign a token of a user who belongs to these teams; it expires `lifetime` seconds from now on the server's clock."""
        now = self._clock.time()
        claims = {"sub": self._users[team_ids[0]], "iat": int(now), "exp": now + lifetime, "teams": list(team_ids)}
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._jwt_signature(signed)}"

    def issue_refresh_token(self, team_ids: Sequence[str]) -> str:
        """Give a refresh token, which is good for one refresh."""
        token = secrets.token_urlsafe(32)
        self._refresh_tokens[token] = team_ids
        return token

    def refresh(self, refresh_token: str) -> dict[str, object]:
        """Exchange a refresh token for a new pair of tokens.

        Raises:
            ApiError: 401 for one that is unknown, revoked, or was used before.
        """
        team_ids = self._refresh_tokens.pop(refresh_token, None)
        if team_ids is None or refresh_token in self._revoked:
            raise ApiError(401, "refresh token is invalid or was used")
        return {
            "access_token": self.issue_jwt(HOUR, team_ids),
            "refresh_token": self.issue_refresh_token(team_ids),
            "expires_in": int(HOUR),
        }

    def revoke(self, credential: str) -> None:
        """Reject the credential from the next request on, and the companion of a device key, too."""
        self._revoked |= {credential, self._companions.get(credential, credential)}

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
            claims = self._claims_of(token)
            return Caller("jwt", _team_of_jwt_call(headers, claims["teams"]), claims["sub"])
        family, team_id = self._keys.get(token, ("ak", ""))
        # An agent key is good for the gateway's WebSocket only; the REST API rejects it.
        if family == "ak":
            raise ApiError(401, "invalid or missing credentials")
        return Caller(family, team_id, self._users[team_id])

    def user_of(self, headers: Mapping[str, str]) -> dict[str, object]:
        """Describe the user who is calling; a user's token needs no team for that.

        What an item of ``team_list`` has is not documented: it is this server's choice, as is 403 for an integration key.

        Raises:
            ApiError: 401 for a credential that is not let in; 403 for an integration key, which belongs to no user.
        """
        token = headers.get("authorization", "").partition(" ")[2]
        team_ids = self._claims_of(token)["teams"] if token.startswith("eyJ") else [self.sign_in(headers).team_id]
        if self._keys.get(token, ("jwt", ""))[0] == "sk":
            raise ApiError(403, "an integration key belongs to no user")
        return {
            "id": self._users[team_ids[0]],
            "first_name": "Ada",
            "last_name": "Lovelace",
            "display_name": "Ada Lovelace",
            "email_address": "ada@example.com",
            "team_list": [{"id": each.id, "display_name": each.name} for each in self.teams if each.id in team_ids],
            "feature_flags": {"global": {"features": {}, "quotas": {"max_concurrent_tasks": -1}}},
        }

    def _claims_of(self, token: str) -> Mapping[str, Any]:
        signed, _, signature = token.rpartition(".")
        if token in self._revoked or not hmac.compare_digest(self._jwt_signature(signed).encode(), signature.encode()):
            raise ApiError(401, "invalid or missing credentials")
        claims: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        if claims["exp"] <= self._clock.time():
            raise ApiError(401, "token has expired")
        return claims

    def _jwt_signature(self, signed: str) -> str:
        digest = hmac.new(self._jwt_secret, signed.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _team_of_jwt_call(headers: Mapping[str, str], teams: Sequence[str]) -> str:
    given = headers.get("x-team-id", "")
    try:
        team_id = str(uuid.UUID(given))
    except ValueError:
        raise ApiError(400, "X-Team-ID header is required and must be a UUID") from None
    if team_id not in teams:
        # Not documented; 403 is this server's choice for a team the user does not belong to.
        raise ApiError(403, "not a member of this team")
    return team_id


def _encode(claims: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
