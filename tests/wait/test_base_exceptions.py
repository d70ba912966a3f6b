"""What ends a program ends it flat: `sys.exit(3)` is exit code 3, Ctrl-C is a `KeyboardInterrupt`, and never a group."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
import pytest
import sniffio
import trio
from support.scripted import SSE_HEAD, TASK, Remote, Scripted, answer, hold, status_event
from support.tables import table
from support.virtual import network, run_virtually

from cyberun_async import AsyncClient, Limits, TaskEvent, throttle
from cyberun_async._concurrency import (
    FlatTaskGroup,
    Flight,
    run_all,
    run_in_child_task,
    run_shielded,
    shield_with_grace,
)

Way = Callable[[AsyncClient], Awaitable[object]]


class Stop(BaseException):
    """What a framework may stop a task with, beside the two that Python has."""


ENDS = [
    pytest.param(SystemExit(3), id="SystemExit"),
    pytest.param(KeyboardInterrupt(), id="KeyboardInterrupt"),
    pytest.param(Stop(), id="another one"),
]


@asynccontextmanager
async def client_of(api_key: Any = "sk-test", *, streams: int = 9) -> AsyncIterator[tuple[Scripted, AsyncClient]]:
    """Open a client of a server that has one running task."""
    server = Scripted()
    team = {"team_id": "019abc12-4567-7890-abcd-ef1234567891"} if callable(api_key) else {}
    async with network(server):
        Remote("running").on(server)
        server.on("events", hold(SSE_HEAD + status_event("running")))
        server.on("run", answer(202, {"task_id": TASK}))
        limits = Limits(max_streams=streams)
        async with AsyncClient(api_key, base_url=server.base_url, limits=limits, **team) as client:
            yield server, client


async def into(seen: list[BaseException], work: Callable[[], Awaitable[object]]) -> None:
    """Keep what something raises."""
    try:
        await work()
    except BaseException as error:  # noqa: BLE001 - it is what these tests are about
        seen.append(error)


def run_on(loop: str, main: Callable[[], Awaitable[None]]) -> None:
    """Run a program."""
    run_virtually(loop, lambda _: main())


async def wait(client: AsyncClient, **options: Any) -> None:
    await client.wait_for_result(TASK, **options)


async def wait_beside_a_signal(client: AsyncClient, **options: Any) -> None:
    await client.wait_for_result(TASK, signal=anyio.sleep_forever, **options)


async def run(client: AsyncClient, **options: Any) -> None:
    await client.run("demo", validate=False, **options)


@table("loop", ["asyncio", "trio"])
@table("streams", [0, 9])
@table("way", [wait, wait_beside_a_signal, run])
@table("end", ENDS)
def test_from_a_callback(end: BaseException, way: Callable[..., Awaitable[None]], streams: int, loop: str) -> None:
    """What `on_event` raises comes out as it is."""

    def callback(_: TaskEvent) -> None:
        raise end

    seen: list[BaseException] = []

    async def main() -> None:
        async with client_of(streams=streams) as (_, client):
            await into(seen, lambda: way(client, on_event=callback))

    run_on(loop, main)
    assert seen == [end]


@table("loop", ["asyncio", "trio"])
@table("at", [1, 2, 3])
@table("way", [wait, wait_beside_a_signal])
@table("end", ENDS)
def test_from_a_provider(end: BaseException, way: Callable[..., Awaitable[None]], at: int, loop: str) -> None:
    """Whichever request the token was for, what a provider raises comes out as it is."""
    calls = 0

    async def provide() -> str:
        nonlocal calls
        calls += 1
        if calls == at:
            raise end
        return "eyJ.a.b"

    seen: list[BaseException] = []

    async def main() -> None:
        async with client_of(provide) as (_, client):
            await into(seen, lambda: way(client))

    run_on(loop, main)
    assert seen == [end]


@table("loop", ["asyncio", "trio"])
@table("end", ENDS)
def test_from_a_signal(end: BaseException, loop: str) -> None:
    """What a signal raises ends the wait, unless it is an `Exception`."""

    async def signal() -> None:
        raise end

    seen: list[BaseException] = []

    async def main() -> None:
        async with client_of() as (_, client):
            await into(seen, lambda: client.wait_for_result(TASK, signal=signal))

    run_on(loop, main)
    assert seen == [end]


@table("loop", ["asyncio", "trio"])
@table("end", ENDS)
def test_from_a_batch(end: BaseException, loop: str) -> None:
    """What an item's `on_event` raises ends the batch."""

    def callback(_: TaskEvent) -> None:
        raise end

    seen: list[BaseException] = []

    async def main() -> None:
        async with client_of() as (_, client):
            await into(seen, lambda: client.map("demo", [{}, {}, {}], on_event=callback, validate=False).gather())

    run_on(loop, main)
    assert seen == [end]


@table("loop", ["asyncio", "trio"])
@table("end", ENDS)
def test_from_what_is_throttled(end: BaseException, loop: str) -> None:
    """What the events raise comes out of the updates as it is."""

    async def events() -> AsyncIterator[TaskEvent]:
        raise end
        yield

    seen: list[BaseException] = []

    async def main() -> None:
        async def take() -> None:
            async with throttle(events(), 1.0) as updates:
                async for _ in updates:
                    pass

        await into(seen, take)

    run_on(loop, main)
    assert seen == [end]


# The group itself


