"""Views of a client: another key, or other options, on the same connections, with what belongs to a key kept apart."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING, Any
from weakref import ref

import anyio
import anyio.lowlevel
import httpx
import pytest
from support.scripted import (
    END,
    SSE_HEAD,
    TASK,
    Exchange,
    Remote,
    connected,
    event,
    scripted,
    send,
    status_event,
)
from support.tables import table
from trio.testing import MockClock

from cyberun_async import (
    AsyncClient,
    ConfigurationError,
    Limits,
    Polling,
    RateLimitError,
    Retries,
    TaskStatus,
    Timeouts,
    TransportTimeout,
)
from cyberun_async._protocol import endpoints
from cyberun_async._relay.channel import account_of
from cyberun_async._transport.stream import Connection
from cyberun_async.webhooks import WebhookEvent

if TYPE_CHECKING:
    from pathlib import Path

    from cyberun_async._transport.transport import Transport

VIRTUAL_TIME = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
TEAM, OTHER_TEAM = "019abc12-4567-7890-abcd-ef1234567891", "019abc12-4567-7890-abcd-ef1234567892"
DEFINITION = {"id": "w-1", "slug": "w", "parameters": [{"key": "n", "type": "number"}]}


class Api:
    """Notes who asks for what, and when; the first requests of a key may be refused for their rate."""

    def __init__(self, *limited: str) -> None:
        self.limited = list(limited)
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(anyio.current_time())
        await anyio.lowlevel.checkpoint()
        key = request.headers["Authorization"].removeprefix("Bearer ")
        if key in self.limited:
            self.limited.remove(key)
            return httpx.Response(429, headers={"Retry-After": "20"})
        path = request.url.path
        if path.endswith("/run"):
            return httpx.Response(202, json={"task_id": "t-1"})
        if "/workflows/" in path:
            return httpx.Response(200, json=DEFINITION)
        return httpx.Response(200, json={"id": path.rpartition("/")[2], "task_status": "running"})

    def sent(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request in self.requests]


def client_of(api: Api, api_key: Any = "sk-root", **options: Any) -> AsyncClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(api))
    return AsyncClient(api_key, base_url="http://localhost", http_client=http, **options)


async def test_keys() -> None:
    """Each view signs its own requests in, and a client is not changed by its views."""
    api = Api()
    async with client_of(api) as client:
        view = client.with_options(api_key="sk-one")
        jwt = view.with_options(api_key="eyJ-two", team_id=TEAM)
        for each in (client, view, jwt, client):
            await each.tasks.get("t-1")
    assert api.sent("Authorization") == ["Bearer sk-root", "Bearer sk-one", "Bearer eyJ-two", "Bearer sk-root"]
    assert api.sent("X-Team-ID") == [None, None, TEAM, None]


async def test_provider() -> None:
    """A view may have a token provider; another team works with the client's own."""

    async def provide() -> str:
        return "eyJ-provided"

    api = Api()
    async with client_of(api, "eyJ-root", team_id=TEAM) as client:
        await client.with_options(api_key=provide, team_id=OTHER_TEAM).tasks.get("t-1")
        await client.with_options(team_id=OTHER_TEAM).tasks.get("t-1")
        await client.with_options(retries=Retries(budget=0)).tasks.get("t-1")
    assert api.sent("Authorization") == ["Bearer eyJ-provided", "Bearer eyJ-root", "Bearer eyJ-root"]
    assert api.sent("X-Team-ID") == [OTHER_TEAM, OTHER_TEAM, TEAM]


@table(
    ("options", "message"),
    [
        pytest.param({"api_key": "ak-agent"}, "ak- key", id="an agent's key"),
        pytest.param({"api_key": ""}, "empty", id="an empty key"),
        pytest.param({"api_key": 7}, "must be a string", id="a number"),
        pytest.param({"api_key": "eyJ-x"}, "needs a team of its own", id="no team"),
        pytest.param({"team_id": "with space"}, "white space", id="a broken team"),
        pytest.param({"timeouts": 5}, "timeouts must be Timeouts", id="timeouts"),
        pytest.param({"polling": Retries()}, "polling must be Polling", id="polling"),
        pytest.param({"headers": {"Host": "x"}}, "the header Host is set by the client itself", id="headers"),
    ],
)
async def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    """What a client refuses, a view refuses, too; a team is never taken over for another user's token."""
    async with client_of(Api(), "eyJ-root", team_id=TEAM) as client:
        with pytest.raises(ConfigurationError, match=message):
            client.with_options(**options)


