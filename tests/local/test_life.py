"""Clocks, scripts, workflows of one's own, and the stream of a task."""

from __future__ import annotations

import hashlib
import threading

import httpx
import pytest
from local.test_fields import submit

from cyberun_async.local import Job, LocalCyberun, LocalParameter, LocalWorkflow, Output
from cyberun_async.local.scripts import after, cancel, complete, error, event, fail, progress, raw, status


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Ask on both loops: the clock, and the server as a context, are awaited in the one that asks."""
    backend: str = request.param
    return backend


async def events_of(http: httpx.AsyncClient, task_id: str) -> str:
    """Read a finished task's stream."""
    return (await http.get(f"r/tasks/{task_id}/events")).text


async def test_a_held_clock_lets_an_hour_pass_at_once(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Nothing happens until the clock is moved, and then everything that is due has happened."""
    server.script("text-to-image", [status("waiting"), after(3600), complete({"done": True})])
    task_id = await submit(http, "text-to-image", prompt="x")
    await server.clock.advance(3599)
    assert (await http.get(f"r/tasks/{task_id}")).json()["task_status"] == "waiting"
    await server.clock.advance(1)
    assert (await http.get(f"r/tasks/{task_id}/result")).json()["task_output"] == {"done": True}


async def test_a_script_is_told_as_documented(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Each step of a script becomes the documented event, and the stream closes after the end."""
    server.script(
        "text-to-image",
        [
            after(1),
            status("running"),
            progress(3, 20),
            error("moment"),
            event("new", {"a": 1}),
            raw(b": hi\n\n"),
            fail("oom"),
        ],
    )
    task_id = await submit(http, "text-to-image", prompt="x")
    async with http.stream("GET", f"r/tasks/{task_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        await server.clock.advance(1)
        text = (await stream.aread()).decode()
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert names == ["status", "status", "progress", "error", "new", "failed"]
    assert '"step_current":3,"step_total":20' in text
    assert 'data: {"message":"moment"}' in text
    assert ": hi" in text
    assert f'data: {{"task_id":"{task_id}","status":"failed","error":"oom"}}' in text


@pytest.mark.parametrize(
    ("last", "name"), [(cancel(), "cancelled"), (complete({}), "completed"), (fail("x"), "failed")]
)
async def test_a_stream_on_a_finished_task_tells_the_end(
    server: LocalCyberun, http: httpx.AsyncClient, last: object, name: str
) -> None:
    """Whoever connects after the end is told the end."""
    server.script("text-to-image", [last])  # type: ignore[list-item]
    task_id = await submit(http, "text-to-image", prompt="x")
    await server.clock.advance(0)
    assert (await events_of(http, task_id)).startswith(f"event: {name}\n")


async def test_a_workflow_of_ones_own(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A Python function makes the outputs of a workflow, from its parameters and uploaded files."""

    @server.workflow("shout", parameters=[LocalParameter("text", required=True), LocalParameter("file", type="file")])
    def shout(job: Job) -> Output:
        return Output(
            job.text("text").upper().encode() + job.input("file"), name="shout.txt", content_type="text/plain"
        )

    presigned = (
        await http.post("r/files/presign", json={"file_name": "a.txt", "file_size": 2, "content_type": "text/plain"})
    ).json()
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False)) as storage:
        put = await storage.put(presigned["upload_url"], content=b"!?", headers=presigned["upload_headers"])
        assert put.status_code == 200
        task_id = await submit(http, "shout", text="hey", file=presigned["file_key"])
        await server.clock.advance(60)
        result = (await http.get(f"r/tasks/{task_id}/result")).json()
        file = await storage.get(result["download_url"])
    assert file.content == b"HEY!?"
    assert file.headers["etag"] == f'"{hashlib.md5(b"HEY!?", usedforsecurity=False).hexdigest()}"'


async def test_a_function_that_raises_fails_its_task(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Whatever a workflow's function raises is how its task failed."""

    def broken(_: Job) -> bytes:
        raise ValueError("no such model")

    server.add_workflow(LocalWorkflow("broken", broken))
    task_id = await submit(http, "broken")
    await server.clock.advance(60)
    assert (await http.get(f"r/tasks/{task_id}")).json()["task_error"] == "no such model"


async def test_cancelling_is_final_and_harmless(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A cancelled task stays cancelled, and cancelling it once more changes nothing."""
    task_id = await submit(http, "text-to-image", prompt="x")
    for _ in range(2):
        assert (await http.post(f"r/tasks/{task_id}/cancel")).status_code == 200
    await server.clock.advance(60)
    assert (await http.get(f"r/tasks/{task_id}")).json()["task_status"] == "cancelled"


async def test_pictures_depend_on_prompt_and_seed(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """The same prompt and seed draw the same picture, another seed another one, at the size asked for."""
    pictures = []
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False)) as storage:
        for seed in (1, 1, 2):
            task_id = await submit(http, "text-to-image", prompt="a lighthouse", seed=seed, width=128, height=64)
            await server.clock.advance(600)
            result = (await http.get(f"r/tasks/{task_id}/result")).json()
            pictures.append((await storage.get(result["download_url"])).content)
    assert pictures[0] == pictures[1] != pictures[2]
    assert pictures[0][16:24] == (128).to_bytes(4, "big") + (64).to_bytes(4, "big")


def test_stops_with_streams_open_and_leaves_nothing() -> None:
    """Stopping cuts what is open and ends the server's threads; stopping twice is harmless."""
    before = set(threading.enumerate())
    with LocalCyberun(clock="held") as server, httpx.Client(verify=False) as client:
        key = {"Authorization": f"Bearer {server.api_key}"}
        run = client.post(
            f"{server.base_url}/r/workflows/slug/text-to-image/run", json={"parameters": {"prompt": "x"}}, headers=key
        )
        url = f"{server.base_url}/r/tasks/{run.json()['task_id']}/events"
        with client.stream("GET", url, headers=key) as stream:
            chunks = stream.iter_raw()
            next(chunks)
            server.stop()
            with pytest.raises(httpx.TransportError):
                list(chunks)
        server.stop()
    assert not set(threading.enumerate()) - before


def test_stops_while_a_reply_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    """Stopping cancels a reply that a fault holds back, and logs nothing about it."""
    with LocalCyberun() as server, httpx.Client(verify=False) as client:
        server.faults.latency(3600)
        with pytest.raises(httpx.TimeoutException):
            client.get(f"{server.base_url}/r/tasks", timeout=0.01)
        server.stop()
    assert not caplog.records


async def test_starts_once() -> None:
    """A server can be started once, and its clock moves only while it runs, and only forwards."""
    server = LocalCyberun()
    async with server:
        with pytest.raises(RuntimeError, match="once"):
            server.start()
        with pytest.raises(ValueError, match="backwards"):
            await server.clock.advance(-1)
    with pytest.raises(RuntimeError, match="not running"):
        await server.clock.advance(1)
