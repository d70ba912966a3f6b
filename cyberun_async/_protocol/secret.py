"""Keys, tokens and presigned URLs on their way to the one place that needs their text. (redact, credentials, pickle)"""

from typing import Generic, NoReturn, TypeVar
from urllib.parse import unquote_plus
from weakref import WeakValueDictionary

from cyberun_async._errors import ConfigurationError

T = TypeVar("T")

SHORTEST_HIDDEN = 8
"""Characters of a key from which on it is redacted in all texts; a shorter one may be a part of any word."""


SHORTEST_SIGNATURE = 20
"""Characters from which on a part of a presigned URL is taken for a signature."""


class Secret(Generic[T]):
    """A value that no `repr`, `str`, format or pickle shows, so that a traceback with local variables does not either.

    `reveal()` belongs into the expression that needs the value: in a local variable it would be shown.

    Attributes:
        forms: The ways in which servers quote it, once a text was searched for them: with the keys of a thousand users in
            use, making them anew for each text would cost more than the search.

    """

    __slots__ = ("__weakref__", "_value", "forms")

    def __init__(self, value: T) -> None:
        """Keep the value."""
        self._value = value
        self.forms: frozenset[str] | None = None

    def reveal(self) -> T:
        """Give the value."""
        return self._value

    def __repr__(self) -> str:
        """Show that there is something."""
        return "<hidden>"

    def __format__(self, spec: str) -> str:
        """Show as little in every form."""
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        """Whether the other one hides the same value."""
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        """Hash the value."""
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        message = "a key is not pickled or copied: read it from the environment where it is needed"
        raise ConfigurationError(message)


class Key(Secret[str]):
    """A key or token. While it is in use, `redact` cuts its text out of log lines and messages."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Have it redacted from now on, for as long as it is in use."""
        super().__init__(text)
        if len(text) >= SHORTEST_HIDDEN:
            _in_use[id(self)] = self

    def startswith(self, prefixes: tuple[str, ...]) -> bool:
        """Whether it is of one of these families."""
        return self._value.startswith(prefixes)


NO_KEY = Key("")
"""Signs nothing in: for the few calls that are about getting a key."""

_in_use: WeakValueDictionary[int, Secret[str]] = WeakValueDictionary()


def secrets_in_use() -> list[Secret[str]]:
    """Give every key that a client or a request of this process holds, and what transfers have had hidden."""
    # One step of the interpreter: another thread may make a client meanwhile.
    alive = [reference() for reference in _in_use.valuerefs()]
    return [secret for secret in alive if secret is not None]


def sealed(value: object) -> object:
    """Give text as a `Key`, and anything else as it is."""
    return Key(value) if isinstance(value, str) else value


def secrets_of_url(url: Secret[str]) -> tuple[Secret[str], ...]:
    """Give every part of a presigned URL that a message must not repeat, however a server quotes it."""
    text = url.reveal()
    query = text.partition("#")[0].partition("?")[2]
    values = [pair.partition("=")[2] for pair in query.replace(";", "&").split("&")]
    plain = [unquote_plus(value) for value in values]
    # Padding is what a text loses first.
    bare = [value.rstrip("=") for value in plain]
    # The longest first, so that none leaves a rest of another.
    parts = sorted({text, query, *values, *plain, *bare, *_user_info(text)}, key=len, reverse=True)
    return tuple(Secret(part) for part in parts if len(part) >= SHORTEST_HIDDEN)


def _user_info(url: str) -> tuple[str, ...]:
    authority = url.partition("://")[2].partition("/")[0]
    user, _, password = authority.rpartition("@")[0].partition(":")
    return user, password


class Link(Secret[str]):
    """A presigned URL. While it is in use, `redact` cuts its signature out of log lines and messages."""

    __slots__ = ("_hidden",)

    def __init__(self, url: Secret[str]) -> None:
        """Have its longer parts redacted: a media type in its query, say, is no secret anywhere else."""
        super().__init__(url.reveal())
        self._hidden = tuple(part for part in secrets_of_url(url) if len(part.reveal()) >= SHORTEST_SIGNATURE)
        _in_use.update((id(part), part) for part in self._hidden)
