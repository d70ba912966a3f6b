"""Links that are really signed and really expire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from local.test_fields import submit

from cyberun_async.local import LocalCyberun


@pytest.fixture
async def storage() -> AsyncIterator[httpx.AsyncClient]:
    """Talk to the storage without any key."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False)) as client:
        yield client


@pytest.fixture
async def upload(http: httpx.AsyncClient) -> Mapping[str, object]:
    """Get a place for a file of three bytes."""
    body = {"file_name": "a.txt", "file_size": 3, "content_type": "text/plain"}
    return dict((await http.post("r/files/presign", json=body)).json())


@pytest.fixture
async def link(server: LocalCyberun, http: httpx.AsyncClient) -> str:
    """Get the link of a file that has the bytes 0 to 9."""

    @server.workflow("digits")
    def digits(_: object) -> bytes:
        return b"0123456789"

    task_id = await submit(http, "digits")
    await server.clock.advance(60)
    return str((await http.get(f"r/tasks/{task_id}/result")).json()["download_url"])


async def test_an_upload_is_taken_once(storage: httpx.AsyncClient, upload: Mapping[str, str]) -> None:
    """A PUT with its signed headers is taken; a second one meets If-None-Match and gets 412."""
    headers: Mapping[str, str] = upload["upload_headers"]  # type: ignore[assignment]
    assert (await storage.put(upload["upload_url"], content=b"abc", headers=headers)).status_code == 200
    assert (await storage.put(upload["upload_url"], content=b"abc", headers=headers)).status_code == 412


async def test_an_upload_must_be_as_signed(storage: httpx.AsyncClient, upload: Mapping[str, str]) -> None:
    """A signed header that is missing, another length, a key beside the signature, and chunks are refused."""
    headers: Mapping[str, str] = upload["upload_headers"]  # type: ignore[assignment]
    url = upload["upload_url"]
    assert (await storage.put(url, content=b"abc")).status_code == 403
    assert (await storage.put(url, content=b"abcd", headers={**headers, "Content-Length": "4"})).status_code == 403
    assert (await storage.put(url, content=b"abc", headers={**headers, "Authorization": "Bearer x"})).status_code == 400

    async def chunks() -> AsyncIterator[bytes]:
        yield b"abc"

    chunked = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    assert (await storage.put(url, content=chunks(), headers=chunked)).status_code == 411


async def test_a_forged_link_opens_nothing(storage: httpx.AsyncClient, link: str) -> None:
    """Whoever changes a link, or leaves its signature out, is refused."""
    assert (await storage.get(link)).status_code == 200
    assert (await storage.get(link.partition("?")[0])).status_code == 403
    assert (await storage.get(link.replace("Expires=3600", "Expires=9999"))).status_code == 403
    assert (await storage.put(link, content=b"x")).status_code == 403


async def test_a_link_lives_for_an_hour(server: LocalCyberun, storage: httpx.AsyncClient, link: str) -> None:
    """A link is good until its hour is over on the server's clock."""
    await server.clock.advance(3599)
    assert (await storage.get(link)).status_code == 200
    await server.clock.advance(2)
    assert (await storage.get(link)).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status", "content"),
    [
        ({"Range": "bytes=2-4"}, 206, b"234"),
        ({"Range": "bytes=7-"}, 206, b"789"),
        ({"Range": "bytes=-2"}, 206, b"89"),
        ({"Range": "bytes=3-", "If-Range": '"other"'}, 200, b"0123456789"),
        ({"Range": "lines=1-2"}, 200, b"0123456789"),
    ],
)
async def test_ranges(
    storage: httpx.AsyncClient, link: str, headers: dict[str, str], status: int, content: bytes
) -> None:
    """A part can be asked for, and comes whole where the file has changed or the unit is not known."""
    answer = await storage.get(link, headers=headers)
    assert (answer.status_code, answer.content) == (status, content)


async def test_a_range_beyond_the_end(storage: httpx.AsyncClient, link: str) -> None:
    """A part beyond the end is refused with the true size."""
    answer = await storage.get(link, headers={"Range": "bytes=10-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")
