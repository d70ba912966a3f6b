"""Signing in: what each kind of key may do, said before anything is sent, and seen from the server's side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import anyio
import httpx
import pytest
from support.tables import table

from cyberun_async import AsyncClient, AuthenticationError, BadRequestError, ConfigurationError, TokenError
from cyberun_async._protocol.key_format import check_key, check_team, is_bound_to_team
from cyberun_async._protocol.secret import Key, sealed
from cyberun_async.local import LocalCyberun

JWT = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"
TEAM = "8d7f0c1e-6f1f-4d0b-9a52-1f6f3a1d2c3b"


@table("key", ["sk-abc", "dk-abc", JWT, "anything-else", "sk-~!@#$%^&*()_+", "SK-abc"])
def test_good_keys(key: str) -> None:
    """A key that a header can carry is taken as it is."""
    assert check_key(sealed(key)).reveal() == key


@table(
    ("key", "words"),
    [
        pytest.param("", "the API key is empty: set CYBERUN_API_KEY", id="empty"),
        pytest.param(" ", "white space", id="blank"),
        pytest.param("sk-secret key", "white space", id="space inside"),
        pytest.param("sk-secret\n", "white space", id="line break at the end"),
        pytest.param("\tsk-secret", "white space", id="tab at the beginning"),
        pytest.param("sk-secret\r\nX-Evil: 1", "white space", id="another header"),
        pytest.param("sk-secret\x00", "control", id="NUL"),
        pytest.param("sk-secret\x7f", "control", id="DEL"),
        pytest.param("sk-secret\u00a0", "non-ASCII", id="no-break space"),
        pytest.param("sk-secrét", "non-ASCII", id="accent"),
        pytest.param("sk-secret\u200b", "non-ASCII", id="zero-width space"),
        pytest.param("ak-secret", "an ak- key signs agents in at the gateway.* make an sk- key", id="agent key"),
        pytest.param(None, "must be a string, not NoneType", id="nothing"),
        pytest.param(b"sk-secret", "must be a string, not bytes", id="bytes"),
        pytest.param(42, "must be a string, not int", id="number"),
    ],
)
def test_bad_keys(key: str, words: str) -> None:
    """A key that cannot work is refused with what to do, and never repeated in the message."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        check_key(sealed(key))
    assert "secret" not in str(caught.value)


@table(
    ("key", "team_id", "sent"),
    [
        pytest.param("sk-abc", None, None, id="sk- without a team"),
        pytest.param("sk-abc", TEAM, None, id="sk- with a team"),
        pytest.param("sk-abc", "no team\n", None, id="sk- with nonsense"),
        pytest.param("dk-abc", TEAM, None, id="dk- with a team"),
        pytest.param(JWT, TEAM, TEAM, id="JWT with a team"),
        pytest.param(None, TEAM, TEAM, id="provider with a team"),
    ],
)
def test_team(key: str | None, team_id: str | None, sent: str | None) -> None:
    """A key of a team never names one; a user's token does."""
    assert check_team(None if key is None else Key(key), team_id) == sent


