"""The relay in each framework that the documentation shows, over HTTP."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web
from support.web import load_example, serving
from web.conftest import until

from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, complete, progress, status
from cyberun_async.relay import Relay

STORY = [status("running"), after(1), progress(1, 2), after(1), progress(2, 2), complete({})]


@contextmanager
def serving_aiohttp(app: web.Application) -> Iterator[str]:
    """Serve an application of aiohttp on a loop and a thread of its own, as `web.run_app` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()], name="web-application")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def submit(server: LocalCyberun) -> str:
    """Submit a task, without the SDK's client."""
    server.script("text-to-image", STORY)
    answer = httpx.post(
        f"{server.base_url}/r/workflows/slug/text-to-image/run",
        json={"parameters": {"prompt": "x"}},
        headers={"Authorization": f"Bearer {server.api_key}"},
    )
    server.clock.advance_blocking(0)
    task_id: str = answer.raise_for_status().json()["task_id"]
    return task_id


def told(lines: Iterator[str], until_name: str) -> list[tuple[str, str]]:
    """Read ids and names, up to an event."""
    seen, number = [], ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            number = value
        elif field == "event":
            seen.append((number, value))
        elif not line and seen and seen[-1][1] == until_name:
            break
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar", "aiohttp"])
def test_a_framework(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headers are right, a browser goes on where it was, and nothing is left when the last one has gone."""
    monkeypatch.setitem(Relay.__init__.__kwdefaults__, "linger", 0.0)
    with LocalCyberun(clock="held") as server:
        monkeypatch.setenv("CYBERUN_API_KEY", server.api_key)
        monkeypatch.setenv("CYBERUN_BASE_URL", server.base_url)
        app: Any = load_example(f"relay_{framework}.py").app
        serve = serving_aiohttp if framework == "aiohttp" else serving
        with serve(app) as address, httpx.Client(base_url=address, timeout=15) as browser:
            assert browser.get("/tasks/019abc12-9012-7890-abcd-ef1234567896/events").status_code == 404
            url = f"/tasks/{submit(server)}/events"
            with browser.stream("GET", url) as answer:
                lines = answer.iter_lines()
                first = told(lines, "status")
                server.clock.advance_blocking(1)
                first += told(lines, "progress")
                with browser.stream("GET", url, headers={"Last-Event-ID": first[-1][0]}) as again:
                    server.clock.advance_blocking(1)
                    rest = told(again.iter_lines(), "completed")
            assert answer.headers.get_list("content-type") == ["text/event-stream; charset=utf-8"]
            assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
            assert [name for _, name in first + rest] == ["status", "progress", "progress", "completed"]

            url = f"/tasks/{submit(server)}/events"
            with browser.stream("GET", url) as answer:
                lines = answer.iter_lines()  # Which closes the connection where nothing refers to it any more.
                told(lines, "status")
                until(lambda: listeners(server) == 1)
            until(lambda: listeners(server) == 0)


def listeners(server: LocalCyberun) -> int:
    """Count the streams that are open at Cyberun."""
    return sum(len(task.listeners) for task in server._scheduler.tasks.values())
