"""Events passed on no faster than they may be told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import anyio
import pytest
from support.virtual import virtual

from cyberun_async import (
    AsyncClient,
    CompletedEvent,
    ConfigurationError,
    NotFoundError,
    ProgressEvent,
    RateLimiter,
    TaskEvent,
    text_bar,
    throttle,
)
from cyberun_async.local import LocalCyberun


def progress(part: float) -> ProgressEvent:
    """Make an event."""
    return ProgressEvent(task_id="t", progress=part)


async def test_only_the_latest_is_told() -> None:
    """What comes while nothing may be told is left out but for the latest, and the last event always comes."""
    told_first = anyio.Event()

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)
        await told_first.wait()
        for part in (0.2, 0.3, 0.4):
            yield progress(part)
        yield CompletedEvent(task_id="t")

    got = []
    async with throttle(events(), 0.01) as updates:
        async for event in updates:
            got.append(event)
            told_first.set()
            await anyio.wait_all_tasks_blocked()
    assert got == [progress(0.1), CompletedEvent(task_id="t")]


async def test_never_two_within_the_interval() -> None:
    """An update waits until the interval since the last one is over."""
    came = anyio.Event()

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)
        await came.wait()
        yield progress(0.2)

    async with throttle(events(), 3600) as updates:
        assert await anext(updates) == progress(0.1)
        came.set()
        with anyio.move_on_after(0.01) as scope:
            await anext(updates)
    assert scope.cancelled_caught


async def test_the_end_needs_no_turn() -> None:
    """Nobody is told that there is no more, so it does not wait for the interval."""

    async def events() -> AsyncIterator[TaskEvent]:
        yield CompletedEvent(task_id="t")

    async with throttle(events(), 3600) as updates:
        assert [event async for event in updates] == [CompletedEvent(task_id="t")]


async def test_what_shares_a_limiter_shares_its_turns() -> None:
    """Of two tasks with one limiter only one is told of, and the other one waits, as what asks for a turn itself does."""

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)

    limiter = RateLimiter(3600)
    told = []

    async def tell() -> None:
        async with throttle(events(), limiter) as updates:
            told.append(await anext(updates))

    async def ask() -> None:
        await limiter.acquire()
        told.append(progress(0.2))

    async with anyio.create_task_group() as group:
        group.start_soon(tell)
        group.start_soon(tell)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert told == [progress(0.1)]


@virtual
@pytest.mark.parametrize(
    ("held", "granted"),
    [
        pytest.param(0, [10, 20], id="no hold"),
        pytest.param(30, [31, 41], id="a long one"),
        pytest.param(2, [10, 20], id="one that is over before"),
    ],
)
async def test_a_hold(held: float, granted: list[float]) -> None:
    """A hold counts from now, also for those who stand in line already, and never shortens their wait."""
    start = anyio.current_time()
    limiter = RateLimiter(10)
    await limiter.acquire()
    got = []

    async def ask() -> None:
        await limiter.acquire()
        got.append(anyio.current_time() - start)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
        await anyio.sleep(1)
        limiter.hold(held)
    assert got == pytest.approx(granted)


@virtual
@pytest.mark.parametrize("latency", [1, 5, 30])
async def test_turns_are_counted_from_the_end_of_a_call(latency: float) -> None:
    """However long a call takes, the next one begins an interval after its end, whoever makes it."""
    limiter = RateLimiter(10)
    calls: list[tuple[float, float]] = []

    async def take_time() -> None:
        began = anyio.current_time()
        await anyio.sleep(latency)
        calls.append((began, anyio.current_time()))

    async def call() -> None:
        async with limiter:
            await take_time()

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)
        await anyio.sleep_forever()

    async def tell() -> None:
        async with throttle(events(), limiter) as updates:
            await anext(updates)
            await take_time()

    async with anyio.create_task_group() as group:
        for work in (call, tell, call, tell):
            group.start_soon(work)
            await anyio.sleep(0.1)
    assert [later[0] - earlier[1] for earlier, later in pairwise(calls)] == pytest.approx([10, 10, 10])


@virtual
async def test_a_turn_within_a_turn() -> None:
    """Whoever has a turn may take another, after the interval: it does not wait for itself."""
    start = anyio.current_time()
    limiter = RateLimiter(10)
    got = []

    def note() -> None:
        got.append(anyio.current_time() - start)

    async def work() -> None:
        async with limiter:
            note()
            await limiter.acquire()
            note()
            async with limiter:
                note()

    async def wait() -> None:
        async with limiter:
            note()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.sleep(1)
        group.start_soon(wait)
    assert got == pytest.approx([0, 10, 20, 30])


@virtual
async def test_a_turn_that_is_interrupted_is_given_back() -> None:
    """A call that fails or is cancelled ends its turn, and one that waits for it takes none along."""
    limiter = RateLimiter(10)

    async def fail() -> None:
        async with limiter:
            raise LookupError("mine")

    with pytest.raises(LookupError):
        await fail()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with limiter:
            pytest.fail("it had no turn")
    await limiter.acquire()
    assert limiter._holder is None


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), float("-inf"), "7", None, True])
async def test_a_hold_that_cannot_be(seconds: float) -> None:
    """It is refused instead of being ignored, or holding for ever."""
    limiter = RateLimiter(10)
    with pytest.raises(ConfigurationError, match="seconds"):
        limiter.hold(seconds)
    await limiter.acquire()


async def test_failures_come_flat() -> None:
    """What the events raise is raised where the updates are read."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        async with throttle(client.events("00000000-0000-0000-0000-000000000000"), 0.01) as updates:
            with pytest.raises(NotFoundError):
                await anext(updates)


