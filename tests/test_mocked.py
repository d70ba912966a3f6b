"""A user's program under the two libraries that mock httpx: neither a socket nor a local server is needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
import respx

from cyberun_async import AsyncClient, NotFoundError, Polling, Retries, TransportError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_httpx import HTTPXMock

API = "https://core.cyberun.cloud/api/v1"
TASK = "019abc12-9012-7890-abcd-ef1234567896"
LINK = "https://storage.example/outputs/poster.png?X-Amz-Signature=f00d"
WORKFLOW = {"id": "w-1", "slug": "poster", "parameters": [{"key": "title", "type": "string", "required": True}]}
RESULT = {"id": TASK, "task_status": "completed", "download_urls": {"poster.png": LINK}}
COMPLETED = f'event: completed\ndata: {{"task_id": "{TASK}", "status": "completed"}}\n\n'
STREAM = {"headers": {"content-type": "text/event-stream"}, "text": COMPLETED}

SOON, NEVER = Polling(interval=0.01), Retries(budget=0)


async def make_poster(title: str, directory: Path) -> bytes:
    """Be the program: submit a task, wait for it by stream and by poll, and fetch its file from the storage."""
    async with AsyncClient("sk-test", polling=SOON) as client:
        result = await client.run("poster", {"title": title})
        [path] = await client.download(result, directory)
    return path.read_bytes()


async def test_respx(tmp_path: Path) -> None:
    """respx sees each request of the program, and answers it: calls, the event stream, and the storage."""
    with respx.mock(assert_all_called=False) as router:
        router.get(f"{API}/r/workflows/slug/poster").respond(json=WORKFLOW)
        run = router.post(f"{API}/r/workflows/slug/poster/run").respond(202, json={"task_id": TASK})
        router.get(f"{API}/r/tasks/{TASK}").respond(json={"id": TASK, "task_status": "running"})
        events = router.get(f"{API}/r/tasks/{TASK}/events").mock(httpx.Response(200, **STREAM))
        router.get(f"{API}/r/tasks/{TASK}/result").respond(json=RESULT)
        storage = router.get(LINK).respond(content=b"png")

        assert await make_poster("The Lighthouse", tmp_path) == b"png"

        assert json.loads(run.calls.last.request.content)["parameters"] == {"title": "The Lighthouse"}
        assert (run.call_count, events.called, storage.call_count) == (1, True, 1)
        assert events.calls.last.request.headers["authorization"] == "Bearer sk-test"
        assert "authorization" not in storage.calls.last.request.headers


async def test_respx_refuses() -> None:
    """An error response, and a connection that cannot be made, are the errors that they are outside of a test."""
    with respx.mock(base_url=API) as router:
        router.get(f"/r/tasks/{TASK}").respond(404, json={"error_message": "there is none"})
        router.post(f"/r/tasks/{TASK}/cancel").mock(side_effect=httpx.ConnectError("no route"))
        async with AsyncClient("sk-test", retries=NEVER) as client:
            with pytest.raises(NotFoundError, match="there is none"):
                await client.tasks.get(TASK)
            with pytest.raises(TransportError) as caught:
                await client.tasks.cancel(TASK)
        assert not caught.value.may_have_been_sent


async def test_pytest_httpx(httpx_mock: HTTPXMock, tmp_path: Path) -> None:
    """pytest-httpx does so, too, without a change to the program."""
    httpx_mock.add_response(url=f"{API}/r/workflows/slug/poster", json=WORKFLOW)
    httpx_mock.add_response(url=f"{API}/r/workflows/slug/poster/run", status_code=202, json={"task_id": TASK})
    httpx_mock.add_response(
        url=f"{API}/r/tasks/{TASK}", json={"id": TASK, "task_status": "running"}, is_optional=True, is_reusable=True
    )
    httpx_mock.add_response(url=f"{API}/r/tasks/{TASK}/events", **STREAM)
    httpx_mock.add_response(url=f"{API}/r/tasks/{TASK}/result", json=RESULT)
    httpx_mock.add_response(url=LINK, content=b"png")

    assert await make_poster("The Lighthouse", tmp_path) == b"png"

    assert len(httpx_mock.get_requests(method="POST")) == 1
    [of_storage] = httpx_mock.get_requests(url=LINK)
    assert "authorization" not in of_storage.headers


async def test_pytest_httpx_refuses(httpx_mock: HTTPXMock) -> None:
    """An error response, and a connection that cannot be made, are the errors that they are outside of a test."""
    httpx_mock.add_response(url=f"{API}/r/tasks/{TASK}", status_code=404, json={"error_message": "there is none"})
    httpx_mock.add_exception(httpx.ConnectError("no route"), url=f"{API}/r/tasks/{TASK}/cancel")
    async with AsyncClient("sk-test", retries=NEVER) as client:
        with pytest.raises(NotFoundError, match="there is none"):
            await client.tasks.get(TASK)
        with pytest.raises(TransportError) as caught:
            await client.tasks.cancel(TASK)
    assert not caught.value.may_have_been_sent
