"""The reprs of what has a state: readable, and without a secret."""

from __future__ import annotations

import re

from support.tables import table

from cyberun_async import AsyncClient, RateLimiter, StatusEvent, TaskStatus, throttle
from cyberun_async._relay.channel import Channel
from cyberun_async._relay.shared_wait import SharedFollower
from cyberun_async._resources.submitting import Definitions
from cyberun_async.relay import Relay

URL = "https://x/api/v1"


def test_parts_of_a_client() -> None:
    """Each shows where it sends to, or whether there is anything open."""
    core = AsyncClient("sk-secret-key", base_url=URL)._core
    shown = [repr(each) for each in (core, core.batches, core.files, core.preparer, core.preparer._definitions)]
    assert shown == [
        f"<ClientCore of {URL}>",
        f"<Batches of {URL}>",
        "<FileTransfers without connections>",
        "<SubmissionPreparer with <Definitions of no workflow>>",
        "<Definitions of no workflow>",
    ]


def test_definitions() -> None:
    """They show which workflows are cached."""
    definitions = Definitions(AsyncClient("sk-1", base_url=URL)._core.transport)
    definitions._remembered.update(demo=(), other=())
    assert repr(definitions) == "<Definitions of demo, other>"


async def test_rate_limiter() -> None:
    """It shows its interval, and whether a turn is taken."""
    limiter = RateLimiter(1.5)
    assert repr(limiter) == "<RateLimiter of 1.5 s, free>"
    async with limiter:
        assert repr(limiter) == "<RateLimiter of 1.5 s, taken>"


async def test_throttle() -> None:
    """It shows whether there is an update."""

    async def events():  # type: ignore[no-untyped-def]
        yield StatusEvent(task_id="t", status=TaskStatus.RUNNING)

    updates = throttle(events(), RateLimiter(0.001))
    assert repr(updates).endswith("by <RateLimiter of 0.001 s, free>: no update>")
    updates._latest = StatusEvent(task_id="t", status=TaskStatus.RUNNING)
    assert repr(updates).endswith(": an update>")
    updates._latest = None
    async with updates:
        async for _ in updates:
            pass
        assert repr(updates).endswith(": over>")


async def test_relay() -> None:
    """A relay's parts show how many read, and how far they are."""
    client = AsyncClient("sk-1", base_url=URL)
    relay = Relay(client)
    pool = relay._pool
    assert repr(pool) == "<ChannelPool closed: 0 tasks, 0 readers>"
    async with relay:
        assert repr(pool) == "<ChannelPool open: 0 tasks, 0 readers>"
        assert repr(pool.loop) == "<LoopHandle with 0 tasks>"
        stream = relay.stream("t-1")
        assert repr(stream) == "<RelayedStream of task t-1 open: at event 0>"
        await stream.aclose()
        assert repr(stream) == "<RelayedStream of task t-1 over: at event 0>"
        await relay.drain()
        assert repr(pool) == "<ChannelPool draining: 0 tasks, 0 readers>"
    assert repr(SharedFollower(pool, client, client._core.follow("t-1"))).startswith(
        "<SharedFollower by <TaskFollower of task t-1"
    )


@table("is_over", [False, True])
async def test_channel(is_over: bool) -> None:
    """It shows its events and its readers."""
    channel = Channel(10, 1.0)
    channel.join(AsyncClient("sk-1", base_url=URL))
    channel.publish(StatusEvent(task_id="t", status=TaskStatus.RUNNING))
    if is_over:
        channel.end()
    state = "over" if is_over else "open"
    assert re.fullmatch(rf"<Channel [0-9a-f]{{8}} {state}: 1 events, 1 readers>", repr(channel))
