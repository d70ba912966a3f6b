"""`client.request()`: any endpoint, with what every call has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.tables import table

from cyberun_async import (
    APIError,
    AsyncClient,
    DecodeError,
    InvalidParameters,
    NotFoundError,
    Record,
    Retries,
    Task,
    TransportError,
)
from cyberun_async._protocol.api_request import api_call

if TYPE_CHECKING:
    from cyberun_async.local import LocalCyberun

BASE = "https://cyberun.test/api/v1"
TASK = {"id": "t-1", "workflow_id": "w-1", "task_status": "running"}

Reply = httpx.Response | Exception


class Service:
    """Replies in turn, and remembers the requests."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def client(self, **options: Any) -> AsyncClient:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self))
        retries = Retries(initial=0.001, maximum=0.001)
        return AsyncClient("sk-test", base_url=BASE, http_client=http, retries=retries, **options)


async def test_request_and_response() -> None:
    """It is signed in and goes below the base URL; status, headers, request id, data and content come back."""
    headers = {"X-Request-Id": "req-7", "X-Rate": "5"}
    service = Service(httpx.Response(200, json={"a": [1]}, headers=headers))
    async with service.client() as client:
        response = await client.request(
            "post", "/r/new thing", json={"x": 1}, params={"q": ["a b", 2], "flag": True, "none": None}
        )

    (request,) = service.requests
    assert str(request.url) == f"{BASE}/r/new%20thing?q=a+b&q=2&flag=true"
    assert (request.method, json.loads(request.content)) == ("POST", {"x": 1})
    assert request.headers["Authorization"] == "Bearer sk-test"
    assert (response.status, response.request_id, response.data) == (200, "req-7", {"a": [1]})
    assert (response.headers["x-rate"], response.content) == ("5", b'{"a":[1]}')


async def test_record() -> None:
    """With `returns` the data is a record; another class is refused before anything is sent."""
    service = Service(httpx.Response(200, json=TASK))
    async with service.client() as client:
        response = await client.request("GET", "/r/tasks/t-1", returns=Task)
        for wrong in (dict, Record, "Task"):
            with pytest.raises(InvalidParameters, match="returns must be a record's class, such as Task"):
                await client.request("GET", "/r/tasks/t-1", returns=wrong)  # type: ignore[call-overload]

    assert response.data == Task(id="t-1", workflow_id="w-1", status="running")
    assert len(service.requests) == 1


@table(
    ("reply", "data"),
    [
        pytest.param(httpx.Response(204), None, id="empty"),
        pytest.param(httpx.Response(200, text=" \n"), None, id="blank"),
        pytest.param(httpx.Response(200, text="a,b\n1,2"), None, id="text"),
        pytest.param(httpx.Response(200, content=b"\x89PNG", headers={"Content-Type": "image/png"}), None, id="bytes"),
        pytest.param(httpx.Response(200, content=b"[1]"), [1], id="JSON without a type"),
        pytest.param(
            httpx.Response(200, content=b"{}", headers={"Content-Type": "application/problem+json; charset=utf-8"}),
            {},
            id="a kind of JSON",
        ),
        pytest.param(httpx.Response(200, json=None), None, id="null"),
    ],
)
async def test_bodies(reply: httpx.Response, data: object) -> None:
    """Data is there where the body is JSON by its type; the content is there in any case."""
    async with Service(reply).client() as client:
        response = await client.request("GET", "/r/x")
    assert (response.data, response.content) == (data, reply.content)


@table(
    ("reply", "returns", "expected"),
    [
        pytest.param(httpx.Response(404, json={"error_message": "no"}), None, NotFoundError, id="404"),
        pytest.param(httpx.Response(302, headers={"Location": "https://elsewhere/"}), None, APIError, id="redirect"),
        pytest.param(httpx.Response(303, json={"task_id": "t-1"}), None, APIError, id="redirect with JSON"),
        pytest.param(
            httpx.Response(200, text="<x", headers={"Content-Type": "application/json"}), None, DecodeError, id="broken"
        ),
        pytest.param(httpx.Response(204), Task, DecodeError, id="no record"),
        pytest.param(httpx.Response(200, json=[]), Task, DecodeError, id="another record"),
    ],
)
async def test_errors(reply: httpx.Response, returns: type[Task] | None, expected: type[Exception]) -> None:
    """Errors are those of every call, and a redirect is not followed."""
    service = Service(reply)
    async with service.client() as client:
        with pytest.raises(expected, match=r"/r/x"):
            await client.request("POST", "/r/x", returns=returns)  # type: ignore[call-overload]
    assert len(service.requests) == 1


