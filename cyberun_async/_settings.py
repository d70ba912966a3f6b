"""The settings of a client: frozen values, checked when they are made."""

import operator
import os
from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs

from cyberun_async._errors import ConfigurationError
from cyberun_async._extras import missing_extra
from cyberun_async._protocol.api_headers import ApiHeaders, check_headers, merge_headers, parse_headers
from cyberun_async._protocol.base_url import DEFAULT_BASE_URL, check_base_url
from cyberun_async._protocol.key_format import check_key, check_team, is_bound_to_team
from cyberun_async._protocol.secret import Key, sealed
from cyberun_async._validators import check_above_zero, check_count, check_not_negative

if TYPE_CHECKING:
    from cyberun_async._observing import Instrumentation, Observer

TokenProvider = Callable[[], Awaitable[str]]
"""An async callable that gives a valid JWT each time it is asked; requests that wait at the same time share one call.

One that keeps tokens has a method `invalidate(token)`, too, which is called with a token that the service has rejected with
401, before the provider is asked again: `CachedToken` and `RefreshingToken` have it.
"""


def _number(check: Callable[[object, str], None], default: float) -> Any:
    """Make a field that is named with its class where it is wrong, as in `Timeouts.read`."""

    def validate(owner: object, field: "attrs.Attribute[Any]", value: object) -> None:
        check(value, f"{type(owner).__name__}.{field.name}")

    return attrs.field(default=default, validator=validate)


def _check_kind(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    kind: type[attrs.AttrsInstance] = type(field.default)  # type: ignore[assignment]
    if not isinstance(value, kind):
        example = f"{kind.__name__}({attrs.fields(kind)[0].name}=...)"
        message = f"{field.name} must be {kind.__name__}, such as {example}, not {value!r}"
        raise ConfigurationError(message)


def _as_written(self: "attrs.AttrsInstance") -> str:
    """Show what differs from the defaults: these values stand in signatures, which editors and `help()` show."""
    given = [
        f"{field.name}={value!r}"
        for field in attrs.fields(type(self))
        if (value := getattr(self, field.name)) != field.default
    ]
    return f"{type(self).__name__}({', '.join(given)})"


@attrs.frozen
class Timeouts:
    """How long single steps of a request may take, in seconds.

    They limit one attempt; `timeout=` of a wait limits all of it.

    Attributes:
        connect: Until a connection is made.
        read: Until the next bytes of a response.
        write: Until the next bytes of a request are taken.
        call: One attempt of a call, from its first byte to its last.
        stream: Without a single byte on an event stream, until it counts as dead.
        cleanup: For what must still happen when a caller leaves: closing, a remote cancel.

    """

    connect: float = _number(check_above_zero, 10.0)
    read: float = _number(check_above_zero, 30.0)
    write: float = _number(check_above_zero, 30.0)
    call: float = _number(check_above_zero, 60.0)
    stream: float = _number(check_above_zero, 300.0)
    cleanup: float = _number(check_above_zero, 5.0)

    __repr__ = _as_written


@attrs.frozen
class Retries:
    """How calls are retried after a failure that a retry may cure.

    Only calls that are safe to send twice are retried freely. Submitting is retried only where the
    request cannot have arrived, or where the server said 429.

    Attributes:
        budget: Seconds from the first failure of a call within which it may be retried, not counting those that
            the server asks for; 0 retries nothing. The transfer of a file counts anew whenever it gets further than
            before, and its first failure is always retried.
        initial: Upper bound of the first delay, in seconds; each further one doubles it.
        maximum: Upper bound of any delay of our own choice, in seconds.
        retry_after: The longest `Retry-After` that is waited for, in seconds; a longer one is an error.

    """

    budget: float = _number(check_not_negative, 30.0)
    initial: float = _number(check_above_zero, 0.5)
    maximum: float = _number(check_above_zero, 8.0)
    retry_after: float = _number(check_not_negative, 60.0)

    __repr__ = _as_written


@attrs.frozen
class Polling:
    """How a task is polled while it is waited for.

    Attributes:
        interval: Seconds between two polls, with up to a fifth of jitter; 3 is the documented default
            (https://docs.cyberun.cloud/api-reference/streaming-events).
        interval_while_streaming: Seconds between two polls while events arrive on the stream.
        unavailable_timeout: Seconds after which a wait gives up with the last failure where its polls, or its requests for the
            result, keep failing; each of the two counts by itself, and time in which the process stood still does not.

    """

    interval: float = _number(check_above_zero, 3.0)
    interval_while_streaming: float = _number(check_above_zero, 15.0)
    unavailable_timeout: float = _number(check_above_zero, 300.0)

    __repr__ = _as_written


@attrs.frozen
class Limits:
    """How much a client uses at once, and how much it takes in.

    Attributes:
        max_connections: Calls in flight at once; more wait for a slot.
        max_streams: Event streams open at once; a wait beyond them polls. 0 opens none.
        max_transfers: Uploads and downloads at once.
        max_response_bytes: Bytes of one response's body.
        max_event_bytes: Bytes of one event.

    """

    max_connections: int = _number(check_count, 64)
    max_streams: int = _number(partial(check_count, minimum=0), 100)
    max_transfers: int = _number(check_count, 8)
    max_response_bytes: int = _number(check_count, 16 * 1024 * 1024)
    max_event_bytes: int = _number(check_count, 1024 * 1024)

    __repr__ = _as_written


class ProviderIdentity:
    """A provider of tokens as a key of a mapping: the same one only, since those that compare equal may give other tokens."""

    def __init__(self, provider: object) -> None:
        # A bound method is made anew each time that it is looked up. All are held, so that no other gets their ids.
        self._parts = (getattr(provider, "__self__", provider), getattr(provider, "__func__", None))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProviderIdentity) and all(map(operator.is_, self._parts, other._parts))

    def __hash__(self) -> int:
        return hash(tuple(map(id, self._parts)))