@pytest.mark.parametrize("error", [KeyError("a bot's own"), KeyboardInterrupt()], ids=["an exception", "an interrupt"])
async def test_what_is_raised_inside_comes_out_as_it_is(error: BaseException) -> None:
    """A bot's own exception, such as its platform's 429, comes in no exception group."""

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)
        await anyio.sleep_forever()

    async def follow() -> None:
        async with throttle(events(), 1) as updates:
            await anext(updates)
            raise error

    with pytest.raises(type(error)) as caught:
        await follow()
    assert caught.value is error


async def test_a_whole_task() -> None:
    """A task's updates end with its end, and leaving early closes its stream."""
    async with LocalCyberun(pace=0.001) as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        for early in (False, True):
            task_id = await client.submit("text-to-image", {"prompt": "x", "width": 64, "height": 64})
            async with throttle(client.events(task_id), 0.001) as updates:
                ends = []
                async for event in updates:
                    ends.append(event.is_terminal)
                    if early:
                        break
            assert early or ends[-1]


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), "1", True])
def test_an_interval_that_cannot_be(interval: float) -> None:
    """An interval is above zero."""

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)

    for refuse in (lambda: throttle(events(), interval), lambda: RateLimiter(interval)):
        with pytest.raises(ConfigurationError, match="interval"):
            refuse()


async def test_it_needs_async_with() -> None:
    """Reading without `async with` is refused, saying what to do."""

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)

    with pytest.raises(ConfigurationError, match="async with"):
        await anext(throttle(events(), 1))


@pytest.mark.parametrize(
    ("part", "bar"),
    [
        (None, "▱▱▱▱▱ 0 %"),
        (0.0, "▱▱▱▱▱ 0 %"),
        (0.35, "▰▱▱▱▱ 35 %"),
        (1.0, "▰▰▰▰▰ 100 %"),
        (7.0, "▰▰▰▰▰ 100 %"),
        (-1.0, "▱▱▱▱▱ 0 %"),
    ],
)
def test_text_bar(part: float | None, bar: str) -> None:
    """A bar is as full as the task is far, and never more than full."""
    assert text_bar(part, 5) == bar


async def test_events_that_are_no_generator() -> None:
    """Events may come from anything that can be iterated over, such as a stream between two tasks."""
    send, receive = anyio.create_memory_object_stream[TaskEvent](1)
    async with send, receive, throttle(receive, 0.001) as updates:
        await send.send(CompletedEvent(task_id="t"))
        await send.aclose()
        assert [event async for event in updates] == [CompletedEvent(task_id="t")]


async def test_what_was_left_stays_left() -> None:
    """Updates can be left before their block ends, and give no more; leaving them again is nothing."""

    async def events() -> AsyncIterator[TaskEvent]:
        yield progress(0.1)

    async with throttle(events(), 1) as updates:
        await updates.__aexit__(None, None, None)
        with pytest.raises(ConfigurationError, match="async with"):
            await anext(updates)
