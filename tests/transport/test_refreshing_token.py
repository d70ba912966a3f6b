"""Refresh tokens that rotate: each is sent once, the next is saved before it is used, and one refresh serves all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import anyio
import httpx
import pytest
from support.tables import table

from cyberun_async import (
    AsyncClient,
    ConfigurationError,
    CyberunError,
    PermissionDeniedError,
    RefreshingToken,
    SignInRequired,
    Timeouts,
    TokenError,
)
from cyberun_async._transport import cached_token, refreshing_token
from cyberun_async.local import LocalCyberun

URL = "http://localhost"
NEW = {"access_token": "eyJ.access.1", "refresh_token": "refresh-token-1", "expires_in": 3600}
Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Service:
    """Rotates refresh tokens, unless it is told to respond otherwise."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.responses = list(responses)
        self.used: list[str] = []
        self.saved: list[str] = []
        self.heads: list[httpx.Headers] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self.respond))

    async def respond(self, request: httpx.Request) -> httpx.Response:
        import json

        self.heads.append(request.headers)
        self.used.append(json.loads(request.content)["refresh_token"])
        given = self.responses.pop(0) if self.responses else None
        if isinstance(given, Exception):
            raise given
        return given or self.pair()

    def pair(self) -> httpx.Response:
        number = len(self.used)
        tokens = {"access_token": f"eyJ.access.{number}", "refresh_token": f"refresh-token-{number}"}
        return httpx.Response(200, json={**NEW, **tokens})

    def token(self, save: Callable[[str], object] | None = None, **options: object) -> RefreshingToken:
        return RefreshingToken(
            "refresh-token-0",
            save=save or self.saved.append,
            base_url=URL,
            http_client=self.client,
            **options,  # type: ignore[arg-type]
        )


async def test_refresh() -> None:
    """The first call refreshes, without a key, and the next refresh token is saved; then the access token is kept."""
    service = Service()
    token = service.token()
    assert [await token(), await token()] == ["eyJ.access.1"] * 2
    assert (service.used, service.saved) == (["refresh-token-0"], ["refresh-token-1"])
    assert "authorization" not in service.heads[0]
    assert "x-team-id" not in service.heads[0]


async def test_after_a_rejection() -> None:
    """A rejected access token is refreshed by the latest refresh token; one that was replaced meanwhile is not."""
    service = Service()
    token = service.token(access_token="eyJ.first.x")
    assert await token() == "eyJ.first.x"
    token.invalidate("eyJ.first.x")
    second = await token()
    token.invalidate("eyJ.first.x")
    assert await token() == second
    token.invalidate(second)
    assert await token() == "eyJ.access.2"
    assert service.used == ["refresh-token-0", "refresh-token-1"]
    assert service.saved == ["refresh-token-1", "refresh-token-2"]