@VIRTUAL_TIME
async def test_rate_limits_are_apart() -> None:
    """While one key has to pause, even with more calls than there are slots, another key's calls go out at once."""
    api = Api("sk-one")
    async with client_of(api, limits=Limits(max_connections=2)) as client, anyio.create_task_group() as group:
        one, two = (client.with_options(api_key=key) for key in ("sk-one", "sk-two"))
        for number in range(5):
            group.start_soon(one.tasks.get, f"t-{number}")
        await anyio.sleep(1)
        started = anyio.current_time()
        for _ in range(3):
            await two.tasks.get("t-9")
        assert anyio.current_time() - started < 1
    assert api.sent("Authorization")[-4:] == ["Bearer sk-one"] * 4
    assert min(api.times[-4:]) - started > 15


@VIRTUAL_TIME
async def test_rate_limit_is_the_keys() -> None:
    """Another view of the same key, made for another request, has to pause as well, with its other options, too."""
    api = Api("sk-one")
    async with client_of(api, retries=Retries(budget=0)) as client, anyio.create_task_group() as group:
        group.start_soon(client.with_options(api_key="sk-one", retries=Retries()).tasks.get, "t-1")
        await anyio.sleep(1)
        started = anyio.current_time()
        await client.with_options(api_key="sk-one", timeouts=Timeouts(call=1)).tasks.get("t-2")
        assert anyio.current_time() - started > 15


async def test_definitions() -> None:
    """Views that are made for each request read a workflow's definition once for each key."""
    api = Api()
    async with client_of(api) as client:
        for key in ("sk-one", "sk-two", "sk-one", "sk-two", "sk-root"):
            await client.with_options(api_key=key).submit("w", {"n": 1})
            gc.collect()
        await client.submit("w", {"n": 1})
    reads = [request.headers["Authorization"] for request in api.requests if not request.url.path.endswith("/run")]
    assert sorted(reads) == ["Bearer sk-one", "Bearer sk-root", "Bearer sk-two"]


async def test_polls_are_shared_within_a_key() -> None:
    """Waits by views of the same key and options share their polls, and those of different keys do not."""
    async with client_of(Api()) as client:
        pollers = [
            client.with_options(**options)._core.shared_poller
            for options in (
                {},
                {"api_key": "sk-one"},
                {"api_key": "sk-one"},
                {"api_key": "sk-two"},
                {"api_key": "sk-one", "polling": Polling(interval=1)},
                {"api_key": "sk-one", "headers": {"X-Gateway": "a"}},
            )
        ]
        root = client._core.shared_poller
    assert [pollers.index(each) for each in pollers] == [0, 1, 1, 3, 4, 5]
    assert pollers[0] is root


async def test_options() -> None:
    """A view has the options that it was given, and the client's others."""

    async def never(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    http = httpx.AsyncClient(transport=httpx.MockTransport(never))
    polling = Polling(interval=7)
    async with AsyncClient("sk-x", base_url="http://localhost", http_client=http, polling=polling) as client:
        view = client.with_options(timeouts=Timeouts(call=0.01), retries=Retries(budget=0))
        with pytest.raises(TransportTimeout):
            await view.tasks.get("t-1")
        assert view._core.settings.polling == polling
        assert view.with_options(polling=Polling(interval=8))._core.settings.timeouts == Timeouts(call=0.01)
        assert client._core.settings.timeouts == Timeouts()


async def test_closing() -> None:
    """Leaving a view closes nothing; a closed client closes its views."""
    api = Api()
    client = client_of(api)
    async with client.with_options(api_key="sk-one") as view:
        await view.tasks.get("t-1")
    await view.aclose()
    assert not view.is_closed
    await view.tasks.get("t-1")
    await client.tasks.get("t-1")
    await client.aclose()
    assert view.is_closed
    with pytest.raises(ConfigurationError, match="closed"):
        await view.tasks.get("t-1")
    with pytest.raises(ConfigurationError, match="closed"):
        await view.__aenter__()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.with_options(api_key="sk-two").tasks.get("t-1")


async def test_connections_are_shared() -> None:
    """A view's requests go by the client's connections, which are open until the client is closed."""
    async with scripted() as server, connected(server) as client:
        Remote().on(server)
        await client.tasks.get(TASK)
        await client.with_options(api_key="sk-one").tasks.get(TASK)
        await client.tasks.get(TASK)
        assert server.open() == 1
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer sk-test",
        "Bearer sk-one",
        "Bearer sk-test",
    ]


