"""The relay: one upstream stream a task, any number of readers, nothing lost and nothing left."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest
from support.relaying import KEEP_ALIVE, STEPS, WHOLE, Told, names, rest, scene, take, until
from support.tables import table

from cyberun_async import AsyncClient, ConfigurationError, InvalidParameters, Polling
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, complete, error, raw, status
from cyberun_async.relay import Relay, RelayedStream
from cyberun_async.webhooks import WebhookEvent

# Fan-out


# On trio, too: the upstream is a system task there.
@pytest.mark.covering
async def test_many_readers_have_one_upstream() -> None:
    """Readers of one task are told the same, the late one from the beginning, over one upstream stream."""
    async with scene() as here:
        task_id = await here.task()
        early, also = here.relay.stream(task_id), here.relay.stream(task_id)
        assert names(await take(early, 1)) == names(await take(also, 1)) == ["status"]
        await here.server.clock.advance(2)
        seen = await take(early, 2)
        late = await take(here.relay.stream(task_id), 3)
        assert late[1:] == seen
        await here.server.clock.advance(2)
        assert (names(await rest(early)), names(await rest(also))) == (WHOLE[3:], WHOLE[1:])
        assert here.upstreams_of(task_id) == 1


async def test_events_are_the_services_own() -> None:
    """Name and data are what the service sent, an event that nobody knows included, but for `error`."""
    story = [
        status("running"),
        error(),
        raw(b'event: weather\ndata: {"sky":\ndata: "grey"}\n\n'),
        raw(b"event: tide\ndata: high\rdata: and low\n\n"),
        complete({"image_count": 1}),
    ]
    async with scene() as here:
        task_id = await here.task(status("pending"), after(1), *story)
        stream = here.relay.stream(task_id)
        first = await take(stream, 1)
        await here.server.clock.advance(1)
        told = first + await rest(stream)
        assert names(told) == ["status", "status", "weather", "tide", "completed"]
        assert (told[2].data, told[3].data) == ('{"sky":\n"grey"}', "high\nand low")
        assert json.loads(told[-1].data) | {"completed_at": ""} == {
            "task_id": task_id,
            "status": "completed",
            "output": {"image_count": 1},
            "completed_at": "",
        }


async def test_the_first_bytes_come_at_once() -> None:
    """Before anything is known of the task, the browser is told when to ask again, and the headers are out."""
    async with scene() as here:
        first = await anext(here.relay.stream("there-is-no-such-task"))
        assert first.startswith(b"retry: ")
        assert 1000 <= int(first.split()[1]) < 3000


# Coming again


async def test_a_reader_goes_on_where_it_was() -> None:
    """With the id that it had last, a browser is told what came since: nothing twice, and nothing lost."""
    async with scene() as here:
        task_id = await here.task()
        async with here.relay.stream(task_id) as stream:
            before = await take(stream, 1)
            await here.server.clock.advance(1)
            before += await take(stream, 1)
        await here.server.clock.advance(3)
        since = await rest(here.relay.stream(task_id, last_event_id=before[-1].id))
        assert names(before + since) == WHOLE
        assert here.upstreams_of(task_id) == 1


@table(
    "last",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("00000000-3", id="of another life"),
        pytest.param("{name}-", id="no number"),
        pytest.param("{name}-x", id="not a number"),
        pytest.param("{name}-1-1", id="two numbers"),
        pytest.param("{name}-" + "9" * 5000, id="larger than Python reads"),
    ],
)
async def test_an_id_from_elsewhere_starts_over(last: str | None) -> None:
    """An id that is none of ours is as good as none."""
    async with scene() as here:
        task_id = await here.task(status("running"))
        (first,) = await take(here.relay.stream(task_id), 1)
        last = last and last.format(name=first.id.partition("-")[0])
        assert await take(here.relay.stream(task_id, last_event_id=last), 1) == [first]


async def test_an_id_from_the_future_waits() -> None:
    """A number that has not come yet is nothing to fail on: the reader is told what comes after it."""
    async with scene() as here:
        task_id = await here.task()
        (first,) = await take(here.relay.stream(task_id), 1)
        ahead = here.relay.stream(task_id, last_event_id=first.id.replace("-1", "-3"))
        async with anyio.create_task_group() as group:
            told: list[Told] = []

            async def follow() -> None:
                told.extend(await rest(ahead))

            group.start_soon(follow)
            await here.server.clock.advance(4)
        assert names(told) == WHOLE[3:]


async def test_a_finished_task_is_told_again() -> None:
    """Whoever comes soon after the end is told the whole story, without another stream."""
    async with scene() as here:
        task_id = await here.task()
        stream = here.relay.stream(task_id)
        await take(stream, 1)
        await here.server.clock.advance(4)
        assert names(await rest(stream)) == WHOLE[1:]
        assert names(await rest(here.relay.stream(task_id))) == WHOLE
        assert (here.relay.upstreams, here.upstreams_of(task_id)) == (0, 1)


# Slow readers


async def test_a_slow_reader_slows_nobody() -> None:
    """One that takes nothing holds nobody up; what it missed beyond the memory is left out, the end is not."""
    async with scene(history=3) as here:
        task_id = await here.task()
        slow, quick = here.relay.stream(task_id), here.relay.stream(task_id)
        await take(slow, 1)
        told = await take(quick, 1)
        for _ in range(STEPS):
            await here.server.clock.advance(1)
            told += await take(quick, 1)
        assert names(told + await rest(quick)) == WHOLE
        assert names(await rest(slow)) == ["progress", "progress", "completed"]


async def test_silence_is_filled() -> None:
    """Where nothing happens, a comment comes now and then, so that proxies keep the connection."""
    async with scene(heartbeat=0.01) as here:
        stream = here.relay.stream(await here.task(status("running")))
        await take(stream, 1)
        assert [await anext(stream), await anext(stream)] == [KEEP_ALIVE, KEEP_ALIVE]


# Leaving


async def test_nothing_is_followed_for_nobody() -> None:
    """A stream that nobody begins to read follows nothing."""
    async with scene() as here:
        stream = here.relay.stream(await here.task())
        await stream.aclose()
        assert here.relay.upstreams == 0
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def _by_closing(stream: RelayedStream) -> None:
    await stream.aclose()
    await stream.aclose()


async def _by_cancelling(stream: RelayedStream) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(rest, stream)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


@table("leave", [_by_closing, _by_cancelling])
async def test_the_last_reader_takes_the_upstream_along(leave: Callable[[RelayedStream], object]) -> None:
    """The upstream stays while anyone reads, and is closed after the last has left, however that was."""
    async with scene(linger=0) as here:
        task_id = await here.task()
        one, other = here.relay.stream(task_id), here.relay.stream(task_id)
        await take(one, 1)
        await take(other, 1)
        await leave(one)  # type: ignore[misc]
        await here.server.clock.advance(1)
        assert names(await take(other, 1)) == ["progress"]
        assert (here.relay.upstreams, here.listeners()) == (1, 1)
        await leave(other)  # type: ignore[misc]
        await until(lambda: (here.relay.upstreams, here.listeners()) == (0, 0))


@table("thread", ["own", "another"])
async def test_a_reader_that_is_dropped_has_left(thread: str) -> None:
    """A stream that a framework was cut off from leaves when it is collected, in whichever thread that happens."""
    async with scene(linger=0) as here:
        streams = [here.relay.stream(await here.task())]
        await take(streams[0], 1)

        def drop() -> None:
            streams.clear()
            gc.collect()

        if thread == "own":
            drop()
        else:
            await anyio.to_thread.run_sync(drop)
        await until(lambda: (here.relay.upstreams, here.listeners()) == (0, 0))


def test_a_reader_may_be_dropped_after_the_loop() -> None:
    """Nothing is said where there is no loop any more."""
    left = []

    async def main() -> None:
        async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
            async with Relay(client) as relay:
                left.append(relay.stream("nothing"))
                await anext(left[0])

    anyio.run(main)
    left.clear()
    gc.collect()
    assert threading.current_thread() is threading.main_thread()


async def test_whoever_comes_back_soon_finds_the_stream() -> None:
    """A reload goes on with the upstream that is there; later ones begin another."""
    async with scene(linger=60) as here:
        task_id = await here.task()
        for _ in range(3):
            async with here.relay.stream(task_id) as stream:
                assert names(await take(stream, 1)) == ["status"]
        assert (here.relay.upstreams, here.upstreams_of(task_id)) == (1, 1)


async def test_one_who_comes_too_late_begins_another_stream() -> None:
    """A reader that arrives while the upstream is being closed is given a new one."""
    async with scene(linger=0) as here:
        task_id = await here.task()
        async with here.relay.stream(task_id) as stream:
            await take(stream, 1)
            (channel,) = here.relay._pool._running
            channel.scope.cancel()
            again = here.relay.stream(task_id)
            assert names(await take(again, 1)) == ["status"]
            assert await rest(stream) == []
        assert here.relay.upstreams == 1
        assert here.upstreams_of(task_id) == 2


async def test_closing_the_relay_ends_its_streams() -> None:
    """Readers come to an end without an event, so that browsers ask again; afterwards the relay takes nobody."""
    told: list[Told] = []
    async with anyio.create_task_group() as group, scene() as here:
        stream = here.relay.stream(await here.task())

        async def follow() -> None:
            told.extend(await take(stream, 1))
            told.extend(await rest(stream))
            ended.set()

        ended = anyio.Event()
        group.start_soon(follow)
        await until(lambda: len(told) == 1)
        await here.relay.__aexit__(None, None, None)
        await ended.wait()
        await until(lambda: here.listeners() == 0)
        with pytest.raises(ConfigurationError, match="not open"):
            here.relay.stream("x")
    assert names(told) == ["status"]


async def test_the_applications_error_stays_as_it_is() -> None:
    """What is raised inside comes out flat."""

    async def fail() -> None:
        async with scene() as here:
            await anext(here.relay.stream(await here.task()))
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fail()


# What cannot be followed


async def test_a_task_that_cannot_be_followed(caplog: pytest.LogCaptureFixture) -> None:
    """The reader is told by an event of our own, without the reason, which is logged; the next one tries anew."""
    async with scene() as here:
        task_id = "019abc12-9012-7890-abcd-ef1234567896"
        for count in (1, 2):
            (told,) = await rest(here.relay.stream(task_id))
            assert (told.name, json.loads(told.data)) == ("unavailable", {"task_id": task_id})
            assert caplog.text.count(f"task {task_id} cannot be followed") == count
        assert "Traceback" not in caplog.text
        assert here.relay.upstreams == 0


async def test_a_provider_that_fails_ends_one_task(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an application's own provider of tokens raises, the relay serves the others."""

    async def provide() -> str:
        raise LookupError("no token")

    async with (
        scene() as here,
        AsyncClient(
            provide,
            base_url=here.server.base_url,
            team_id=here.server.team_id,
            polling=Polling(interval=0.01, unavailable_timeout=0.05),
        ) as theirs,
    ):
        task_id = await here.task()
        assert names(await rest(here.relay.stream("x", client=theirs))) == ["unavailable"]
        assert "LookupError" in caplog.text
        assert names(await take(here.relay.stream(task_id), 1)) == ["status"]


