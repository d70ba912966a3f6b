"""Shutting a backend down: a relay that drains, by itself and on a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType

import anyio
import anyio.lowlevel
import httpx
import pytest
from support.relaying import names, rest, scene, take, until
from support.web import EXAMPLES

from cyberun_async._relay.signal_handlers import chained
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import status
from cyberun_async.relay import RelayedStream

HARMLESS = signal.SIGWINCH
"""A signal that does nothing by default."""


async def chunks_of(stream: RelayedStream) -> list[bytes]:
    """Take all that is left."""
    return [chunk async for chunk in stream]


# Draining


async def test_draining_lets_the_readers_go() -> None:
    """Their streams end with the time after which to reconnect, and the upstream is closed."""
    async with scene(linger=60) as here:
        stream = await here.relay.open(await here.task())
        told = await take(stream, 1)
        ends: list[bytes] = []

        async def read() -> None:
            ends.extend(await chunks_of(stream))

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await here.relay.drain()
        assert (names(told), [end.partition(b":")[0] for end in ends]) == (["status"], [b"retry"])
        assert here.relay.upstreams == 0
        await until(lambda: here.listeners() == 0)


async def test_a_relay_that_drains_lets_nobody_in() -> None:
    """A new stream is told when to reconnect, and nothing is followed for it; one that had not begun fares alike."""
    async with scene() as here:
        task_id = await here.task()
        early = here.relay.stream(task_id)
        await here.relay.drain()
        asked = len(here.server.requests)
        for stream in (early, here.relay.stream(task_id), await here.relay.open(task_id)):
            (only,) = await chunks_of(stream)
            assert only.startswith(b"retry: ")
        assert len(here.server.requests) == asked


async def test_draining_is_bounded() -> None:
    """A reader whose connection takes nothing is not waited for any longer than asked; afterwards it ends like others."""
    async with scene() as here:
        slow = await here.relay.open(await here.task())
        await take(slow, 1)
        await here.relay.drain(0.01)
        assert here.relay.upstreams == 0
        assert [chunk.partition(b":")[0] for chunk in await chunks_of(slow)] == [b"retry"]


async def test_readers_who_wait_to_be_let_in() -> None:
    """Whoever asks for a task of which nothing is known yet is told to reconnect."""
    async with scene() as here:
        task_id = await here.task()
        here.server.faults.status(503, on="tasks.*", times=None)
        streams = []

        async def ask() -> None:
            streams.append(await here.relay.open(task_id, within=3600))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await here.relay.drain(0)
        assert [chunk.partition(b":")[0] for chunk in await chunks_of(streams[0])] == [b"retry"]


async def test_closing_ends_draining() -> None:
    """A relay that is closed does not go on to wait for a slow reader."""
    async with scene() as here:
        slow = await here.relay.open(await here.task())
        async with anyio.create_task_group() as group:
            group.start_soon(here.relay.drain, 3600)
            await anyio.wait_all_tasks_blocked()
            await here.relay.aclose()
        assert names(await rest(slow)) == []


# Signals


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Have a handler for a harmless signal, and give what it notes."""
    notes: list[str] = []

    def handle(_: int, __: FrameType | None) -> None:
        notes.append("before")

    before = signal.signal(HARMLESS, handle)
    yield notes
    signal.signal(HARMLESS, before)


def test_handlers_are_chained(heard: list[str]) -> None:
    """The new one is called first, then the one that was there, which is back afterwards."""
    handler = signal.getsignal(HARMLESS)
    with chained([HARMLESS], lambda number, ends: heard.append(f"{number == HARMLESS} {ends}")):
        signal.raise_signal(HARMLESS)
    assert heard == ["True False", "before"]
    assert signal.getsignal(HARMLESS) is handler


def test_a_default_action_is_left_to_the_new_handler(heard: list[str]) -> None:
    """It is said that the process would have ended; a signal that is ignored stays ignored."""
    signal.signal(HARMLESS, signal.SIG_DFL)
    with chained([HARMLESS], lambda _, ends: heard.append(str(ends))):
        signal.raise_signal(HARMLESS)
    signal.signal(HARMLESS, signal.SIG_IGN)
    with chained([HARMLESS], lambda _, ends: heard.append(str(ends))):
        assert signal.getsignal(HARMLESS) is signal.SIG_IGN
    assert heard == ["True"]


