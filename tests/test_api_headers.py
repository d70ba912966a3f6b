"""Headers of the user's own: with each request to the API, never to the storage, and never in the place of one of ours."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.secrecy import everything_logged, variables_of
from support.tables import table

from cyberun_async import APIError, AsyncClient, ConfigurationError, RefreshingToken, Retries, SignInRequired
from cyberun_async._protocol.api_headers import check_headers, merge_headers, seal_headers
from cyberun_async._protocol.redaction import redact

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "5ecr3t-of-the-gateway"
TASK = {"id": "t-1", "task_status": "running"}


def client_of(handler: Any, **options: Any) -> AsyncClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return AsyncClient("sk-test-of-headers", base_url="http://localhost", http_client=http, **options)


async def test_sent() -> None:
    """They go with calls and with event streams, beside the client's own."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path.endswith("/events"):
            return httpx.Response(404, json={})
        return httpx.Response(200, json={**TASK, "task_status": "completed"})

    async with client_of(handle, headers={"CF-Access-Client-Id": "x.access", "X-Empty": " "}) as client:
        await client.wait_for_result("t-1")
    assert {request.url.path.rpartition("/")[2] for request in seen} >= {"events", "result"}
    for request in seen:
        assert (request.headers["CF-Access-Client-Id"], request.headers["X-Empty"]) == ("x.access", "")
        assert request.headers["Authorization"] == "Bearer sk-test-of-headers"


async def test_not_to_the_storage(tmp_path: Path) -> None:
    """A presigned URL gets none of them, neither an upload nor a download."""
    seen: list[httpx.Request] = []
    presigned = {"upload_url": "https://storage.example/in?sig=f00d", "file_key": "k-1", "upload_method": "PUT"}

    def store(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"" if request.method == "PUT" else b"png")

    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json=presigned)
        urls = {"a.png": "https://storage.example/a.png?sig=f00d"}
        return httpx.Response(200, json={"id": "t-1", "task_status": "completed", "download_urls": urls})

    storage = httpx.AsyncClient(transport=httpx.MockTransport(store))
    async with client_of(handle, headers={"X-Gateway": SECRET}, storage_client=storage) as client:
        await client.download("t-1", tmp_path)
        await client.upload(b"in", name="in.bin")
    assert [request.method for request in seen] == ["GET", "PUT"]
    assert not any(SECRET in str(request.headers.raw) for request in seen)


RESERVED = [
    *["Accept", "Accept-Encoding", "Authorization", "Cache-Control", "Connection", "Content-Length", "Content-Type"],
    *["Host", "Last-Event-ID", "Proxy-Authorization", "TE", "Transfer-Encoding", "User-Agent", "X-Team-ID", "host"],
]


@table("name", RESERVED)
def test_our_own(name: str) -> None:
    """What the client sends itself, or what is the connection's, is refused by its name."""
    with pytest.raises(ConfigurationError, match=f"the header {name} is set by the client itself"):
        AsyncClient("sk-x", headers={name: SECRET})


@table(
    ("headers", "message"),
    [
        pytest.param({"": SECRET}, "a name that no request can carry .''.", id="no name"),
        pytest.param({"X Y": SECRET}, "a name that no request can carry .'X Y'.", id="a name with a space"),
        pytest.param({7: SECRET}, "a name that no request can carry .7.", id="a name that is no text"),
        pytest.param({"X-A": SECRET + "\r\nX-B: 1"}, "the header X-A has a character", id="a line break"),
        pytest.param({"X-A": SECRET + "é"}, "the header X-A has a character", id="not ASCII"),
        pytest.param({"X-A": 7}, "the header X-A must be a string, not int", id="a number"),
        pytest.param({"X-A": SECRET, "x-a": SECRET}, "headers has 'x-a' twice", id="twice"),
        pytest.param([("X-A", SECRET)], "headers must be a mapping of names to values, not list", id="pairs"),
        pytest.param((1,), "headers must be a mapping of names to values, not tuple", id="a tuple"),
    ],
)
def test_refused(headers: Any, message: str) -> None:
    """What cannot be sent is refused before anything is sent, and no message or frame of ours shows a value."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        AsyncClient("sk-x", headers=headers)
    assert SECRET not in str(caught.value)
    if isinstance(headers, dict):
        assert SECRET not in "\n".join(variables_of(caught.value))


def test_merged() -> None:
    """Those of a view are added; one of the same name, however it is written, takes the other's place."""
    before, given = (check_headers(seal_headers(headers)) for headers in ({"X-A": "1", "X-B": "2"}, {"x-a": "3"}))
    assert [(name, value.reveal()) for name, value in merge_headers(before, given)] == [("X-B", "2"), ("x-a", "3")]
    assert merge_headers(before, ()) == before


