"""Users' tokens that refresh themselves: `RefreshingToken`. (JWT, refresh token rotation, OAuth)

The service rotates refresh tokens: each is good for one refresh, and one that is used again is answered with 401. So
these hold, in this order of importance:

- **A refresh token is sent once.** It counts as used from the moment its request may have left, whatever becomes of it:
  a lost response may have carried the next one. Only a request that cannot have arrived, or was refused without being
  acted on, leaves it unused.
- **The next refresh token is saved before it is used**, and before the access token that came with it is: a process that
  ends at any moment has saved the one that is good, or none that was used since.
- **A caller that is cancelled does not interrupt a refresh** that has left; it is kept a few seconds for the response.
- **One refresh serves all who wait** for an access token.
"""

from collections.abc import Callable, Mapping
from inspect import isawaitable
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

import attrs

from cyberun_async._concurrency import Flight, shield_with_grace
from cyberun_async._errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    CyberunError,
    RateLimitError,
    SignInRequired,
    TokenError,
    TransportError,
)
from cyberun_async._protocol.api_headers import seal_headers
from cyberun_async._protocol.key_format import check_key
from cyberun_async._protocol.secret import Key, sealed
from cyberun_async._protocol.sign_in import TokenPair, refresh_tokens
from cyberun_async._settings import Timeouts
from cyberun_async._transport.anonymous import anonymous_settings
from cyberun_async._transport.cached_token import TokenCache
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.transport import Transport

if TYPE_CHECKING:
    import httpx

CANCELLATION_GRACE = 10.0
"""Seconds that a caller who is cancelled is kept for a refresh that has left."""

EARLY = 60.0
"""Seconds before an access token expires from which on it is not used any more, a tenth of its lifetime at most."""