@table("key", [JWT, None], ids=["JWT", "provider"])
@table(
    ("team_id", "words"),
    [
        pytest.param(None, "needs a team: pass team_id or set CYBERUN_TEAM_ID", id="none"),
        pytest.param("", "needs a team", id="empty"),
        pytest.param("a b", "white space", id="space inside"),
        pytest.param(f"{TEAM}\n", "white space", id="line break"),
        pytest.param("équipe", "non-ASCII", id="accent"),
        pytest.param(42, "must be a string, not int", id="number"),
    ],
)
def test_bad_team(key: str | None, team_id: str, words: str) -> None:
    """A user's token without a usable team is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        check_team(None if key is None else Key(key), team_id)


@table(
    ("key", "is_bound"), [("sk-a", True), ("dk-a", True), (JWT, False), ("xk-a", False), ("sk", False), ("SK-a", False)]
)
def test_bound(key: str, is_bound: bool) -> None:
    """The two families of keys that belong to a team are known by their beginning."""
    assert is_bound_to_team(Key(key)) == is_bound


@pytest.mark.parametrize(
    ("environment", "argument", "key"),
    [
        pytest.param({"CYBERUN_API_KEY": "sk-1", "CYBERUN_KEY": "sk-2"}, "sk-0", "sk-0", id="argument first"),
        pytest.param({"CYBERUN_API_KEY": "sk-1", "CYBERUN_KEY": "sk-2"}, None, "sk-1", id="then CYBERUN_API_KEY"),
        pytest.param({"CYBERUN_KEY": "sk-2"}, None, "sk-2", id="then CYBERUN_KEY"),
        pytest.param({"CYBERUN_API_KEY": " ", "CYBERUN_KEY": "sk-2"}, None, "sk-2", id="a blank one is none"),
        pytest.param({"CYBERUN_API_KEY": "", "CYBERUN_KEY": "sk-2"}, None, "sk-2", id="an empty one is none"),
        pytest.param({"CYBERUN_API_KEY": " sk-1\n"}, None, "sk-1", id="white space around one is no part of it"),
    ],
)
def test_where_the_key_comes_from(
    environment: dict[str, str], argument: str | None, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The argument comes before the environment, and that in the documented order."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert AsyncClient(argument)._core.settings.token == Key(key)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({}, "there is no API key: set CYBERUN_API_KEY or pass api_key", id="nothing"),
        pytest.param({"CYBERUN_API_KEY": "  "}, "there is no API key", id="blank"),
        pytest.param({"CYBERUN_API_KEY": "ak-1"}, "an ak- key", id="agent key"),
        pytest.param({"CYBERUN_API_KEY": JWT}, "needs a team", id="JWT without a team"),
    ],
)
def test_environment_that_cannot_work(environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment lacks is said when the client is made."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=words):
        AsyncClient()


@pytest.mark.parametrize(
    ("argument", "expected"), [(TEAM, TEAM), (None, "from-the-environment")], ids=["argument", "environment"]
)
def test_where_the_team_comes_from(argument: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So with the team."""
    monkeypatch.setenv("CYBERUN_TEAM_ID", "from-the-environment")
    assert AsyncClient(JWT, team_id=argument)._core.settings.team_id == expected


# From the server's side


@pytest.fixture(scope="module")
def server() -> Iterator[LocalCyberun]:
    """Run one local Cyberun for this module."""
    with LocalCyberun() as local:
        yield local


def teams_seen(server: LocalCyberun, since: int) -> list[str | None]:
    return [exchange.headers.get("x-team-id") for exchange in server.requests[since:]]


@pytest.mark.parametrize(
    ("key_of", "team_is_sent"),
    [
        pytest.param(lambda server: server.api_key, False, id="sk-"),
        pytest.param(lambda server: server.device_key, False, id="dk-"),
        pytest.param(lambda server: server.jwt, True, id="JWT"),
    ],
)
async def test_signed_in(server: LocalCyberun, key_of: Callable[[LocalCyberun], str], team_is_sent: bool) -> None:
    """Each kind of key gets in, and only a user's token says which team it is for."""
    since = len(server.requests)
    async with AsyncClient(key_of(server), team_id=server.team_id, base_url=server.base_url) as client:
        await client.workflows.get("text-to-image")
    assert teams_seen(server, since) == [server.team_id if team_is_sent else None]


async def test_wrong_team(server: LocalCyberun) -> None:
    """A team that is none is the server's to refuse."""
    async with AsyncClient(server.jwt, team_id="not-a-uuid", base_url=server.base_url) as client:
        with pytest.raises(BadRequestError, match="X-Team-ID"):
            await client.workflows.get("text-to-image")


