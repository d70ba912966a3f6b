"""What `submit()` raises: each error says whether a task may exist, and the response to a submission is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from support.raw import Peer, raw_server
from support.scripted import answer, hold
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import (
    APIError,
    AsyncClient,
    CyberunError,
    DecodeError,
    InvalidParameters,
    Limits,
    Retries,
    StorageError,
    TransportError,
    WaitTimeout,
)

KEY = "sk-test-0123456789"
DEFINITION = {"id": "w-1", "parameters": [{"key": "image", "type": "file"}, {"key": "prompt", "type": "string"}]}

Answer = Callable[[httpx.Request], httpx.Response]


def client_of(run: Answer, *, definition: Answer | None = None, limits: Limits = Limits()) -> AsyncClient:
    """Make a client of a server that answers submissions in one way, and other requests in another."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/run"):
            return run(request)
        return httpx.Response(200, json=DEFINITION) if definition is None else definition(request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return AsyncClient(KEY, base_url="http://localhost", http_client=http, retries=Retries(budget=0), limits=limits)


async def failure_of(client: AsyncClient, parameters: dict[str, object]) -> CyberunError:
    async with client:
        with pytest.raises(CyberunError) as caught:
            await client.submit("text-to-image", parameters)
    return caught.value


def respond(status: int, content: bytes = b"{}", **headers: str) -> Answer:
    return lambda _: httpx.Response(status, content=content, headers=headers)


def fail(kind: type[httpx.TransportError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise kind("x", request=request)

    return answer


@table(
    ("run", "kind", "may_exist"),
    [
        pytest.param(respond(400), APIError, False, id="400"),
        pytest.param(respond(429), APIError, False, id="429"),
        pytest.param(respond(307), APIError, False, id="307"),
        pytest.param(respond(303), APIError, True, id="303"),
        pytest.param(respond(408), APIError, True, id="408"),
        pytest.param(respond(500), APIError, True, id="500"),
        pytest.param(respond(504), APIError, True, id="504"),
        pytest.param(respond(200, b"<html>"), DecodeError, True, id="a page"),
        pytest.param(respond(202), DecodeError, True, id="no id"),
        pytest.param(fail(httpx.ConnectError), TransportError, False, id="no connection"),
        pytest.param(fail(httpx.ReadTimeout), TransportError, True, id="no response"),
    ],
)
async def test_submitting(run: Answer, kind: type[CyberunError], may_exist: bool) -> None:
    """Whatever happens to a submission, its error says whether a task may exist."""
    error = await failure_of(client_of(run), {"prompt": "x"})
    assert isinstance(error, kind)
    assert error.may_have_been_sent == may_exist


@table(
    ("definition", "parameters", "kind"),
    [
        pytest.param(respond(500), {"prompt": "x"}, APIError, id="no definition"),
        pytest.param(respond(200, b"<html>"), {"prompt": "x"}, DecodeError, id="a page for a definition"),
        pytest.param(fail(httpx.ReadTimeout), {"prompt": "x"}, TransportError, id="no response for a definition"),
        pytest.param(None, {"prompt": 7}, InvalidParameters, id="what does not fit"),
        pytest.param(None, {"image": Path("/nowhere.png")}, StorageError, id="a file that is not there"),
    ],
)
async def test_before_submitting(definition: Answer | None, parameters: dict[str, object], kind: type) -> None:
    """What fails before the submission says that there is no task, whatever became of its own request."""
    client = client_of(lambda _: pytest.fail("submitted"), definition=definition)
    error = await failure_of(client, parameters)
    assert isinstance(error, kind)
    assert not error.may_have_been_sent


async def test_response_is_kept() -> None:
    """The response that names no task is on the error: its beginning, without keys and signatures."""
    body = f'{{"detail": "{KEY} https://x.test/a?X-Amz-Signature=abc", "more": "{"x" * 100_000}"}}'.encode()
    error = await failure_of(client_of(respond(202, body)), {"prompt": "x"})
    assert isinstance(error, DecodeError)
    assert error.body.startswith('{"detail": "[key] https://x.test/a?[signature]"')
    assert len(error.body) == 2000


async def test_response_beyond_the_limit_is_kept() -> None:
    """So is the beginning of one that is too large."""
    client = client_of(respond(202, b'{"pad": "' + b"x" * 5000), limits=Limits(max_response_bytes=4000))
    error = await failure_of(client, {"prompt": "x"})
    assert isinstance(error, DecodeError)
    assert error.may_have_been_sent
    assert error.body.startswith('{"pad": "xxx')


async def test_response_to_reading_is_kept_without_signatures() -> None:
    """A response that is not what it should be is kept, but for the signatures of presigned URLs, of which results are full."""
    page = b"<html>https://s3.test/a.png?X-Amz-Signature=0123456789abcdef</html>"
    error = await failure_of(client_of(respond(202), definition=respond(200, page)), {"prompt": "x"})
    assert isinstance(error, DecodeError)
    assert error.body == "<html>https://s3.test/a.png?[signature]</html>"


@table("is_submitting", [False, True])
@virtual
async def test_deadline_of_a_run(is_submitting: bool) -> None:
    """The deadline of `run()` says whether it passed before or after the submission began."""
    async with served() as (server, client):
        server.on("definition", answer(200, {"id": "w-1"}) if is_submitting else hold())
        server.on("run", hold())
        with pytest.raises(WaitTimeout) as caught:
            await client.run("text-to-image", {}, timeout=2)
    assert (caught.value.task_id, caught.value.may_have_been_sent) == (None, is_submitting)


async def say(peer: Peer, body: str, headers: str) -> None:
    await peer.request()
    await peer.answer(body, status=201, headers=headers)


@table(
    ("body", "headers"),
    [
        pytest.param('{"task_id": 17}', "", id="a number"),
        pytest.param("", "Location: /api/v1/r/tasks/17\r\n", id="Location"),
    ],
)
async def test_found_on_the_wire(body: str, headers: str) -> None:
    """An id that is a number, or in a header alone, is found, and is the task's id from then on."""
    handle: Callable[[Peer], Awaitable[None]] = partial(say, body=body, headers=headers)
    async with raw_server(handle) as server, AsyncClient(KEY, base_url=server.url) as client:
        with anyio.fail_after(10):
            assert await client.submit("text-to-image", validate=False) == "17"


@table("status", [301, 302, 303])
async def test_a_redirect_to_the_task(status: int) -> None:
    """A redirect to the task that was made is as good as its id; one to another place is not followed."""
    async with client_of(respond(status, b"<html>", Location="/r/tasks/17")) as client:
        assert await client.submit("text-to-image", validate=False) == "17"
    error = await failure_of(client_of(respond(status, b"<html>", Location="/jobs/17")), {"prompt": "x"})
    assert isinstance(error, APIError)


@table("status", [302, 307, 308])
async def test_a_redirect_to_another_place(status: int) -> None:
    """What a proxy says of itself is no task, and what is to be sent to another place has not been taken."""
    where = "/login" if status == 302 else "/r/tasks/17"
    error = await failure_of(client_of(respond(status, b'{"id": "request-1"}', Location=where)), {"prompt": "x"})
    assert isinstance(error, APIError)


@table(
    "response",
    [
        pytest.param(b'Content-Length: 99\r\n\r\n{"task_id": "17"}', id="cut off after the object"),
        pytest.param(b'Transfer-Encoding: chunked\r\n\r\n11\r\n{"task_id": "17"}\r\n', id="without the last chunk"),
        pytest.param(b"Location: /tasks/17\r\nContent-Length: 99\r\n\r\n{", id="the id is in the head"),
        pytest.param(b"Location: /tasks/17\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx", id="unreadable"),
    ],
)
async def test_found_in_what_arrived(response: bytes) -> None:
    """A response that breaks off after it has said the id has said it."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 202 X\r\n" + response)

    async with raw_server(serve) as server, AsyncClient(KEY, base_url=server.url) as client:
        assert await client.submit("text-to-image", validate=False) == "17"
        assert len(server.requests) == 1
