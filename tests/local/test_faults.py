"""Each fault, seen from a plain HTTP client."""

from __future__ import annotations

import json

import httpx
import pytest
from local.test_fields import submit

from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, complete, progress, status


@pytest.fixture
async def task_id(server: LocalCyberun, http: httpx.AsyncClient) -> str:
    """Have a finished task."""
    server.script("text-to-image", [status("running"), progress(1, 2), complete({"n": 1})])
    made = await submit(http, "text-to-image", prompt="x")
    await server.clock.advance(0)
    return made


async def test_aims(server: LocalCyberun, http: httpx.AsyncClient, task_id: str) -> None:
    """A fault strikes the calls, the task and the number of requests that it is aimed at, and is recorded."""
    server.faults.status(503, on="tasks.*", times=2, after=1, task_id=task_id, headers={"Retry-After": "7"})
    assert (await http.get("r/agents")).status_code == 200
    statuses = [(await http.get(f"r/tasks/{task_id}")).status_code for _ in range(4)]
    assert statuses == [200, 503, 503, 200]
    assert [(name, exchange.operation, exchange.status) for name, exchange in server.faults.fired] == [
        ("status", "tasks.get", 503)
    ] * 2
    server.faults.status(500, times=None)
    assert (await http.get("r/agents")).status_code == 500
    server.faults.clear()
    assert (await http.get("r/agents")).status_code == 200


async def test_probability_is_repeatable(http: httpx.AsyncClient) -> None:
    """A fault with a probability strikes the same requests in every run with the same seed."""
    runs = []
    for _ in range(2):
        async with LocalCyberun(seed=7) as server:
            server.faults.status(500, times=None, probability=0.5)
            url = f"{server.base_url}/r/agents"
            headers = {"Authorization": f"Bearer {server.api_key}"}
            runs.append([(await http.get(url, headers=headers)).status_code for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize("at", ["start", "head", "headers", "body"])
async def test_resets(server: LocalCyberun, http: httpx.AsyncClient, task_id: str, at: str) -> None:
    """A connection can be cut at each stage of a reply, and the next one works."""
    server.faults.reset(at)  # type: ignore[arg-type]
    with pytest.raises(httpx.TransportError):
        await http.get(f"r/tasks/{task_id}")
    assert (await http.get(f"r/tasks/{task_id}")).status_code == 200


async def test_a_lost_reply_has_been_acted_on(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A submission whose reply is lost has made a task."""
    server.faults.lose_reply(on="workflows.run")
    with pytest.raises(httpx.TransportError):
        await submit(http, "text-to-image", prompt="x")
    assert (await http.get("r/tasks")).json()["page_meta"]["total_count"] == 1


async def test_broken_bodies(server: LocalCyberun, http: httpx.AsyncClient, task_id: str) -> None:
    """A body can be cut, short, too large, not JSON, of another type, or come drop by drop."""
    path = f"r/tasks/{task_id}"
    whole = (await http.get(path)).content
    server.faults.truncate(5)
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(path)
    server.faults.short(5)
    assert (await http.get(path)).content == whole[:5]
    server.faults.oversize(1000)
    assert len((await http.get(path)).json()["padding"]) == 1000
    server.faults.malformed()
    assert (await http.get(path)).text == '{"id": '
    server.faults.content_type("text/html")
    assert (await http.get(path)).headers["content-type"] == "text/html"
    server.faults.trickle(size=100, every=0.0)
    assert (await http.get(path)).content == whole
    server.faults.latency(0.0)
    assert (await http.get(path)).content == whole


async def test_what_tasks_say(server: LocalCyberun, http: httpx.AsyncClient, task_id: str) -> None:
    """A status can be a word that nobody knows, fields can be new, and a result can lag behind."""
    server.faults.unknown_status("hibernating", times=2)
    assert (await http.get(f"r/tasks/{task_id}")).json()["task_status"] == "hibernating"
    assert (await http.get("r/tasks")).json()["task_list"][0]["task_status"] == "hibernating"
    server.faults.unknown_fields()
    assert "x_new_field" in (await http.get(f"r/tasks/{task_id}")).json()
    server.faults.lagging_result()
    assert (await http.get(f"r/tasks/{task_id}/result")).json()["task_status"] == "running"
    assert (await http.get(f"r/tasks/{task_id}/result")).json()["task_status"] == "completed"


async def test_dead_links(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A link can be dead on arrival, and the storage can refuse a good one."""
    task_id = await submit(http, "text-to-image", prompt="x", width=64, height=64)
    await server.clock.advance(60)
    server.faults.link_lifetime(0)
    links = [(await http.get(f"r/tasks/{task_id}/result")).json()["download_url"] for _ in range(2)]
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False)) as storage:
        assert [(await storage.get(link)).status_code for link in links] == [403, 200]
        server.faults.status(500, on="storage.get")
        assert (await storage.get(links[1])).status_code == 500


async def stream(server: LocalCyberun, http: httpx.AsyncClient, *, expect_break: bool = False) -> str:
    """Read the stream of a new task to its end."""
    server.script("text-to-image", [after(1), status("running"), progress(1, 2), progress(2, 2), complete({"n": 1})])
    task_id = await submit(http, "text-to-image", prompt="x")
    text = b""
    try:
        async with http.stream("GET", f"r/tasks/{task_id}/events") as response:
            await server.clock.advance(1)
            async for chunk in response.aiter_raw():
                text += chunk
    except httpx.TransportError:
        assert expect_break
    return text.decode()


def names_in(text: str) -> list[str]:
    """Give the names of the events in a stream."""
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


async def test_streams_that_break(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A stream ends after the number of bytes that was asked for, by a reset or politely."""
    for how in ("reset", "close"):
        server.faults.cut_stream(after=20, how=how)  # type: ignore[arg-type]
        assert len(await stream(server, http, expect_break=True)) == 20


async def test_streams_that_say_nothing(server: LocalCyberun, http: httpx.AsyncClient, task_id: str) -> None:
    """A stream can open and be silent, or send nothing but heartbeats."""
    server.faults.heartbeats(every=0.001)
    async with http.stream("GET", f"r/tasks/{task_id}/events") as response:
        assert (await anext(response.aiter_raw())).startswith(b": keep-alive\n\n")
    server.faults.silent_stream()
    async with http.stream("GET", f"r/tasks/{task_id}/events", timeout=0.05) as response:
        with pytest.raises(httpx.ReadTimeout):
            await response.aread()


async def test_streams_that_tell_it_differently(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Events can come twice, out of order, or with another end than the true one."""
    true = names_in(await stream(server, http))
    server.faults.duplicate_events()
    assert names_in(await stream(server, http)) == [name for name in true for _ in range(2)]
    server.faults.reorder_events()
    reordered = await stream(server, http)
    assert sorted(names_in(reordered)) == sorted(true)
    assert reordered.index('"step_current":2') < reordered.index('"step_current":1')
    server.faults.conflicting_end("cancelled")
    assert names_in(await stream(server, http))[-1] == "cancelled"


async def test_requests_are_recorded(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """What was received can be asserted: the call, its path as sent, its body and what was answered."""
    await http.get("r/tasks/a%2Fb")
    await submit(http, "text-to-image", prompt="x")
    missing, run = server.requests
    assert (missing.operation, missing.path, missing.status) == ("tasks.get", "/api/v1/r/tasks/a%2Fb", 404)
    assert (run.operation, run.status, json.loads(run.body)) == ("workflows.run", 202, {"parameters": {"prompt": "x"}})