async def test_revoked(server: LocalCyberun) -> None:
    """A key that the server does not know is asked about once: repeating would not help."""
    since = len(server.requests)
    async with AsyncClient("sk-unknown", base_url=server.base_url) as client:
        with pytest.raises(AuthenticationError):
            await client.workflows.get("text-to-image")
    assert len(server.requests) - since == 1


# Providers of tokens


class Provider:
    """Gives one token after the other, and counts."""

    def __init__(self, *tokens: object) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]  # type: ignore[return-value]


def client_of(server: LocalCyberun, provider: Callable[[], Awaitable[str]]) -> AsyncClient:
    return AsyncClient(provider, team_id=server.team_id, base_url=server.base_url)


async def test_provider_is_asked_for_each_request(server: LocalCyberun) -> None:
    """A provider is asked for each request."""
    provider = Provider(server.jwt)
    async with client_of(server, provider) as client:
        for _ in range(3):
            await client.workflows.get("text-to-image")
    assert provider.asked == 3


async def test_provider_is_asked_again(server: LocalCyberun) -> None:
    """An expired token is replaced by a fresh one in the same call, submissions included."""
    expired = server.issue_jwt(-1)
    provider = Provider(expired, server.jwt)
    async with client_of(server, provider) as client:
        await client.workflows.get("text-to-image")
    provider.tokens = [expired, server.jwt]
    async with client_of(server, provider) as client:
        assert await client.submit("text-to-image", {"prompt": "a lighthouse"}, validate=False)
    assert provider.asked == 4


async def test_provider_is_asked_no_third_time(server: LocalCyberun) -> None:
    """A second 401 stands."""
    provider = Provider(server.issue_jwt(-1))
    async with client_of(server, provider) as client:
        with pytest.raises(AuthenticationError, match="expired"):
            await client.workflows.get("text-to-image")
    assert provider.asked == 2


async def test_token_that_expires_during_a_wait(server: LocalCyberun) -> None:
    """A wait goes on when the token expires in the middle of it."""
    first, second = server.issue_jwt(3600), server.issue_jwt(7200)
    given = [first]

    async def newest() -> str:
        return given[-1]

    def expire(event: object) -> None:
        server.revoke(first)
        given.append(second)

    async with client_of(server, newest) as client:
        result = await client.run(
            "text-to-image", {"prompt": "a lighthouse", "width": 64, "height": 64}, on_event=expire
        )
    assert result.files
    assert given[-1] == second


async def test_provider_of_a_key(server: LocalCyberun) -> None:
    """A provider may give a key of a team; then no team is named."""
    since = len(server.requests)
    async with client_of(server, Provider(server.api_key)) as client:
        await client.workflows.get("text-to-image")
    assert teams_seen(server, since) == [None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param(None, "must be a string, not NoneType", id="nothing"),
        pytest.param("eyJ a", "white space", id="white space"),
        pytest.param("ak-1", "an ak- key", id="agent key"),
    ],
)
async def test_provider_of_nonsense(server: LocalCyberun, given: object, words: str) -> None:
    """What a provider gives is looked at as a key is."""
    since = len(server.requests)
    async with client_of(server, Provider(given)) as client:
        with pytest.raises(ConfigurationError, match=words):
            await client.workflows.get("text-to-image")
    assert len(server.requests) == since


async def test_provider_that_fails(server: LocalCyberun) -> None:
    """What a provider raises is the cause of a `TokenError`."""

    async def fail() -> str:
        raise LookupError("no session")

    async with client_of(server, fail) as client:
        with pytest.raises(TokenError, match="no session") as caught:
            await client.workflows.get("text-to-image")
    assert isinstance(caught.value.__cause__, LookupError)


async def test_provider_that_is_not_async() -> None:
    """A function that is not async is told apart from one that is."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(500)))
    client = AsyncClient(lambda: JWT, team_id=TEAM, http_client=http)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match="api_key is a function that is not async"):
        await client.workflows.get("text-to-image")