async def test_users_with_keys_of_their_own() -> None:
    """A task is followed with the client that is named for it."""
    async with scene() as here:
        task_id = await here.task()
        async with AsyncClient(here.server.device_key, base_url=here.server.base_url) as theirs:
            async with here.relay.stream(task_id, client=theirs) as stream:
                await take(stream, 1)
            keys = {each.headers["authorization"] for each in here.server.requests if each.operation == "tasks.events"}
            await here.relay.__aexit__(None, None, None)
        assert keys == {f"Bearer {here.server.device_key}"}


NAN = float("nan")


@table(
    "options",
    [
        *({"heartbeat": value} for value in (0, -1, NAN, "15", True)),
        *({"history": value} for value in (0, -1, 1.5, "10", True)),
        *({"linger": value} for value in (-1, NAN, "5", None)),
    ],
    ids=str,
)
async def test_numbers_that_cannot_work(options: dict[str, float]) -> None:
    """They are refused when the relay is made."""
    async with AsyncClient("sk-0123456789abcdef") as client:
        with pytest.raises(ConfigurationError, match="must"):
            Relay(client, **options)  # type: ignore[arg-type]


async def test_ids_that_cannot_be_one() -> None:
    """They are refused before anything is streamed, so that the application can answer 404."""
    async with scene() as here:
        with pytest.raises(InvalidParameters):
            here.relay.stream("..")


