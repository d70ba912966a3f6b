"""Token providers with a cache: fetched once for all, again when too old, and again after a 401."""

from __future__ import annotations

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup
from support.tables import table

from cyberun_async import AsyncClient, AuthenticationError, CachedToken, ConfigurationError, TokenError
from cyberun_async._transport import cached_token

TEAM = "019abc12-4567-7890-abcd-ef1234567891"
TASK = {"id": "t-1", "task_status": "running"}


class Service:
    """Gives tokens, accepts some of them, and counts."""

    def __init__(self) -> None:
        self.fetched = 0
        self.accepted = {"eyJ.a.1"}
        self.seen: list[str] = []

    async def fetch(self) -> str:
        self.fetched += 1
        return f"eyJ.a.{self.fetched}"

    def respond(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.seen.append(token)
        return httpx.Response(200 if token in self.accepted else 401, json=TASK)

    def client(self, provider: object) -> AsyncClient:
        http_client = httpx.AsyncClient(transport=httpx.MockTransport(self.respond))
        return AsyncClient(provider, team_id=TEAM, base_url="http://localhost", http_client=http_client)  # type: ignore[arg-type]


async def test_kept() -> None:
    """Calls after one another use one token."""
    service = Service()
    async with service.client(CachedToken(service.fetch)) as client:
        for _ in range(3):
            await client.tasks.get("t-1")
    assert (service.fetched, service.seen) == (1, ["eyJ.a.1"] * 3)


async def test_rejected() -> None:
    """After a 401 another one is fetched, and the call is sent again with it."""
    service = Service()
    async with service.client(CachedToken(service.fetch)) as client:
        await client.tasks.get("t-1")
        service.accepted = {"eyJ.a.2"}
        await client.tasks.get("t-1")
        await client.tasks.get("t-1")
    assert service.seen == ["eyJ.a.1", "eyJ.a.1", "eyJ.a.2", "eyJ.a.2"]


async def test_rejected_for_many() -> None:
    """A hundred calls that are rejected together fetch one token."""
    service = Service()
    service.accepted = {"eyJ.a.2"}
    client = service.client(CachedToken(service.fetch))
    async with client, anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(client.tasks.get, "t-1")
    assert service.fetched == 2


async def test_rejected_for_good() -> None:
    """A service that accepts no token is asked twice for each call, and not for ever."""
    service = Service()
    service.accepted = set()
    async with service.client(CachedToken(service.fetch)) as client:
        with pytest.raises(AuthenticationError):
            await client.tasks.get("t-1")
    assert service.seen == ["eyJ.a.1", "eyJ.a.2"]


async def test_stream() -> None:
    """An event stream that is rejected has it fetched anew, too."""
    service = Service()
    service.accepted = set()
    async with service.client(CachedToken(service.fetch)) as client:
        with pytest.raises(AuthenticationError):
            await client.wait_for_result("t-1")
    assert len(set(service.seen)) > 1


async def test_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is as old as its lifetime is not used any more; its age counts from the beginning of the fetch."""
    now = 100.0
    monkeypatch.setattr(cached_token, "monotonic", lambda: now)
    service = Service()

    async def slow() -> str:
        nonlocal now
        now += 4
        return await service.fetch()

    provider = CachedToken(slow, lifetime=10)
    first = await provider()
    now = 109.9
    assert await provider() == first
    now = 110.0
    assert await provider() == "eyJ.a.2"


async def test_only_the_rejected_one() -> None:
    """A token that came while the rejected one was on its way back stays."""
    service = Service()
    provider = CachedToken(service.fetch)
    first = await provider()
    provider.invalidate(first)
    second = await provider()
    provider.invalidate(first)
    assert await provider() == second


async def test_handed_over() -> None:
    """Where the call that fetches is cancelled, the next in line fetches in its place; one that came meanwhile is used."""
    asked = 0
    go_on = anyio.Event()

    async def fetch() -> str:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return f"eyJ.a.{asked}"

    provider = CachedToken(fetch)
    got: list[str] = []

    async def get(group: TaskGroup, scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await provider())

    first = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        for scope in (first, anyio.CancelScope(), anyio.CancelScope()):
            group.start_soon(get, group, scope)
            await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert (asked, got) == (2, ["eyJ.a.2"] * 2)


async def test_failure() -> None:
    """What the fetch fails with is a `TokenError` of the call, and the next call fetches again."""
    service = Service()

    async def fetch() -> str:
        if not service.fetched:
            service.fetched += 1
            raise OSError("no route")
        return "eyJ.a.1"

    async with service.client(CachedToken(fetch)) as client:
        with pytest.raises(TokenError, match="OSError: no route"):
            await client.tasks.get("t-1")
        await client.tasks.get("t-1")


class Own:
    """A provider of a user's own that keeps tokens, whose `invalidate` is a coroutine function or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.rejected: list[str] = []
        self.fails = fails

    async def __call__(self) -> str:
        return f"eyJ.a.{1 + len(self.rejected)}"

    async def invalidate(self, token: str) -> None:
        self.rejected.append(token)
        if self.fails:
            raise OSError("the disk is full")


async def test_a_provider_of_ones_own() -> None:
    """Any provider with an `invalidate` learns which token was rejected."""
    service, own = Service(), Own()
    service.accepted = {"eyJ.a.2"}
    async with service.client(own) as client:
        await client.tasks.get("t-1")
    assert own.rejected == ["eyJ.a.1"]


async def test_a_provider_that_cannot_forget() -> None:
    """What its `invalidate` fails with is a `TokenError`."""
    service = Service()
    service.accepted = {"eyJ.a.2"}
    async with service.client(Own(fails=True)) as client:
        with pytest.raises(TokenError, match="the disk is full"):
            await client.tasks.get("t-1")


@table(
    ("fetch", "lifetime", "words"),
    [
        pytest.param("eyJ.a.b", None, "must be an async function, not str", id="a token"),
        pytest.param(Service().fetch, 0, "above zero or None, not 0", id="no lifetime"),
        pytest.param(Service().fetch, True, "above zero or None, not True", id="a boolean"),
        pytest.param(Service().fetch, float("nan"), "above zero or None, not nan", id="no number"),
        pytest.param(Service().fetch, "3600", "above zero or None, not '3600'", id="text"),
    ],
)
def test_arguments(fetch: object, lifetime: object, words: str) -> None:
    """What cannot work is found when it is made."""
    with pytest.raises(ConfigurationError, match=words):
        CachedToken(fetch, lifetime=lifetime)  # type: ignore[arg-type]


async def _bytes() -> bytes:
    return b"eyJ"


@table(
    ("fetch", "words"),
    [
        pytest.param(lambda: "eyJ.a.b", "not async", id="not async"),
        pytest.param(_bytes, "must give a string, not bytes", id="bytes"),
    ],
)
async def test_bad_fetch(fetch: object, words: str) -> None:
    """A fetch that is not one is named."""
    with pytest.raises(ConfigurationError, match=words):
        await CachedToken(fetch)()  # type: ignore[arg-type]


async def test_repr() -> None:
    """It shows its state, and never a token."""
    service = Service()
    provider = CachedToken(service.fetch, lifetime=60)
    assert repr(provider) == "<CachedToken lifetime=60: <TokenCache: empty>>"
    token = await provider()
    assert "has a token" in repr(provider)
    assert token not in repr(provider)
