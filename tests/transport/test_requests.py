"""From a call to the bytes of a request: exactly what is documented, and nothing else."""

from __future__ import annotations

from importlib import metadata

import pytest
from support.raw import Peer, raw_server
from support.tables import table

from cyberun_async import AsyncClient, Limits
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._version import VERSION

COMMON = (
    "Host: 127.0.0.1:{port}\r\n"
    "Accept: application/json\r\n"
    "Accept-Encoding: identity\r\n"
    "Authorization: Bearer {key}\r\n"
    "User-Agent: cyberun-async/{version}\r\n"
)
JWT = "eyJ.e30.c2ln"


@table(
    ("key", "call", "line", "rest"),
    [
        pytest.param("sk-test", endpoints.get_task("t-1"), "GET /api/v1/r/tasks/t-1", "\r\n", id="a read"),
        pytest.param(
            "sk-test",
            endpoints.list_tasks(2, 50, status="running"),
            "GET /api/v1/r/tasks?current_page=2&per_page=50&status=running",
            "\r\n",
            id="a read with a query",
        ),
        pytest.param(JWT, endpoints.get_task("t-1"), "GET /api/v1/r/tasks/t-1", "X-Team-ID: team\r\n\r\n", id="a JWT"),
        pytest.param(
            "sk-test",
            endpoints.cancel_task("t-1"),
            "POST /api/v1/r/tasks/t-1/cancel",
            "Content-Length: 0\r\n\r\n",
            id="without a body",
        ),
        pytest.param(
            "dk-test",
            endpoints.presign_file("ä.png", 7, "image/png"),
            "POST /api/v1/r/files/presign",
            "Content-Type: application/json\r\nContent-Length: 63\r\n\r\n"
            '{"file_name":"ä.png","file_size":7,"content_type":"image/png"}',
            id="with a body",
        ),
    ],
)
async def test_bytes(key: str, call: Call[object], line: str, rest: str) -> None:
    """The whole request, but for the order of its headers."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.answer("{}", status=400)
        await peer.until_closed()

    async with raw_server(answer) as server:
        async with AsyncClient(key, team_id="team", base_url=server.url, limits=Limits(max_connections=1)) as client:
            with pytest.raises(Exception, match="failed with 400"):
                await client._core.transport.send(call)
        expected = f"{line} HTTP/1.1\r\n{COMMON.format(port=server.port, key=key, version=VERSION)}{rest}"
        assert in_order(server.requests[0].decode()) == in_order(expected)


def in_order(request: str) -> tuple[str, list[str], str]:
    """Take a request apart; the order of its headers means nothing."""
    head, _, body = request.partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    return line, sorted(headers), body


def test_version() -> None:
    """What is sent as the version is that of the package."""
    assert metadata.version("cyberun-async") == VERSION
