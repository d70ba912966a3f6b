"""The token that requests are signed in with: a key as it is, or what a provider gives. (auth, API key, JWT, refresh, 401)

**Why.** A provider may take as long as a call, so a hundred requests that need a token at once must not call it a hundred
times; and a provider that sends its own request with the same client would wait for itself for ever.

**How.** Requests that need a token while the provider is being called share that call (`SingleFlight`), its failure
included. When it has ended nothing is kept: caching is the provider's matter, and a 401 makes `Transport.fetch` ask once
more. Each call of a provider stands in a context variable for as long as it runs; a request whose context holds a running
call of the same `SignIn` is refused.

**Invariants.**

- A token is a `Key` from the moment that it is given: no frame, log or error shows it.
- A provider's failure is its own decision: it is final, and no request has been sent.
- The latest token is held here, so that its text is redacted until there is another: a server may quote it later.
- A task that a provider leaves behind inherits its context, and may send requests once the provider has ended.
"""

import inspect
from contextvars import ContextVar
from copy import copy

import anyio

from cyberun_async._errors import ConfigurationError, CyberunError, TokenError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.key_format import check_key
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Key, sealed
from cyberun_async._settings import TokenProvider
from cyberun_async._transport.error_mapping import describe
from cyberun_async._transport.single_flight import SingleFlight


class SignIn:
    """Gives the token of a request; requests that need one at the same time share one call of the provider.

    Args:
        token: The key, or the provider of tokens.
        within: Seconds that the provider may take.

    """

    def __init__(self, token: Key | TokenProvider, *, within: float) -> None:
        self._token = token
        self._latest: Key | None = None
        self._within = within
        self._flights = SingleFlight[None, Key]()

    def __repr__(self) -> str:
        """Show what there is to sign in with, and never the key."""
        return f"<{type(self).__name__} by {'a provider' if self.has_provider else 'a key'}>"

    @property
    def has_provider(self) -> bool:
        """Whether asking again may give another token."""
        return not isinstance(self._token, Key)

    async def token(self, call: Call[object], *, rejected: Key | None = None) -> Key:
        """Give the key, or ask the provider for a token.

        Args:
            call: What the token is for.
            rejected: The token that the call was answered with 401 for, which a provider with a cache has to forget.

        Raises:
            ConfigurationError: The provider is not async, gives what cannot be a token, or needs a token itself.
            TokenError: The provider failed with an error that is not ours, or took too long.

        """
        if isinstance(self._token, Key):
            return self._token
        if any(call.of is self and call.is_running for call in _calls_around.get()):
            # It would wait for itself.
            message = (
                "the token provider sends a request with the client that asks it for a token: give it another client"
            )
            raise ConfigurationError(message)
        provider = self._token
        try:
            if rejected is not None:
                await _invalidate(provider, rejected)
            return await self._flights.run(None, lambda: self._ask(provider))
        except TokenError as error:
            # It has none for now, and a wait outlives that. Others may be raising the same error.
            failure = copy(error)
            failure.task_id = call.task_id
            raise failure from error.__cause__
        except CyberunError as error:
            # Whatever its kind, it is the provider's decision, and not a failure of the request, which was not sent.
            error.is_final = True
            error.may_have_been_sent = False
            raise
        except Exception as error:
            raise TokenError(
                redact(describe(error)), method=call.method, path=call.path, task_id=call.task_id
            ) from error

    async def _ask(self, provider: TokenProvider) -> Key:
        call = _ProviderCall(self)
        before = _calls_around.set((*_calls_around.get(), call))
        try:
            given = provider()
            if not inspect.isawaitable(given):
                message = "api_key is a function that is not async: pass an async one, or the key itself"
                raise ConfigurationError(message)
            with anyio.fail_after(self._within):
                # Until there is another, it is in use: a storage may quote it, too.
                self._latest = check_key(sealed(await given))
            return self._latest
        finally:
            call.is_running = False
            _calls_around.reset(before)


async def _invalidate(provider: TokenProvider, rejected: Key) -> None:
    """Tell a provider that keeps tokens which one the service has rejected; others are just asked again."""
    invalidate = getattr(provider, "invalidate", None)
    if callable(invalidate):
        done = invalidate(rejected.reveal())
        if inspect.isawaitable(done):
            await done


class _ProviderCall:
    """One call of a provider; a task that the provider leaves behind inherits it, and finds that it has ended."""

    __slots__ = ("is_running", "of")

    def __init__(self, of: SignIn) -> None:
        self.of = of
        self.is_running = True


_calls_around: ContextVar[tuple[_ProviderCall, ...]] = ContextVar("calls_of_token_providers", default=())
"""The calls of providers that this code runs in, from the outermost to the innermost."""
