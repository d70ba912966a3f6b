"""The relay: who shares a channel, whom a task is withheld from, and what a wait beside it costs."""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio
import anyio.lowlevel
import attrs
import pytest
from support.relaying import RARELY, STEPS, WHOLE, names, rest, scene, take
from support.tables import table

from cyberun_async import (
    AsyncClient,
    AuthenticationError,
    ConfigurationError,
    EventStream,
    InvalidParameters,
    NotFoundError,
    ProgressEvent,
    StatusEvent,
    TaskFailed,
    TaskStatus,
    WaitTimeout,
)
from cyberun_async._protocol.secret import Key
from cyberun_async._relay.channel import Channel, account_of
from cyberun_async._settings import Settings
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import complete, fail, progress, status
from cyberun_async.relay import Relay

UNKNOWN = "019abc12-9012-7890-abcd-ef1234567896"
WRONG = "sk-00000000000000000000000000000000"


def client_of(server: LocalCyberun, key: str | None = None) -> AsyncClient:
    """Make one more client."""
    return AsyncClient(key or server.api_key, base_url=server.base_url, polling=RARELY)


# Accounts


class Vault:
    """Gives tokens by a method, and says of itself that it equals every other."""

    async def token(self) -> str:
        """Give a token."""
        return "ey"

    async def __call__(self) -> str:
        """Give a token."""
        return "ey"

    def __eq__(self, other: object) -> bool:
        """Equal what gives other tokens."""
        return isinstance(other, Vault)

    def __hash__(self) -> int:
        """Be as equal as that."""
        return 0


VAULT, OTHER_VAULT = Vault(), Vault()


@table(
    ("one", "other", "is_same"),
    [
        pytest.param(Settings("https://a", Key("sk-1")), Settings("https://a", Key("sk-1")), True, id="all the same"),
        pytest.param(Settings("https://a", Key("sk-1")), Settings("https://a", Key("sk-2")), False, id="another key"),
        pytest.param(
            Settings("https://a", Key("sk-1")), Settings("https://b", Key("sk-1")), False, id="another service"
        ),
        pytest.param(
            Settings("https://a", Key("ey"), "1"), Settings("https://a", Key("ey"), "2"), False, id="another team"
        ),
        pytest.param(Settings("https://a", VAULT), Settings("https://a", VAULT), True, id="one provider"),
        pytest.param(Settings("https://a", VAULT), Settings("https://a", OTHER_VAULT), False, id="equal providers"),
        pytest.param(Settings("https://a", VAULT.token), Settings("https://a", VAULT.token), True, id="one method"),
        pytest.param(
            Settings("https://a", VAULT.token), Settings("https://a", OTHER_VAULT.token), False, id="equal methods"
        ),
        pytest.param(Settings("https://a", VAULT.token), Settings("https://a", VAULT), False, id="method and object"),
        pytest.param(Settings("https://a", VAULT), Settings("https://a", Key("sk-1")), False, id="provider and key"),
    ],
)
def test_accounts(one: Settings, other: Settings, is_same: bool) -> None:
    """An account is a service, a credential and a team; providers are the same where they are one object."""
    accounts = {account_of(one): "one"}
    assert (account_of(other) in accounts) is is_same


def test_an_account_shows_no_key() -> None:
    """Neither in text nor in its fields."""
    account = account_of(Settings("https://a", Key("sk-secret-secret")))
    assert "secret" not in repr({account: 1})
    assert b"secret" not in account.credential  # type: ignore[operator]


# Who shares a channel


@table("first", ["right", "wrong"])
async def test_a_wrong_key_is_told_nothing(first: str) -> None:
    """Whoever comes first, a reader with a wrong key hears `unavailable`, and one with the right key the events."""
    async with scene() as here, client_of(here.server, WRONG) as stranger:
        task_id = await here.task()
        right, wrong = here.relay.stream(task_id), here.relay.stream(task_id, client=stranger)
        if first == "right":
            told = await take(right, 1)
            refused = await rest(wrong)
        else:
            refused = await rest(wrong)
            told = await take(right, 1)
        await here.server.clock.advance(STEPS)
        assert names(refused) == ["unavailable"]
        assert names(told + await rest(right)) == WHOLE


async def test_clients_of_one_account_share() -> None:
    """Two clients with one key have one upstream stream; when the one that follows is closed, another takes over."""
    async with scene() as here, client_of(here.server) as second, client_of(here.server) as third:
        task_id = await here.task()
        async with client_of(here.server) as first:
            leaving = here.relay.stream(task_id, client=first)
            staying = [here.relay.stream(task_id, client=each) for each in (second, third)]
            for stream in (leaving, *staying):
                assert names(await take(stream, 1)) == ["status"]
            assert here.upstreams_of(task_id) == 1
        await second.aclose()
        await here.server.clock.advance(STEPS)
        for told in [await rest(stream) for stream in (leaving, *staying)]:
            # What happens while there is no stream may be left out, but nothing is told twice.
            steps = [json.loads(each.data)["step_current"] for each in told if each.name == "progress"]
            assert names(told) == [*["progress"] * len(steps), "completed"]
            assert steps == sorted(set(steps))