@table("loop", ["asyncio", "trio"])
@table("end", [*ENDS, pytest.param(OSError(), id="OSError")])
@table("where", ["body", "child", "both", "run_in_child_task", "finish", "shield_with_grace", "run_all"])
def test_a_flat_group(where: str, end: BaseException, loop: str) -> None:
    """The first failure cancels the rest, and is raised as it is."""
    others: list[str] = []
    seen: list[BaseException] = []

    async def fail() -> None:
        raise end

    async def wait_for_ever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            others.append("cancelled")

    async def main() -> None:
        if where in {"run_in_child_task", "finish", "shield_with_grace", "run_all"}:
            await {
                "run_in_child_task": lambda: run_in_child_task(fail),
                "finish": lambda: run_shielded(fail, within=1),
                "shield_with_grace": lambda: shield_with_grace(fail, Flight(), within=1),
                "run_all": lambda: run_all(wait_for_ever, fail),
            }[where]()
        async with FlatTaskGroup() as group:
            group.start_soon(wait_for_ever)
            await anyio.lowlevel.checkpoint()
            if where != "body":
                group.start_soon(fail)
            if where != "child":
                raise end
            await anyio.sleep_forever()

    run_on(loop, lambda: into(seen, main))
    assert seen == [end]
    assert len(others) == (where not in {"run_in_child_task", "finish", "shield_with_grace"})


@table("loop", ["asyncio", "trio"])
def test_a_flat_group_that_is_cancelled(loop: str) -> None:
    """A cancellation passes through as one."""
    scopes: list[anyio.CancelScope] = []

    async def main() -> None:
        with anyio.move_on_after(1) as scope:
            scopes.append(scope)
            async with FlatTaskGroup() as group:
                group.start_soon(anyio.sleep_forever)
                await anyio.sleep_forever()

    run_on(loop, main)
    assert scopes[0].cancelled_caught


@table("children", [1, 2])
def test_trios_own_groups_of_cancellations(children: int) -> None:
    """What trio makes of several cancellations is one, for the scope that they are from."""
    seen: list[BaseException] = []
    scopes: list[anyio.CancelScope] = []

    async def main() -> None:
        with anyio.move_on_after(1) as scope:
            scopes.append(scope)
            async with FlatTaskGroup() as group:
                group.start_soon(anyio.sleep_forever)
                async with trio.open_nursery() as nursery:
                    for _ in range(children):
                        nursery.start_soon(trio.sleep_forever)

    run_on("trio", lambda: into(seen, main))
    assert not seen
    assert scopes[0].cancelled_caught


INTERRUPTED = KeyboardInterrupt if sys.version_info >= (3, 11) else asyncio.CancelledError
"""What `anyio.run()` raises on asyncio after Ctrl-C: before `Task.uncancel()` it could not tell whose the cancellation was."""


@table("loop", ["asyncio", "trio"])
def test_a_child_that_fails_while_the_group_is_left(loop: str) -> None:
    """Ctrl-C at the end of a group, where trio has neither body nor child for it, comes out flat."""
    seen: list[BaseException] = []

    async def program() -> None:
        async with FlatTaskGroup() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(anyio.sleep_forever)
            interrupt()

    async def main() -> None:
        await into(seen, program)
        if loop == "asyncio":
            raise seen[0]

    with pytest.raises(INTERRUPTED) if loop == "asyncio" else nullcontext():
        run_on(loop, main)
    assert isinstance(seen[0], KeyboardInterrupt if loop == "trio" else asyncio.CancelledError)


# Ctrl-C


def interrupt() -> None:
    """Press Ctrl-C as soon as nothing of the program runs, as it is nearly always."""
    if sniffio.current_async_library() == "trio":
        trio.lowlevel.current_trio_token().run_sync_soon(signal.raise_signal, signal.SIGINT)
    else:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)


@table("loop", ["asyncio", "trio"])
@table("policy", ["leave", "cancel"])
@table("streams", [0, 9])
@table("way", [wait, wait_beside_a_signal, run])
def test_ctrl_c(way: Callable[..., Awaitable[None]], streams: int, policy: str, loop: str) -> None:
    """On both loops it honours `on_cancel`, and comes out as a `KeyboardInterrupt`."""
    seen: list[BaseException] = []
    servers: list[Scripted] = []

    async def main() -> None:
        async with client_of(streams=streams) as (server, client):
            servers.append(server)

            async def press() -> None:
                await anyio.sleep(1.5)
                interrupt()
                await anyio.sleep_forever()

            async def program() -> None:
                async with FlatTaskGroup() as group:
                    group.start_soon(press)
                    await into(seen, lambda: way(client, on_cancel=policy))
                    group.cancel_scope.cancel()
                    if loop == "asyncio":
                        raise seen[0]

            await program()

    with pytest.raises(INTERRUPTED) if loop == "asyncio" else nullcontext():
        run_on(loop, main)
    assert isinstance(seen[0], KeyboardInterrupt if loop == "trio" else asyncio.CancelledError)
    assert servers[0].kinds().count("cancel") == (policy == "cancel")


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_exit_codes(loop: str) -> None:
    """`sys.exit(3)` in a callback is exit code 3, without a traceback."""
    program = f"""
import sys, anyio
from cyberun_async import AsyncClient
from cyberun_async.local import LocalCyberun

async def main():
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        await client.run("text-to-image", {{"prompt": "x"}}, on_event=lambda _: sys.exit(3))

anyio.run(main, backend="{loop}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)

    assert (done.returncode, done.stderr) == (3, "")


@table("where", ["body", "child", "both"])
@table("inner", [True, False], ids=["its own scope", "a scope around it"])
def test_a_cancellation_in_a_group(where: str, inner: bool) -> None:
    """A nursery of trio's own hands a cancellation on in a group, as `open_tcp_stream` does; it is one all the same."""

    async def several() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with FlatTaskGroup() as group:
                (group.cancel_scope if inner else scope).deadline = trio.current_time() + 0.01
                if where != "body":
                    group.start_soon(several)
                await (anyio.sleep_forever() if where == "child" else several())
        assert scope.cancelled_caught == (not inner)

    trio.run(main)