@pytest.mark.parametrize(
    ("expires_in", "good_for"),
    [
        pytest.param(3600, 3540, id="an hour"),
        pytest.param(100, 90, id="short"),
        pytest.param(None, None, id="unsaid"),
        pytest.param(0, None, id="zero"),
        pytest.param(-5, None, id="below zero"),
    ],
)
async def test_before_it_expires(expires_in: int | None, good_for: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An access token is refreshed a minute before it expires, or a tenth of a short life; by a 401 alone where that is not said."""
    service = Service(httpx.Response(200, json={**NEW, "expires_in": expires_in}))
    token = service.token()
    began = monotonic()
    monkeypatch.setattr(refreshing_token, "monotonic", lambda: began)
    await token()
    monkeypatch.setattr(cached_token, "monotonic", lambda: began + (good_for or 10**9) - 1)
    await token()
    assert len(service.used) == 1
    monkeypatch.setattr(cached_token, "monotonic", lambda: began + (good_for or 10**9) + 1)
    await token()
    assert len(service.used) == (1 if good_for is None else 2)


async def test_shared() -> None:
    """A hundred callers share one refresh."""
    service = Service()
    token = service.token()
    got: list[str] = []

    async def get() -> None:
        got.append(await token())

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(get)
    assert (len(service.used), set(got)) == (1, {"eyJ.access.1"})


UNUSED = [
    pytest.param(httpx.ConnectError("no route"), TokenError, id="no connection"),
    pytest.param(httpx.Response(429, headers={"Retry-After": "999"}), TokenError, id="429"),
    pytest.param(httpx.Response(403, json={"error_message": "no"}), PermissionDeniedError, id="403"),
]
USED = [
    pytest.param(httpx.Response(401, json={"error_message": "was used"}), r"was rejected \(was used\)", id="401"),
    pytest.param(httpx.ReadTimeout("late"), "may have been used", id="timeout"),
    pytest.param(httpx.RemoteProtocolError("gone"), "may have been used", id="broken"),
    pytest.param(httpx.Response(500), "may have been used", id="500"),
    pytest.param(httpx.Response(503, headers={"Retry-After": "1"}), "may have been used", id="503"),
    pytest.param(httpx.Response(408), "may have been used", id="408"),
    pytest.param(httpx.Response(409), "may have been used", id="409"),
    pytest.param(httpx.Response(200, text="<html>"), "may have been used", id="no JSON"),
    pytest.param(httpx.Response(200, json={"refresh_token": "x"}), "may have been used", id="no access token"),
]


@pytest.mark.parametrize(("response", "kind"), UNUSED)
async def test_unused(response: httpx.Response | Exception, kind: type[CyberunError], virtual_sleep: None) -> None:
    """Where the refresh token cannot have been used, the next call sends it again."""
    service = Service(*[response] * (20 if isinstance(response, Exception) else 1))
    token = service.token()
    with pytest.raises(kind):
        await token()
    service.responses.clear()
    assert await token() == f"eyJ.access.{len(service.used)}"
    assert set(service.used) == {"refresh-token-0"}


@table(("response", "words"), USED)
async def test_used(response: httpx.Response | Exception, words: str) -> None:
    """Where it may have been used, it is never sent again: the user has to sign in."""
    service = Service(response)
    token = service.token()
    for _ in range(3):
        with pytest.raises(SignInRequired, match=words):
            await token()
    assert service.used == ["refresh-token-0"]
    assert repr(token) == "<RefreshingToken: sign in again>"


async def test_no_other_one() -> None:
    """A service that gives no further refresh token is believed: the access token is used to its end, and then the user signs in."""
    service = Service(httpx.Response(200, json={"access_token": "eyJ.access.1"}))
    token = service.token()
    assert await token() == "eyJ.access.1"
    token.invalidate("eyJ.access.1")
    with pytest.raises(SignInRequired, match="was used, and the service gave no other"):
        await token()
    assert (service.used, service.saved) == (["refresh-token-0"], [])


async def test_saved_first() -> None:
    """The next refresh token is saved before the access token is given out, and where that fails, again before the next call."""
    service = Service()
    tries: list[str] = []

    async def save(refresh_token: str) -> None:
        tries.append(refresh_token)
        if len(tries) == 1:
            raise OSError("the disk is full")

    token = service.token(save)
    with pytest.raises(OSError, match="the disk is full"):
        await token()
    assert repr(token) == "<RefreshingToken: a refresh token to save>"
    assert await token() == "eyJ.access.1"
    assert (tries, service.used) == (["refresh-token-1"] * 2, ["refresh-token-0"])


@asynccontextmanager
async def held(service: Service) -> AsyncIterator[tuple[anyio.Event, anyio.Event]]:
    """Have the service's first response wait for a sign."""
    arrived, release = anyio.Event(), anyio.Event()

    async def respond(request: httpx.Request) -> httpx.Response:
        response = await service.respond(request)
        if not arrived.is_set():
            arrived.set()
            await release.wait()
        return response

    service.client = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    yield arrived, release


async def test_cancelled() -> None:
    """A caller that is cancelled while the refresh is in flight waits for its response, and the next token is saved."""
    service = Service()
    async with held(service) as (arrived, release):
        token = service.token()
        scope = anyio.CancelScope()

        async def get() -> None:
            with scope:
                await token()

        async with anyio.create_task_group() as group:
            group.start_soon(get)
            await arrived.wait()
            group.start_soon(token)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            release.set()
    assert scope.cancelled_caught
    assert service.saved == ["refresh-token-1"]
    assert await token() == "eyJ.access.1"
    assert len(service.used) == 1


async def test_cancelled_beyond_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the response does not come in time, the refresh token counts as used."""
    monkeypatch.setattr(refreshing_token, "CANCELLATION_GRACE", 0.0)
    service = Service()
    async with held(service) as (arrived, _):
        token = service.token()
        async with anyio.create_task_group() as group:
            group.start_soon(token)
            await arrived.wait()
            group.cancel_scope.cancel()
    with pytest.raises(SignInRequired, match="may have been used"):
        await token()


async def test_cancelled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is cancelled before anything has left has used nothing."""
    service = Service(httpx.Response(429, headers={"Retry-After": "30"}))
    token = service.token()
    async with anyio.create_task_group() as group:
        group.start_soon(token)
        await anyio.wait_all_tasks_blocked()
        assert len(service.used) == 1
        group.cancel_scope.cancel()
    assert await token() == "eyJ.access.2"
    assert service.used == ["refresh-token-0"] * 2


@pytest.fixture
def virtual_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries take no time, and count as if they took it."""
    from cyberun_async._transport import transport

    passed = 0.0
    now = anyio.current_time

    async def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(transport.anyio, "sleep", sleep)
    monkeypatch.setattr(transport.anyio, "current_time", lambda: now() + passed)


async def test_with_a_client() -> None:
    """A client refreshes by itself: at first, and after its token was revoked; a used refresh token is a 401."""
    with LocalCyberun() as server:
        saved: list[str] = []
        first = server.refresh_token
        token = RefreshingToken(first, save=saved.append, base_url=server.base_url)
        async with AsyncClient(token, team_id=server.team_id, base_url=server.base_url) as client:
            await client.submit("text-to-image", {"prompt": "dusk"})
            server.revoke(await token())
            await client.submit("text-to-image", {"prompt": "dusk"})
        assert len(saved) == 2
        assert [exchange.operation for exchange in server.requests].count("auth.refresh") == 2
        again = RefreshingToken(first, save=saved.append, base_url=server.base_url)
        async with AsyncClient(again, team_id=server.team_id, base_url=server.base_url) as client:
            with pytest.raises(SignInRequired, match="was rejected"):
                await client.tasks.get("t-1")


@pytest.mark.usefixtures("virtual_sleep")
async def test_a_wait_outlives_an_outage() -> None:
    """A failure that another try may cure does not end a wait, and is a `TokenError` with the task's id where it is all there is."""
    service = Service(*[httpx.ConnectError("no route")] * 99)
    token = service.token()

    def respond(_: httpx.Request) -> httpx.Response:
        raise AssertionError("unreachable")

    http_client = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    async with AsyncClient(token, team_id="t", base_url=URL, http_client=http_client) as client:
        with pytest.raises(TokenError) as caught, anyio.move_on_after(30):
            await client.tasks.get("t-1")
    assert (caught.value.task_id, caught.value.is_final) == ("t-1", False)


@table(
    ("options", "words"),
    [
        pytest.param({"refresh_token": ""}, "the refresh token is empty", id="no refresh token"),
        pytest.param({"refresh_token": 3}, "the refresh token must be a string, not int", id="a number"),
        pytest.param({"save": None}, "save must be a function", id="no save"),
        pytest.param({"access_token": "a b"}, "white space", id="access token"),
        pytest.param({"base_url": "core"}, "needs a scheme", id="base URL"),
        pytest.param({"base_url": "http://core.test"}, "allow_insecure_http", id="in the clear"),
        pytest.param({"http_client": 3}, "must be an httpx.AsyncClient", id="client"),
    ],
)
def test_arguments(options: dict[str, object], words: str) -> None:
    """What cannot work is found when it is made."""
    with pytest.raises(ConfigurationError, match=words):
        RefreshingToken(**{"refresh_token": "refresh-token-0", "save": print, **options})  # type: ignore[arg-type]


async def test_secrecy() -> None:
    """No token is in a `repr`, a message, or what the server says back."""
    service = Service(httpx.Response(401, json={"error_message": "bad token refresh-token-0"}))
    token = service.token(timeouts=Timeouts(call=5))
    assert repr(token) == "<RefreshingToken: can refresh>"
    with pytest.raises(SignInRequired) as caught:
        await token()
    cause = caught.value.__cause__
    assert "refresh-token-0" not in f"{caught.value!r} {cause!r} {vars(cause)}"