@attrs.frozen(eq=False)
class Settings:
    """All settings of a client, resolved and validated.

    Attributes:
        base_url: Without a slash at the end.
        token: The key, or the provider of tokens; never shown.
        team_id: Set only where it must be sent.
        http2: Whether calls may be sent by HTTP/2.
        instrumentation: Reports to the observer, if there is one.
        headers: Sent with each request to the API, and with none to the storage.

    """

    base_url: str
    token: Key | TokenProvider = attrs.field(repr=False)
    team_id: str | None = None
    timeouts: Timeouts = attrs.field(default=Timeouts(), validator=_check_kind)
    retries: Retries = attrs.field(default=Retries(), validator=_check_kind)
    polling: Polling = attrs.field(default=Polling(), validator=_check_kind)
    limits: Limits = attrs.field(default=Limits(), validator=_check_kind)
    http2: bool = False
    instrumentation: "Instrumentation | None" = None
    headers: ApiHeaders = ()

    @property
    def credential(self) -> Hashable:
        """What tells one user or key from another, for what the service knows of each by itself, such as its rate limit."""
        token = self.token if isinstance(self.token, Key) else ProviderIdentity(self.token)
        return token, self.team_id, self.headers

    @property
    def options(self) -> Hashable:
        """All that a view of a client can have of its own."""
        return self.credential, self.timeouts, self.retries, self.polling

    def with_options(self, api_key: object, *, team_id: str | None, headers: object, **values: Any) -> "Settings":
        """Give the settings of a view: these, but for what is given; `None` keeps what there is.

        Args:
            api_key: What `sealed()` gives for it.
            team_id: For the key; that of these settings is not taken over for another one.
            headers: What `seal_headers()` gives for those that are added.
            values: Others, by name.

        Raises:
            ConfigurationError: One of them cannot work.

        """
        changes = {name: value for name, value in values.items() if value is not None}
        token = self.token
        if api_key is not None:
            changes["token"] = token = api_key if callable(api_key) else check_key(api_key)
        if api_key is not None or team_id is not None:
            key = token if isinstance(token, Key) else None
            if team_id is None and (key is None or not is_bound_to_team(key)):
                message = "another user's token (JWT) needs a team of its own, since the client's is not taken over: pass team_id"
                raise ConfigurationError(message)
            changes["team_id"] = check_team(key, team_id)
        return attrs.evolve(self, headers=merge_headers(self.headers, check_headers(headers)), **changes)

    @classmethod
    def resolve(
        cls,
        api_key: object,
        *,
        team_id: str | None,
        base_url: str | None,
        http2: bool,
        http_client: object,
        observer: "Observer | None",
        headers: object,
        allow_insecure_http: bool,
        **values: Any,
    ) -> "Settings":
        """Fill in from the environment what was not given, and check how the options go together.

        Args:
            api_key: What `sealed()` gives for it: a traceback with local variables would show another.
            headers: Likewise, what `seal_headers()` gives.
            values: Those that are kept as they are given.

        Raises:
            ConfigurationError: One of them cannot work.

        """
        token = api_key if callable(api_key) else _find_key(api_key)
        team = team_id if team_id is not None else from_environment("CYBERUN_TEAM_ID")
        url = base_url if base_url is not None else from_environment("CYBERUN_BASE_URL") or DEFAULT_BASE_URL
        return cls(
            base_url=check_base_url(url, allow_insecure_http=allow_insecure_http),
            token=token,
            team_id=check_team(token if isinstance(token, Key) else None, team),
            http2=_check_http2(http2=http2, http_client=http_client),
            instrumentation=_instrumentation_of(observer),
            headers=find_headers(headers),
            **values,
        )


def from_environment(*names: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Give the value of the first of the variables that is set and not blank."""
    values = (environment.get(name, "").strip() for name in names)
    return next((value for value in values if value), None)


def _instrumentation_of(observer: "Observer | None") -> "Instrumentation | None":
    if observer is None:
        return None
    from cyberun_async._observing import Instrumentation

    return Instrumentation.of(observer)


def find_headers(headers: object = None) -> ApiHeaders:
    """Give the headers for a gateway: what `seal_headers()` gives, or those of the environment.

    Raises:
        ConfigurationError: One of them cannot be sent.

    """
    lines = sealed(from_environment("CYBERUN_HEADERS"))
    return check_headers(parse_headers(lines) if headers is None and isinstance(lines, Key) else headers)


def _find_key(api_key: object) -> Key:
    key = api_key if api_key is not None else sealed(from_environment("CYBERUN_API_KEY", "CYBERUN_KEY"))
    if key is None:
        message = "there is no API key: set CYBERUN_API_KEY or pass api_key; keys are made on the Access page of Cyberun Cloud"
        raise ConfigurationError(message)
    return check_key(key)


def _check_http2(*, http2: bool, http_client: object) -> bool:
    if http2 and http_client is not None:
        message = "http2 is for the client's own connections: set it on your http_client instead"
        raise ConfigurationError(message)
    if http2 and find_spec("h2") is None:
        raise ConfigurationError(missing_extra("http2", "http2"))
    return http2