async def test_views() -> None:
    """A view sends the client's headers and its own, and so does a view of a view."""
    seen: list[httpx.Headers] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json=TASK)

    async with client_of(handle, headers={"X-A": "1"}) as client:
        view = client.with_options(headers={"X-B": "2"})
        for each in (client, view, view.with_options(headers={"x-a": "3"})):
            await each.tasks.get("t-1")
    assert [(headers.get("X-A"), headers.get("X-B")) for headers in seen] == [("1", None), ("1", "2"), ("3", "2")]


async def test_secret() -> None:
    """A value is in no repr, no log line and no message, also where a server says it back."""

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403, json={"error_message": f"no access with {request.headers['X-Gateway']}"})

    with everything_logged() as logged:
        async with client_of(handle, headers={"X-Gateway": SECRET}, retries=Retries(budget=0)) as client:
            with pytest.raises(APIError) as caught:
                await client.tasks.get("t-1")
            settings = client._core.settings
            logging.getLogger("cyberun_async").warning("%s", redact(f"somebody wrote {SECRET}"))
            shown = [repr(settings), repr(client), str(caught.value), str(caught.value.body), *logged]
            shown += [*variables_of(caught.value)]
    assert "X-Gateway" in repr(settings)
    assert SECRET not in "\n".join(shown)


async def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without headers of its own a client takes those of the environment, one a line; with an empty mapping it has none."""
    monkeypatch.setenv("CYBERUN_HEADERS", " X-Gateway: a:b \r\n\nX-Other:c")
    seen: list[httpx.Headers] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json=TASK)

    for headers in (None, {}, {"X-Other": "d"}):
        async with client_of(handle, headers=headers) as client:
            await client.tasks.get("t-1")
    assert [(each.get("X-Gateway"), each.get("X-Other")) for each in seen] == [("a:b", "c"), (None, None), (None, "d")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(SECRET, "line 1 of CYBERUN_HEADERS is no header", id="no colon"),
        pytest.param(f"X-A: 1\n\n{SECRET} {SECRET}: 2", "line 3 of CYBERUN_HEADERS is no header", id="no name"),
        pytest.param(f"Host: {SECRET}", "the header Host is set by the client itself", id="our own"),
    ],
)
def test_environment_refused(lines: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is no header is named by its number, as all of it may be a secret."""
    monkeypatch.setenv("CYBERUN_HEADERS", lines)
    with pytest.raises(ConfigurationError, match=message) as caught:
        AsyncClient("sk-x")
    assert SECRET not in str(caught.value) + "\n".join(variables_of(caught.value))


async def test_refreshing() -> None:
    """A refresh goes through the same gateway."""
    seen: list[httpx.Headers] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(401, json={"error_message": "used"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    headers = {"X-Gateway": SECRET}
    token = RefreshingToken("r-1", save=print, base_url="http://localhost", http_client=http, headers=headers)
    with pytest.raises(SignInRequired):
        await token()
    assert [(each.get("X-Gateway"), each.get("Authorization")) for each in seen] == [(SECRET, None)]
