"""Container services: read, and called through the server."""

import json

import pytest
from support.raw import Peer, RawServer, raw_server
from support.samples import CONTAINER, INVOCATION, PAGE_META, Json
from support.tables import table

from cyberun_async import AsyncClient, Container, DecodeError, InvalidParameters, Invocation, Retries, ServerError


async def serve(peer: Peer) -> None:
    """Answer as is documented: a list, a service, and whatever the service says."""
    while True:
        line = (await peer.request()).partition(b"\r\n")[0].decode()
        answers: dict[str, Json] = {
            "GET /api/v1/r/containers?current_page=1&per_page=100 HTTP/1.1": {
                "service_list": [CONTAINER],
                "page_meta": {**PAGE_META, "total_count": 1},
            },
            "GET /api/v1/r/containers/whisper HTTP/1.1": CONTAINER,
            "POST /api/v1/r/invoke/whisper HTTP/1.1": INVOCATION,
        }
        await peer.answer(json.dumps(answers[line]))


def client_of(server: RawServer) -> AsyncClient:
    """Give a client that repeats nothing after a pause."""
    return AsyncClient("sk-0123456789abcdef", base_url=server.url, retries=Retries(budget=0))


async def test_list_and_get() -> None:
    """A service is the same in the list and by itself, and does not show what is in its environment."""
    async with raw_server(serve) as server, client_of(server) as client:
        (listed,) = [each async for each in client.containers.list()]
        found = await client.containers.get("whisper")

    assert (listed, found.slug, found.gpu_count) == (found, "whisper", -1)
    assert [(each.name, each.value) for each in found.env] == [("MODEL", "large")]
    assert isinstance(found, Container)
    assert "large" not in repr(found)


async def test_invoke() -> None:
    """A call goes through to the service wrapped in JSON, and so does its answer."""
    async with raw_server(serve) as server, client_of(server) as client:
        answer = await client.containers.invoke(
            "whisper", "POST", "/transcribe?language=en", content=b"\x00audio", headers={"Content-Type": "audio/wav"}
        )

    assert (answer.status_code, answer.content, answer.headers) == (
        200,
        b'{"ok":true}',
        {"Content-Type": "application/json"},
    )
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2]) == {
        "method": "POST",
        "path": "/transcribe?language=en",
        "body_base64": "AGF1ZGlv",
        "headers": {"Content-Type": "audio/wav"},
    }


async def test_invoke_refuses() -> None:
    """What cannot reach the service is refused before anything is sent."""
    async with raw_server(serve) as server, client_of(server) as client:
        with pytest.raises(InvalidParameters, match="path must begin with a single slash"):
            await client.containers.invoke("whisper", "GET", "https://elsewhere/")

    assert server.requests == []


@table(("method", "requests"), [("GET", 3), ("HEAD", 3), ("OPTIONS", 3), ("POST", 1), ("DELETE", 1)])
async def test_what_is_repeated(method: str, requests: int) -> None:
    """After a failure a call is repeated where its method says that this does no harm."""

    async def fail(peer: Peer) -> None:
        while True:
            await peer.request()
            last = len(peer.server.requests) == 3
            await peer.answer(json.dumps(INVOCATION if last else {}), status=200 if last else 502)

    retries = Retries(initial=0.001, maximum=0.001)
    async with raw_server(fail) as server, AsyncClient("sk-x", base_url=server.url, retries=retries) as client:
        if requests == 1:
            with pytest.raises(ServerError):
                await client.containers.invoke("whisper", method, "/")
        else:
            assert (await client.containers.invoke("whisper", method, "/")).status_code == 200

    assert len(server.requests) == requests


@table("body", ["****", "YQ", "Y", "größe", "YQ==\n"])
def test_broken_base64(body: str) -> None:
    """A body that is not what it says it is has a name of ours."""
    with pytest.raises(DecodeError, match="body_base64 is not base64"):
        _ = Invocation(status_code=200, body_base64=body).content


def test_no_body() -> None:
    """An answer without a body has an empty one."""
    assert Invocation(status_code=204).content == b""