class RefreshingToken:
    """A token provider for a user's JWT, which is refreshed before it expires and after a 401.

    A refresh token is good for one refresh, and never sent twice. Use one of these for each signed-in user, in one
    process: another process with the same refresh token would use it up.

    Args:
        refresh_token: The user's refresh token, as a login or the last `save` gave it.
        save: Called with each new refresh token, and may be async; it is kept there before anything uses it. If it
            fails, so does the request, and it is called again before the next one.
        access_token: A token to begin with, used until it is rejected; without one, the first request refreshes.
        base_url: The address of the API; else it is in `CYBERUN_BASE_URL`, else it is Cyberun Cloud's.
        http_client: Your own client to refresh through, such as for a proxy; it is never closed.
        timeouts: Seconds that the steps of a refresh may take.
        headers: For a gateway in front of the API, as those of `AsyncClient`; else they are in `CYBERUN_HEADERS`.
        allow_insecure_http: Whether the base URL may be `http://` to a host that is not loopback.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        ```python
        token = RefreshingToken(await users.refresh_token_of(user), save=partial(users.keep, user))
        client = AsyncClient(token, team_id=user.team_id)
        ```

    Source: https://docs.cyberun.cloud/api-reference/auth/refresh-access-token

    """

    def __init__(
        self,
        refresh_token: str,
        *,
        save: Callable[[str], object],
        access_token: str | None = None,
        base_url: str | None = None,
        http_client: "httpx.AsyncClient | None" = None,
        timeouts: Timeouts = Timeouts(),
        headers: Mapping[str, str] | None = None,
        allow_insecure_http: bool = False,
    ) -> None:
        """Send nothing yet."""
        unused = sealed(refresh_token)
        if not isinstance(unused, Key):
            raise ConfigurationError(f"the refresh token must be a string, not {type(unused).__name__}")
        if not unused.reveal():
            raise ConfigurationError("the refresh token is empty: sign in, and pass the one that you get")
        given = None if access_token is None else check_key(sealed(access_token))
        given_headers = seal_headers(headers)
        del refresh_token, access_token, headers  # A traceback with local variables would show them.
        if not callable(save):
            raise ConfigurationError(f"save must be a function of the new refresh token, not {type(save).__name__}")
        self._save = save
        self._settings = anonymous_settings(
            base_url, timeouts=timeouts, headers=given_headers, allow_insecure_http=allow_insecure_http
        )
        self._http_client = http_client
        Connections(self._settings, http_client)  # What cannot work is found now, and not by the first request.
        self._unused: Key | None = unused
        self._why_none = ""
        self._unsaved: _Pair | None = None
        self._cache = TokenCache(self._renew)
        if given is not None:
            self._cache.put(given, inf)

    def __repr__(self) -> str:
        """Show whether it can go on, and never a token."""
        if self._unsaved is not None:
            return f"<{type(self).__name__}: a refresh token to save>"
        return f"<{type(self).__name__}: {'sign in again' if self._unused is None else 'can refresh'}>"

    async def __call__(self) -> str:
        """Give an access token; a new one where there is none or it is about to expire.

        Raises:
            SignInRequired: The refresh token was rejected, or may have been used: the user has to sign in again.
            TokenError: The service cannot be reached, or asks to wait; the refresh token is unused.
            APIError: The service has refused the refresh for another reason; the refresh token is unused.

        Source: https://docs.cyberun.cloud/api-reference/auth/refresh-access-token

        """
        return (await self._cache.get()).reveal()

    def invalidate(self, token: str) -> None:
        """Forget an access token that the service has rejected; a client calls it after a 401."""
        self._cache.drop(token)

    async def _renew(self) -> tuple[Key, float]:
        """Refresh, unless a pair is left whose refresh token could not be saved; then save."""
        flight, results = Flight(), list[tuple[Key, float]]()

        async def refresh_and_save() -> None:
            if self._unsaved is None:
                self._unsaved = await self._refresh(flight)
            pair = self._unsaved
            if pair.refresh is not None:
                saved = self._save(pair.refresh.reveal())
                if isawaitable(saved):
                    await saved
            self._unused, self._unsaved = pair.refresh, None
            # Here, since a caller that was cancelled meanwhile takes nothing along.
            self._cache.put(pair.access, pair.expires_at)
            results.append((pair.access, pair.expires_at))

        await shield_with_grace(refresh_and_save, flight, within=CANCELLATION_GRACE)
        return results[0]

    async def _refresh(self, flight: Flight) -> "_Pair":
        """Send the refresh token, which counts as used from then on, unless it is known that it was not."""
        token = self._unused
        if token is None:
            raise SignInRequired(self._why_none)
        self._unused, self._why_none = None, "may have been used by a refresh whose response was lost"
        began = monotonic()
        transport = Transport(self._settings, Connections(self._settings, self._http_client))
        try:
            pair = await transport.send(refresh_tokens(token), flight=flight)
        except CyberunError as error:
            if is_unused_after(error):
                self._unused = token
                raise _for_now(error) from error
            if isinstance(error, AuthenticationError):
                self._why_none = f"was rejected ({error.message})"
            raise SignInRequired(self._why_none) from error
        except BaseException:
            if not flight.is_begun:
                self._unused = token
            raise
        finally:
            await transport.aclose()
        self._why_none = "was used, and the service gave no other one"
        return _Pair.of(pair, began)


@attrs.frozen
class _Pair:
    """What a refresh has given.

    Attributes:
        access: The access token.
        expires_at: The moment on the system's monotonic clock from which on it is not used.
        refresh: The next refresh token.

    """

    access: Key
    expires_at: float
    refresh: Key | None

    @classmethod
    def of(cls, pair: TokenPair, began: float) -> "_Pair":
        stated = pair.expires_in or 0.0
        # Nothing, and 0 as Go writes it, say nothing.
        lifetime = stated - min(EARLY, stated / 10) if stated > 0 else inf
        refresh = Key(pair.refresh_token) if pair.refresh_token else None
        return cls(Key(pair.access_token), began + lifetime, refresh)


def is_unused_after(error: CyberunError) -> bool:
    """Whether a refresh token is as good as before: its request cannot have arrived, or was refused without being acted on."""
    return not error.may_have_been_sent and not isinstance(error, (AuthenticationError, ConflictError))


def _for_now(error: CyberunError) -> CyberunError:
    """Give the error for a failure that another try may cure, which a wait outlives."""
    if isinstance(error, (TransportError, RateLimitError)):
        return TokenError(str(error), method="POST", path="/auth/refresh")
    return error


RefreshingToken.__module__ = "cyberun_async"
