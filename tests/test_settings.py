"""Settings: frozen values, checked when they are made, with messages that say what to do."""

from __future__ import annotations

import attrs
import pytest
from support.tables import table

from cyberun_async import AsyncClient, ConfigurationError, Limits, Polling, Retries, Timeouts
from cyberun_async._protocol.base_url import DEFAULT_BASE_URL, check_base_url, is_loopback
from cyberun_async._settings import Settings, from_environment

KINDS = [Timeouts, Retries, Polling, Limits]
WHOLE = {field.name for field in attrs.fields(Limits)}
ZERO_IS_FINE = {"budget", "retry_after", "max_streams"}

FIELDS = [
    pytest.param(kind, field.name, id=f"{kind.__name__}.{field.name}") for kind in KINDS for field in attrs.fields(kind)
]


@table(("kind", "name"), FIELDS)
@table("value", [-1, float("nan"), "5", None, True, [1]], ids=repr)
def test_values_that_cannot_work(kind: type, name: str, value: object) -> None:
    """Each number is checked, and named where it is wrong."""
    with pytest.raises(ConfigurationError, match=f"{kind.__name__}.{name} must be .*, not "):
        kind(**{name: value})


@table(("kind", "name"), FIELDS)
def test_zero(kind: type, name: str) -> None:
    """Zero is a value where nothing may be wanted, and nowhere else."""
    if name in ZERO_IS_FINE:
        assert getattr(kind(**{name: 0}), name) == 0
    else:
        with pytest.raises(ConfigurationError, match="above zero"):
            kind(**{name: 0})


@table(("kind", "name"), FIELDS)
def test_fractions(kind: type, name: str) -> None:
    """Seconds may be fractions, and numbers of things may not."""
    if name in WHOLE:
        with pytest.raises(ConfigurationError, match=r"must be a whole number .*, not 1\.5"):
            kind(**{name: 1.5})
    else:
        assert getattr(kind(**{name: 1.5}), name) == 1.5


@table("kind", KINDS)
def test_frozen(kind: type) -> None:
    """Settings are values: equal when they say the same, and never changed."""
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(kind(), attrs.fields(kind)[0].name, 1)


def test_key_is_not_shown() -> None:
    """Nor do they show the key."""
    assert "sk-secret" not in repr(Settings(base_url="https://x", token="sk-secret"))


@table(
    ("given", "taken"),
    [
        ("https://cyberun.test/api/v1", "https://cyberun.test/api/v1"),
        ("https://cyberun.test/api/v1/", "https://cyberun.test/api/v1"),
        ("https://cyberun.test//", "https://cyberun.test"),
        ("https://cyberun.test:8443", "https://cyberun.test:8443"),
        ("https://10.0.0.1/x", "https://10.0.0.1/x"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("HTTPS://Cyberun.Test", "HTTPS://Cyberun.Test"),
        ("http://localhost:8080/api/v1", "http://localhost:8080/api/v1"),
        ("http://app.localhost", "http://app.localhost"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_base_url(given: str, taken: str) -> None:
    """A base URL is taken without the slash at its end."""
    assert check_base_url(given, allow_insecure_http=False) == taken


@table(
    ("url", "words"),
    [
        pytest.param("", "needs a scheme: write https://host/api/v1", id="empty"),
        pytest.param("core.cyberun.cloud/api/v1", "needs a scheme", id="no scheme"),
        pytest.param("localhost:8080", "needs a scheme", id="no scheme but a port"),
        pytest.param("//core.cyberun.cloud", "needs a scheme", id="half a scheme"),
        pytest.param("ftp://core.cyberun.cloud", "needs a scheme", id="another scheme"),
        pytest.param("https://", "needs a host", id="no host"),
        pytest.param("https:///api/v1", "needs a host", id="only a path"),
        pytest.param("https://:8080", "needs a host", id="only a port"),
        pytest.param("https://host:port", "is not a URL", id="no number"),
        pytest.param("https://host:99999", "is not a URL", id="no port"),
        pytest.param("https://[::1", "is not a URL", id="half a bracket"),
        pytest.param("https://user:secret@host", "must not carry a user or password", id="user and password"),
        pytest.param("https://secret@host", "must not carry a user or password", id="user"),
        pytest.param("https://host/api?key=secret", "must not carry a query", id="query"),
        pytest.param("https://host/api?", "must not carry a query", id="empty query"),
        pytest.param("https://host/api#secret", "must not carry a query or a fragment", id="fragment"),
        pytest.param("https://host/a b", "white space or control", id="space"),
        pytest.param("https://host/api\n", "white space or control", id="line break"),
        pytest.param("https://host/\x00", "white space or control", id="NUL"),
        pytest.param("http://core.cyberun.cloud/api/v1", "not loopback.*allow_insecure_http=True", id="in the clear"),
        pytest.param("http://localhost.evil.test", "not loopback", id="like localhost"),
        pytest.param("http://127.0.0.1.evil.test", "not loopback", id="like 127.0.0.1"),
        pytest.param("http://0.0.0.0:80", "not loopback", id="every address"),
        pytest.param(42, "must be a string, not int", id="number"),
        pytest.param(b"https://host", "must be a string, not bytes", id="bytes"),
    ],
)
def test_bad_base_url(url: str, words: str) -> None:
    """A base URL that cannot work, or would show the key, is refused with what to do; no secret is repeated."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        AsyncClient("sk-abc", base_url=url)
    assert "secret" not in str(caught.value)


def test_insecure_on_purpose() -> None:
    """Who asks for it may send the key in the clear."""
    assert (
        AsyncClient("sk-abc", base_url="http://host", allow_insecure_http=True)._core.settings.base_url == "http://host"
    )


@pytest.mark.parametrize(
    ("environment", "argument", "url"),
    [
        pytest.param({}, None, DEFAULT_BASE_URL, id="the service"),
        pytest.param({"CYBERUN_BASE_URL": "https://env.test"}, None, "https://env.test", id="environment"),
        pytest.param({"CYBERUN_BASE_URL": " "}, None, DEFAULT_BASE_URL, id="blank"),
        pytest.param({"CYBERUN_BASE_URL": "nonsense"}, "https://arg.test", "https://arg.test", id="argument"),
    ],
)
def test_where_it_comes_from(
    environment: dict[str, str], argument: str | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The argument comes before the environment, and that before the service itself."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert AsyncClient("sk-abc", base_url=argument)._core.settings.base_url == url


@table(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("", False), ("host", False), ("10.0.0.1", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    """This machine is known by its names and addresses, without asking anybody."""
    assert is_loopback(host) == expected


def test_environment() -> None:
    """The first variable that says something counts."""
    assert from_environment("A", "B", environment={"A": " ", "B": " x "}) == "x"
    assert from_environment("A", environment={}) is None