async def test_all_clients_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    """Where no client is left to follow with, the stream ends in `unavailable`."""
    async with scene() as here:
        task_id = await here.task()
        async with client_of(here.server) as theirs:
            stream = here.relay.stream(task_id, client=theirs)
            await take(stream, 1)
        assert names(await rest(stream)) == ["unavailable"]
        assert "closed" in caplog.text


async def test_a_client_that_is_closed_after_its_reader_has_left(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody reads, so nothing is said; the next reader has a new stream."""
    async with scene(linger=60) as here:
        task_id = await here.task()
        async with client_of(here.server) as theirs, here.relay.stream(task_id, client=theirs) as stream:
            await take(stream, 1)
        while here.relay.upstreams:
            await anyio.lowlevel.checkpoint()
        assert caplog.text == ""
        assert names(await take(here.relay.stream(task_id), 1)) == ["status"]


async def test_another_stream_tells_nothing_twice() -> None:
    """What the stream of another client begins with is left out where it was told; what is new comes."""
    channel = Channel(history=10, linger=0)
    running = StatusEvent(task_id="t", status=TaskStatus.RUNNING)
    half = ProgressEvent(task_id="t", progress=0.5)
    for event in (running, half, attrs.evolve(running, source="poll"), half, attrs.evolve(half, progress=0.6)):
        channel.publish(event)
    told = [channel.after(number) for number in range(4)]
    assert [each and each.event for each in told] == [running, half, attrs.evolve(half, progress=0.6), None]


def test_a_relay_shows_what_it_does() -> None:
    """Its repr has the number of tasks, and no key."""
    assert repr(Relay(AsyncClient(WRONG))) == "<Relay of 0 tasks>"


# Tasks that are not there


async def test_open_gives_the_stream() -> None:
    """It is the same stream, over the same upstream, and misses nothing."""
    async with scene() as here:
        task_id = await here.task()
        stream = await here.relay.open(task_id)
        again = await here.relay.open(task_id, last_event_id=None)
        await here.server.clock.advance(STEPS)
        assert names(await rest(stream)) == names(await rest(again)) == WHOLE
        assert here.upstreams_of(task_id) == 1


async def test_open_refuses_an_unknown_task() -> None:
    """Each of many readers gets an error of their own, for the requests of one; nothing is left."""
    async with scene(linger=0) as here:
        errors: list[NotFoundError] = []

        async def ask() -> None:
            with pytest.raises(NotFoundError) as caught:
                await here.relay.open(UNKNOWN)
            errors.append(caught.value)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
        assert len({id(error) for error in errors}) == 20
        assert {(error.status, error.task_id) for error in errors} == {(404, UNKNOWN)}
        # None, where a busy machine has the poll beside it be first.
        assert here.upstreams_of(UNKNOWN) <= 1
        assert here.relay.upstreams == 0


async def test_open_refuses_a_wrong_key() -> None:
    """What stands against following the task is raised as it is."""
    async with scene() as here, client_of(here.server, WRONG) as stranger:
        with pytest.raises(AuthenticationError):
            await here.relay.open(await here.task(), client=stranger)
        with pytest.raises(InvalidParameters):
            await here.relay.open("..")


async def test_open_raises_what_a_provider_raises() -> None:
    """A provider's own refusal stays as it is; what else it raises passes, as in every wait."""
    failures: list[Exception] = [LookupError("for a moment"), ConfigurationError("no token for you")]

    async def provide() -> str:
        raise failures[0]

    async with (
        scene() as here,
        AsyncClient(provide, base_url=here.server.base_url, team_id=here.server.team_id) as theirs,
    ):
        task_id = await here.task()
        async with await here.relay.open(task_id, client=theirs, within=0.01) as stream:
            assert (await anext(stream)).startswith(b"retry: ")
        failures.pop(0)
        with pytest.raises(ConfigurationError, match="no token for you"):
            await here.relay.open("another", client=theirs)


async def test_open_does_not_wait_for_ever() -> None:
    """Where the service says nothing, the stream begins, and says later what there is to say."""
    async with scene() as here:
        task_id = await here.task()
        here.server.faults.status(503, on="tasks.*", times=None)
        stream = await here.relay.open(task_id, within=0.01)
        assert (await anext(stream)).startswith(b"retry: ")
        await stream.aclose()


async def test_open_is_cancelled() -> None:
    """A browser that leaves before anything is known leaves no reader behind."""
    async with scene(linger=0) as here:
        task_id = await here.task()
        here.server.faults.status(503, on="tasks.*", times=None)
        async with anyio.create_task_group() as group:
            group.start_soon(here.relay.open, task_id)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        while here.relay.upstreams:
            await anyio.lowlevel.checkpoint()


async def test_exits_belong_to_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that ends the process does so in the task of whoever reads, and not in a background task."""

    def leave(_: AsyncClient, __: str) -> EventStream:
        raise SystemExit(3)

    async with scene() as here:
        monkeypatch.setattr(AsyncClient, "events", leave)
        with pytest.raises(SystemExit):
            await rest(here.relay.stream(UNKNOWN))
        with pytest.raises(SystemExit):
            await here.relay.open(UNKNOWN)


# Where a relay lives


async def test_it_is_left_in_another_task() -> None:
    """A relay may be entered and left in different tasks, as fixtures and test clients do, while it is read."""
    async with scene() as here:
        relay = Relay(here.client)
        streams = []

        async def enter() -> None:
            await relay.__aenter__()
            streams.append(await relay.open(await here.task()))

        async def leave() -> None:
            await relay.__aexit__(None, None, None)

        for step in (enter, leave):
            async with anyio.create_task_group() as group:
                group.start_soon(step)
        assert names(await rest(streams[0])) == ["status"]
        assert relay.upstreams == 0


async def test_it_is_left_under_cancellation() -> None:
    """The upstreams are closed although the task that leaves is cancelled."""
    async with scene() as here:
        with anyio.CancelScope() as scope:
            async with Relay(here.client) as relay:
                await relay.open(await here.task())
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert relay.upstreams == 0


async def test_it_needs_no_client() -> None:
    """Each stream may name its own; one that does not is refused."""
    async with scene() as here, Relay() as relay:
        task_id = await here.task()
        async with relay.stream(task_id, client=here.client) as stream:
            assert names(await take(stream, 1)) == ["status"]
        for use in (relay.open, relay.wait_for_result):
            with pytest.raises(ConfigurationError, match="pass client"):
                await use(task_id)


# Waiting beside it


async def test_a_wait_shares_the_stream() -> None:
    """Browsers and waits of one task have one upstream stream; a late wait is told of what was before, too."""
    async with scene() as here:
        task_id = await here.task()
        stream = await here.relay.open(task_id)
        seen: list[str] = []
        results = []

        async def wait() -> None:
            results.append(await here.relay.wait_for_result(task_id, on_event=lambda event: seen.append(event.name)))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await here.server.clock.advance(STEPS)
        assert names(await rest(stream)) == seen == WHOLE
        await wait()
        assert [result.status for result in results] == ["completed"] * 2
        assert here.upstreams_of(task_id) == 1


async def test_a_wait_whose_task_fails() -> None:
    """It raises like any other wait, with the result."""
    async with scene() as here:
        task_id = await here.task(status("running"), fail("no memory"))
        with pytest.raises(TaskFailed, match="no memory"):
            await here.relay.wait_for_result(task_id)


async def test_a_wait_for_an_unknown_task() -> None:
    """It is refused, and takes no reader along."""
    async with scene() as here:
        with pytest.raises(NotFoundError):
            await here.relay.wait_for_result(UNKNOWN)
        with pytest.raises(InvalidParameters):
            await here.relay.wait_for_result("..")
        with pytest.raises(ConfigurationError):
            await here.relay.wait_for_result(UNKNOWN, timeout=0)
        assert here.relay.upstreams == 0


async def test_a_wait_that_ends_leaves() -> None:
    """A deadline ends it, and the upstream with the last reader."""
    async with scene(linger=0) as here:
        task_id = await here.task(status("running"))
        with pytest.raises(WaitTimeout) as caught:
            await here.relay.wait_for_result(task_id, timeout=0.05)
        assert (caught.value.task_id, caught.value.remote) == (task_id, "left")
        while here.relay.upstreams:
            await anyio.lowlevel.checkpoint()


@table("stop", [lambda relay: relay.drain(0), lambda relay: relay.aclose()], ids=["drain", "close"])
async def test_a_wait_outlives_the_relay(stop: Callable[[Relay], object]) -> None:
    """What ends the browsers' streams does not end a wait: it goes on with a stream of its own."""
    async with scene() as here:
        task_id = await here.task()
        results = []

        async def wait() -> None:
            results.append(await here.relay.wait_for_result(task_id))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            stream = await here.relay.open(task_id)
            await take(stream, 1)
            await stop(here.relay)  # type: ignore[misc]
            await here.server.clock.advance(STEPS)
        assert [result.status for result in results] == ["completed"]


async def test_a_wait_beside_a_relay_that_drains() -> None:
    """It is not refused, and the relay follows nothing for it."""
    async with scene() as here:
        task_id = await here.task(status("running"), progress(1, 1), complete({}))
        await here.relay.drain()
        assert (await here.relay.wait_for_result(task_id)).status == "completed"
        assert here.relay.upstreams == 0