def test_a_handler_that_came_later_stays(heard: list[str]) -> None:
    """What somebody else has set meanwhile is not taken away."""
    with chained([HARMLESS], lambda *_: None):
        signal.signal(HARMLESS, signal.SIG_DFL)
    assert signal.getsignal(HARMLESS) is signal.SIG_DFL
    assert heard == []


def test_in_other_threads_nothing_is_handled(heard: list[str]) -> None:
    """Python handles signals in its main thread only."""
    handler = signal.getsignal(HARMLESS)

    def work() -> None:
        with chained([HARMLESS], lambda *_: None):
            heard.append(str(signal.getsignal(HARMLESS) is handler))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == ["True"]


@pytest.mark.parametrize("handler", ["own", "default"])
async def test_it_drains_on_a_signal(handler: str, heard: list[str]) -> None:
    """The readers are let go at once; a default action comes once they have left, any other at its time."""
    if handler == "default":
        signal.signal(HARMLESS, signal.SIG_DFL)
    async with scene() as here:
        stream = await here.relay.open(await here.task(status("running")))
        await take(stream, 1)
        with here.relay.draining_on(HARMLESS):
            signal.raise_signal(HARMLESS)
            assert heard == (["before"] if handler == "own" else [])
            assert [chunk.partition(b":")[0] for chunk in await chunks_of(stream)] == [b"retry"]
            while here.relay.upstreams:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
        assert (signal.getsignal(HARMLESS) is signal.SIG_DFL) is (handler == "default")


# A server


AIOHTTP = """
import socket, sys
from aiohttp import web
from relay_aiohttp import app
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), handler_cancellation=True, print=None)
"""


def command_of(framework: str, fd: str) -> list[str]:
    """Give the command that serves an example on a socket that is open already."""
    if framework == "aiohttp":
        return [sys.executable, "-c", AIOHTTP, fd]
    return [sys.executable, "-m", "uvicorn", f"relay_{framework}:app", "--fd", fd]


def submit(server: LocalCyberun) -> str:
    """Submit a task that runs for ever."""
    server.script("text-to-image", [status("running")])
    url = f"{server.base_url}/r/workflows/slug/text-to-image/run"
    headers = {"Authorization": f"Bearer {server.api_key}"}
    answer = httpx.post(url, json={"parameters": {"prompt": "x"}}, headers=headers)
    server.clock.advance_blocking(0)
    return str(answer.raise_for_status().json()["task_id"])


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar", "aiohttp"])
def test_a_server_that_is_told_to_stop(framework: str) -> None:
    """On SIGTERM the browsers' streams end complete, and the process ends soon, without a complaint or a time limit."""
    with LocalCyberun(clock="held") as server, socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        url = f"{address}/tasks/{submit(server)}/events"
        account = {"CYBERUN_API_KEY": server.api_key, "CYBERUN_BASE_URL": server.base_url}
        process = stack.enter_context(
            subprocess.Popen(
                command_of(framework, str(listener.fileno())),
                cwd=EXAMPLES,
                env={**os.environ, **account},
                pass_fds=[listener.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        listener.close()
        browser = stack.enter_context(httpx.Client(timeout=15))
        try:
            bodies = [stack.enter_context(browser.stream("GET", url)).iter_text() for _ in range(3)]
            for body in bodies:
                assert "event: status" in "".join(takewhile_inclusive(body, "event: status"))
        finally:
            process.terminate()
        # One that is cut would be an error of httpx.
        assert ["retry: " in "".join(body) for body in bodies] == [True] * 3
        complaints = process.communicate(timeout=15)[1]
    assert ("Traceback" in complaints, "ERROR" in complaints) == (False, False)


def takewhile_inclusive(chunks: Iterator[str], until_text: str) -> Iterator[str]:
    """Take chunks up to the one that has a text."""
    for chunk in chunks:
        yield chunk
        if until_text in chunk:
            break