async def test_arguments_of_another_kind() -> None:
    """They are refused with a word of what was expected, before anything is followed."""
    async with scene() as here:
        for arguments in ({"client": "sk-x"}, {"last_event_id": b"1"}, {"last_event_id": 1}):
            with pytest.raises(InvalidParameters, match="must be"):
                here.relay.stream("x", **arguments)
        for within in (-1, NAN, None, "5", True):
            with pytest.raises(ConfigurationError, match="within"):
                await here.relay.open("x", within=within)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="within"):
                await here.relay.drain(within)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="within"), here.relay.draining_on(within=within):  # type: ignore[arg-type]
                pass
        assert here.server.requests == ()


async def test_a_relay_that_was_never_opened() -> None:
    """It says what to do, and closing it is nothing."""
    async with AsyncClient("sk-0123456789abcdef") as client:
        relay = Relay(client)
        with pytest.raises(ConfigurationError, match="async with Relay"):
            relay.stream("x")
        await relay.__aexit__(None, None, None)


async def test_a_delivery_brings_news_where_no_stream_gets_through() -> None:
    """Readers are told of the end as soon as a webhook is handed to the client, and not at the next look."""
    async with scene() as here:
        here.server.faults.status(503, on="tasks.events", times=None)
        task_id = await here.task(status("running"), after(5), complete({}))
        stream = here.relay.stream(task_id)
        told = await take(stream, 1)
        await here.server.clock.advance(5)
        here.client.wake(WebhookEvent(event_type="task.completed", task_id=task_id, status="completed"))  # type: ignore[arg-type]
        assert names(told + await rest(stream)) == ["status", "completed"]