async def test_collected() -> None:
    """A view keeps its client, and a view that is dropped warns of nothing."""
    async with scripted() as server:
        Remote().on(server)
        view = AsyncClient("sk-test", base_url=server.base_url).with_options(api_key="sk-one")
        viewed = ref(vars(view)["_viewed"])
        view = view.with_options(api_key="sk-two")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await view.tasks.get(TASK)
            gc.collect()
        client = viewed()
        assert client is not None
        del view
        gc.collect()
        await client.aclose()


async def test_subclass() -> None:
    """A view is of the client's class, and has the attributes that were set there."""

    class Mine(AsyncClient):
        tenant: str

    client = Mine("sk-root", base_url="http://localhost")
    client.tenant = "acme"
    view = client.with_options(api_key="sk-one")
    assert (type(view), view.tenant) == (Mine, "acme")
    assert repr(view) == "<Mine http://localhost (view)>"
    assert repr(view._core) == "<ClientCore of http://localhost (view)>"


async def test_free_stream() -> None:
    """A stream that one key's wait has left is offered to the wait of another, which has been polling."""
    second = anyio.Event()

    async def first(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD + status_event("running"))
        await second.wait()

    async with scripted() as server, connected(server, limits=Limits(max_streams=1)) as client:
        remote = Remote()
        remote.on(server)
        completed = event("completed", status="completed") + END
        server.on("events", first, remote.first("completed", send(SSE_HEAD + completed)))
        one = client.with_options(api_key="sk-one", polling=Polling(interval=3600))
        two = client.with_options(api_key="sk-two", polling=Polling(interval=3600))
        async with anyio.create_task_group() as group, one.events(TASK) as events:
            async for _ in events:
                break
            group.start_soon(two.wait_for_result, TASK)
            while server.kinds().count("task") < 2:  # noqa: ASYNC110 - the other wait polls once
                await anyio.sleep(0.001)
            await anyio.wait_all_tasks_blocked()
            await events.aclose()
            second.set()
        assert [each.headers["authorization"] for each in server.requests if each.kind == "events"] == [
            "Bearer sk-one",
            "Bearer sk-two",
        ]


async def test_wake() -> None:
    """A delivery that any of them is handed wakes the wait of whichever view waits, and one that comes ahead of it, too."""
    delivery = WebhookEvent(event_type="task.completed", task_id=TASK, status="completed")  # type: ignore[arg-type]
    async with scripted() as server, connected(server, limits=Limits(max_streams=0)) as client:
        remote = Remote()
        remote.on(server)
        view = client.with_options(api_key="sk-one", polling=Polling(interval=3600))
        results = []

        async def wait() -> None:
            results.append(await view.wait_for_result(TASK))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            while not view._core.shared_poller.registry:  # noqa: ASYNC110 - it polls before it waits
                await anyio.sleep(0.001)
            remote.status = "completed"
            client.wake(delivery)
        client.with_options(api_key="sk-two").wake(delivery)
        await wait()
    assert [result.status for result in results] == [TaskStatus.COMPLETED] * 2


async def test_storage(tmp_path: Path) -> None:
    """A view fetches files by the client's own storage connections and slots, with its own timeouts, and without headers."""
    seen: list[httpx.Request] = []

    def store(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"png")

    def result(request: httpx.Request) -> httpx.Response:
        url = "https://storage.example/a.png?X-Amz-Signature=f00d"
        return httpx.Response(200, json={"id": TASK, "task_status": "completed", "download_urls": {"a.png": url}})

    async with AsyncClient(
        "sk-x",
        base_url="http://localhost",
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(result)),
        storage_client=httpx.AsyncClient(transport=httpx.MockTransport(store)),
    ) as client:
        view = client.with_options(api_key="sk-one", timeouts=Timeouts(read=7), headers={"X-Gateway": "gateway-secret"})
        [path] = await view.download(TASK, tmp_path)
        assert path.read_bytes() == b"png"
        assert view._core.files.storage.gate is client._core.files.storage.gate
    assert seen[0].extensions["timeout"]["read"] == 7
    assert not {"x-gateway", "authorization"} & set(seen[0].headers)


