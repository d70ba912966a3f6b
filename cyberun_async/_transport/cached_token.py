"""Token providers that cache: `CachedToken`. (JWT, token cache, invalidate)"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from math import inf
from time import monotonic

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import TokenProvider
from cyberun_async._transport.single_flight import SingleFlight
from cyberun_async._validators import SECONDS, check_above_zero


class TokenCache:
    """Keeps a token until it expires or the service rejects it, and has it fetched once for all who wait.

    Args:
        fetch: Gives a token, and the moment on the system's monotonic clock from which on it is not to be used; a cache may
            outlive an event loop, whose own clock would then begin anew.

    """

    def __init__(self, fetch: Callable[[], Awaitable[tuple[Key, float]]]) -> None:
        self._fetch = fetch
        self._token: Key | None = None
        self._expires_at = inf
        self._flights = SingleFlight[None, Key]()

    def __repr__(self) -> str:
        """Show whether there is a token, and never the token."""
        return f"<{type(self).__name__}: {'empty' if self._token is None else 'has a token'}>"

    async def get(self) -> Key:
        """Give the token, a new one where there is none or it has expired."""
        return self._valid() or await self._flights.run(None, self._renew)

    def put(self, token: Key, expires_at: float) -> None:
        """Keep a token."""
        self._token, self._expires_at = token, expires_at

    def drop(self, token: str) -> None:
        """Forget a token that was rejected; another one, which has come meanwhile, stays."""
        if self._token is not None and self._token.reveal() == token:
            self._token = None

    def _valid(self) -> Key | None:
        return self._token if monotonic() < self._expires_at else None

    async def _renew(self) -> Key:
        # Who was in line before may have been cancelled just after it had fetched one.
        token = self._valid()
        if token is None:
            token, expires_at = await self._fetch()
            self.put(token, expires_at)
        return token


class CachedToken:
    """A token provider with a cache: a token is fetched when there is none, when it is too old, or after a 401.

    Requests that need a token at the same time share one fetch. It may be given to several clients that live in one
    event loop.

    Args:
        fetch: An async function without arguments that gives a valid token, such as one that asks your own login server.
        lifetime: Seconds that a token is used for, from the moment the fetch began; `None` uses it until a request that
            is signed in with it is answered with 401. Choose it somewhat shorter than the token's own.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        ```python
        client = AsyncClient(CachedToken(fetch_jwt, lifetime=3000), team_id=team_id)
        ```

    Source: https://docs.cyberun.cloud/api-reference

    """

    def __init__(self, fetch: TokenProvider, *, lifetime: float | None = None) -> None:
        """Fetch nothing yet."""
        if not callable(fetch):
            raise ConfigurationError(f"fetch must be an async function, not {type(fetch).__name__}")
        if lifetime is not None:
            check_above_zero(lifetime, "lifetime", f"{SECONDS} or None")
        self._fetch = fetch
        self._lifetime = lifetime
        self._cache = TokenCache(self._fetch_one)

    def __repr__(self) -> str:
        """Show how long tokens are kept, and never a token."""
        return f"<{type(self).__name__} lifetime={self._lifetime}: {self._cache!r}>"

    async def __call__(self) -> str:
        """Give the token that is kept, or fetch one.

        Raises:
            ConfigurationError: `fetch` is not async, or gives no text.

        """
        return (await self._cache.get()).reveal()

    def invalidate(self, token: str) -> None:
        """Forget a token that the service has rejected, so that the next call fetches another; a client calls it after a 401."""
        self._cache.drop(token)

    async def _fetch_one(self) -> tuple[Key, float]:
        expires_at = inf if self._lifetime is None else monotonic() + self._lifetime
        given = self._fetch()
        if not isawaitable(given):
            raise ConfigurationError("the fetch of a CachedToken is a function that is not async: pass an async one")
        token = await given
        if not isinstance(token, str):
            raise ConfigurationError(f"the fetch of a CachedToken must give a string, not {type(token).__name__}")
        return Key(token), expires_at


CachedToken.__module__ = "cyberun_async"