@table(
    ("method", "first", "sent"),
    [
        ("GET", httpx.Response(503), 2),
        ("HEAD", httpx.ReadError("gone"), 2),
        ("POST", httpx.Response(503), 1),
        ("DELETE", httpx.ReadError("gone"), 1),
        ("PUT", httpx.Response(408), 1),
        ("POST", httpx.ConnectError("no"), 2),
        ("PATCH", httpx.Response(429), 2),
    ],
    ids=str,
)
async def test_retries(method: str, first: Reply, sent: int) -> None:
    """Only what reads is retried freely; the rest only where nothing can have happened."""
    service = Service(first, httpx.Response(200))
    async with service.client() as client:
        if sent == 2:
            await client.request(method, "/r/x")
        else:
            with pytest.raises((APIError, TransportError)) as caught:
                await client.request(method, "/r/x")
            assert caught.value.may_have_been_sent
    assert len(service.requests) == sent


@table(
    "path",
    [
        "r/tasks",
        "",
        "//evil.test/x",
        "https://evil.test/r",
        "/r/../../x",
        "/..",
        "/r/./x",
        "/r/%2e%2e/x",
        "/r/%252e%25252e/x",
        "/r/..%2fx",
        "/r/..\\x",
        "/r/%5c..%5cx",
        "/r/x?y=1",
        "/r/x#y",
        "/r/\n",
        "/r/%0d%0aX",
        "/r/\ud800",
        None,
        b"/r/x",
    ],
    ids=repr,
)
def test_paths_that_cannot_be(path: object) -> None:
    """A path stays below the base URL, however it is written."""
    with pytest.raises(InvalidParameters, match="path must"):
        api_call("GET", path, dict, json=None, params=None)


@table(
    ("path", "sent"),
    [
        ("/users/me", "/users/me"),
        ("/r/a b/ü", "/r/a%20b/%C3%BC"),
        ("/r/a%20b", "/r/a%20b"),
        ("/r/100%/%zz", "/r/100%25/%25zz"),
        ("/r/text-to-image@2", "/r/text-to-image@2"),
        ("/r/..a/b..", "/r/..a/b.."),
        ("/", "/"),
    ],
)
def test_paths(path: str, sent: str) -> None:
    """What is escaped stays so, and what cannot stand in a path is escaped."""
    assert api_call("GET", path, dict, json=None, params=None).path == sent


@table(
    ("refused", "problem"),
    [
        pytest.param({"method": "TRACE"}, "method must be one of GET, ", id="method"),
        pytest.param({"method": 7}, "method must be one of GET, ", id="no method"),
        pytest.param({"params": [("a", 1)]}, "params must be a mapping", id="pairs"),
        pytest.param({"params": {1: 2}}, "params must be a mapping", id="names"),
        pytest.param({"params": {"a": {}}}, r"params\['a'\] must be text", id="values"),
        pytest.param({"params": {"a": "\ud800"}}, r"params\['a'\] must be text", id="surrogates"),
        pytest.param({"json": {"a": {1}}}, "of the kinds that JSON has", id="json"),
    ],
)
async def test_arguments_that_cannot_be(refused: dict[str, Any], problem: str) -> None:
    """Every problem is told before anything is sent."""
    service = Service()
    async with service.client() as client:
        with pytest.raises(InvalidParameters, match=problem):
            await client.request(**{"method": "POST", "path": "/r/x", **refused})
    assert service.requests == []


async def test_a_page_is_no_sign_of_the_api() -> None:
    """A web page with status 200, as a proxy sends it, does not count as a response of the API."""
    service = Service(httpx.Response(200, html="<html>sign in"), httpx.Response(200, json={}))
    async with service.client() as client:
        response = await client.request("GET", "/r/x")
        assert (response.data, client._core.transport.has_answered) == (None, False)
        await client.request("GET", "/r/x")
        assert client._core.transport.has_answered


async def test_nothing_secret_is_shown() -> None:
    """Headers, data and content are in no `repr`: they may have a presigned URL or a secret."""
    reply = httpx.Response(200, json={"webhook_secret": "whsec_abcdefgh"}, headers={"Set-Cookie": "session=abc"})
    async with Service(reply).client() as client:
        response = await client.request("GET", "/webhooks/1")
    assert repr(response) == "APIResponse(status=200, request_id=None)"


async def test_local(cyberun: LocalCyberun, cyberun_client: AsyncClient) -> None:
    """A request by hand is as good as the method."""
    task_id = await cyberun_client.submit("text-to-image", {"prompt": "a lake"})
    response = await cyberun_client.request("GET", f"/r/tasks/{task_id}", returns=Task)
    assert response.data.id == task_id
    assert response.status == 200