async def test_many() -> None:
    """However many keys there have been, a bounded number of them is remembered."""
    async with client_of(Api()) as client:
        for number in range(1500):
            client.with_options(api_key=f"sk-{number}")
        gc.collect()
        assert repr(client._core.views) == "<RecentCache: 1000 in use, 1000 kept>"
        assert len(client._core.transport.connections.credentials.values()) <= 1001


async def test_streams_in_turn() -> None:
    """Free streams are offered to those who want one, in turn, and to no view that is gone."""
    async with client_of(Api()) as client:
        connections, offered = client._core.transport.connections, []
        views = [
            client.with_options(api_key=key, polling=Polling(interval=7)) for key in ("sk-one", "sk-two", "sk-three")
        ]
        one, two, three = (view._core.transport for view in views)
        one.on_free_stream = lambda: offered.append("one") or True
        two.on_free_stream = lambda: offered.append("two")
        three.on_free_stream = lambda: offered.append("three") or True
        for transport in (one, two, three, one):
            transport.want_stream()
        for _ in range(3):
            connections.release_stream()
        assert offered == ["one", "two", "three", "one"]
        client._core.views._recent.clear()
        del views, one, three, transport
        gc.collect()
        connections.release_stream()
        assert offered[4:] == []
        two.want_stream()
        connections.release_stream()
        assert offered[4:] == ["two"]


async def test_relay() -> None:
    """Readers of a relay share a stream by views of the same key, and none by views of other keys or other headers."""
    async with client_of(Api()) as client:
        accounts = [
            account_of(client.with_options(**options)._core.settings)
            for options in (
                {"api_key": "sk-one"},
                {"api_key": "sk-one", "timeouts": Timeouts(read=7)},
                {"api_key": "sk-two"},
                {"api_key": "sk-one", "headers": {"X-Gateway": "gateway-a"}},
                {"api_key": "sk-one", "headers": {"X-Gateway": "gateway-b"}},
            )
        ]
    assert [accounts.index(each) for each in accounts] == [0, 0, 2, 3, 4]


async def test_providers_that_compare_equal() -> None:
    """Two providers that compare equal may give tokens of different users, so nothing is shared between them."""

    class Provider:
        def __init__(self, token: str) -> None:
            self._token = token

        def __eq__(self, _: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

        async def give(self) -> str:
            return self._token

    api, one, two = Api(), Provider("eyJ-one"), Provider("eyJ-two")
    async with client_of(api) as client:
        for provider in (one, two, one):
            await client.with_options(api_key=provider.give, team_id=TEAM).tasks.get("t-1")
        cores = [client.with_options(api_key=each.give, team_id=TEAM)._core for each in (one, two, one)]
    assert api.sent("Authorization") == ["Bearer eyJ-one", "Bearer eyJ-two", "Bearer eyJ-one"]
    assert [cores.index(core) for core in cores] == [0, 1, 0]


@VIRTUAL_TIME
async def test_streams_in_a_pause() -> None:
    """Streams of a key that has to pause take none from another key, and find out what is left for them afterwards."""
    began = anyio.current_time()

    async def handle(request: httpx.Request) -> httpx.Response:
        await anyio.sleep(0.01)
        if request.headers["Authorization"] == "Bearer sk-one" and anyio.current_time() < began + 10:
            return httpx.Response(429, headers={"Retry-After": "20"})
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=b": hello\n\n")

    outcomes: list[object] = []

    async def open_one(transport: Transport) -> None:
        try:
            connection = await transport.open_stream(endpoints.stream_task_events("t-1"))
        except RateLimitError as error:
            outcomes.append((error.may_have_been_sent, anyio.current_time() - began > 15))
        else:
            outcomes.append(connection)

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    limits = Limits(max_streams=40)
    async with AsyncClient("sk-root", base_url="http://localhost", http_client=http, limits=limits) as client:
        one, two = (client.with_options(api_key=key)._core.transport for key in ("sk-one", "sk-two"))
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(open_one, one)
            await anyio.sleep(1)
            # The first sixteen were refused, and the others wait.
            assert (client._core.transport.connections.free_streams, len(outcomes)) == (40, 16)
            outcomes.clear()
            with anyio.fail_after(1):
                mine = [await two.open_stream(endpoints.stream_task_events("t-1")) for _ in range(30)]
        opened = [outcome for outcome in outcomes if isinstance(outcome, Connection)]
        assert (len(opened), outcomes.count((False, True))) == (10, 14)
        assert client._core.transport.connections.free_streams == 0
        for connection in (*mine, *opened):
            await connection.aclose()
        assert client._core.transport.connections.free_streams == 40