# The whole house


async def test_two_hundred_browsers_on_twenty_tasks() -> None:
    """Twenty upstream streams for two hundred browsers, each of which reconnects after every event and misses none.

    One in ten is so slow that it takes nothing until all is over.
    """
    async with scene() as here:
        tasks = [await here.task() for _ in range(20)]
        slow = [here.relay.stream(task_id) for task_id in tasks]
        for stream in slow:
            await anext(stream)
        told: list[list[Told]] = [[] for _ in range(180)]

        async def browse(number: int) -> None:
            last = told[number][-1].id if told[number] else None
            async with here.relay.stream(tasks[number % 20], last_event_id=last) as stream:
                told[number] += await take(stream, 1)

        async def all_browse() -> None:
            async with anyio.create_task_group() as group:
                for number in range(180):
                    group.start_soon(browse, number)

        await all_browse()
        for _ in range(STEPS):
            await here.server.clock.advance(1)
            await all_browse()
        await all_browse()

        assert {tuple(names(each)) for each in told} == {tuple(WHOLE)}
        assert {tuple(names(await rest(stream))) for stream in slow} == {tuple(WHOLE)}
        assert {here.upstreams_of(task_id) for task_id in tasks} == {1}
        assert here.relay.upstreams == 0
        await until(lambda: here.listeners() == 0)
