"""Whatever the layers below raise comes out as an error of ours, and what users raise as it is."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import httpx
import pytest
from support.tables import table

from cyberun_async import (
    AsyncClient,
    ConfigurationError,
    OutputFile,
    Retries,
    StorageError,
    TokenError,
    TransportError,
)
from cyberun_async._protocol import endpoints

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

KEY = "sk-0123456789abcdef"
LINK = "https://bucket.test/a.png?X-Amz-Credential=AKIA&X-Amz-Signature=0123456789abcdef"


def file_at(url: str) -> OutputFile:
    return OutputFile(key="a", name="a.png", url=url, task_id="t-1")


class Raising(httpx.AsyncBaseTransport):
    """Raises, in place of an answer or in the middle of one, and counts."""

    def __init__(self, failure: Exception, *, within_the_body: bool = False, content_type: str = "") -> None:
        self.failure = failure
        self.within_the_body = within_the_body
        self.content_type = content_type
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if not self.within_the_body:
            raise self.failure
        return httpx.Response(200, headers={"Content-Type": self.content_type}, stream=BrokenBody(self.failure))


class BrokenBody(httpx.AsyncByteStream):
    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise self.failure


async def a_call(client: AsyncClient) -> None:
    await client.tasks.get("t-1")


async def a_submission(client: AsyncClient) -> None:
    await client.submit("text-to-image", validate=False)


async def a_stream(client: AsyncClient) -> None:
    connection = await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))
    try:
        await connection.receive()
    finally:
        await connection.aclose()


async def a_file(client: AsyncClient) -> None:
    await client.read_file(file_at(LINK))


Use = Callable[[AsyncClient], Awaitable[None]]

UNFORESEEN = [
    RuntimeError("a bug of theirs"),
    ValueError("no such port"),
    UnicodeError("label empty or too long"),
    KeyError("x"),
    AssertionError(),
    RecursionError("too deep"),
    LookupError(),
]


@table("failure", UNFORESEEN, ids=lambda failure: type(failure).__name__)
@table("within_the_body", [False, True], ids=["no answer", "in the body"])
@table("use", [a_call, a_submission, a_stream, a_file])
async def test_unforeseen(use: Use, within_the_body: bool, failure: Exception) -> None:
    """What no table foresees is an error of ours, with its cause, and is not tried again."""
    below = Raising(
        failure, within_the_body=within_the_body, content_type="text/event-stream" if use is a_stream else ""
    )
    async with (
        httpx.AsyncClient(transport=below) as http,
        AsyncClient(KEY, http_client=http, storage_client=http) as client,
    ):
        with pytest.raises((TransportError, StorageError)) as caught:
            await use(client)
    error = caught.value
    assert not error.retryable
    assert error.__cause__ is failure
    assert not isinstance(error, TransportError) or error.may_have_been_sent
    assert type(failure).__name__ in str(error)
    assert below.asked == 1


@table(
    ("group", "retryable"),
    [
        pytest.param(ExceptionGroup("x", [OverflowError("port must be 0-65535")]), False, id="unforeseen"),
        pytest.param(ExceptionGroup("x", [ExceptionGroup("y", [httpx.ReadError("reset")])]), True, id="foreseen"),
    ],
)
@table("use", [a_call, a_file])
async def test_groups(use: Use, group: Exception, retryable: bool) -> None:
    """A group of exceptions is what it holds, and none is left in the chain of causes."""
    async with httpx.AsyncClient(transport=Raising(group)) as http:
        async with AsyncClient(KEY, http_client=http, storage_client=http, retries=Retries(budget=0)) as client:
            with pytest.raises((TransportError, StorageError)) as caught:
                await use(client)
    assert caught.value.retryable is retryable
    cause: BaseException | None = caught.value
    while cause is not None:
        assert not isinstance(cause, ExceptionGroup)
        cause = cause.__cause__ or cause.__context__


UNUSABLE = [
    "https://bucket.test:99999/a.png",
    "https://bucket.test:0/a.png",
    "https://bucket.test:-1/a.png",
    "http://[::1/a.png",
    "http://[foo]/a.png",
    "https://foo..bar/a.png",
    "https://.bar/a.png",
    "https://xn--/a.png",
    f"https://{'x' * 64}.test/a.png",
    "https://bucket.test/\ud800.png",
    "https://b\ud800.test/a.png",
    "https://bucket.test/a\n.png",
    "https://bucket.test/" + "x" * 70_000,
    "https:///a.png",
    "ftp://bucket.test/a.png",
    "javascript:alert(1)",
    "/a.png",
    "a.png",
    "",
]


@table("url", UNUSABLE, ids=lambda url: ascii(url[:30]))
async def test_links_that_are_none(url: str) -> None:
    """A link that cannot be used is an error at once, by whichever way it is met."""
    async with AsyncClient(KEY) as client:
        for use in (
            lambda: client.read_file(file_at(url)),
            lambda: client._core.files.storage.put(*put_to(url, {}), no_blocks()),
        ):
            with pytest.raises(Exception, match="not one that can be used") as caught:
                await use()
            assert not caught.value.retryable


def put_to(url: str, headers: dict[str, str]):  # type: ignore[no-untyped-def]
    from cyberun_async._protocol.secret import Secret

    return Secret(url), Secret(headers)


async def no_blocks() -> AsyncIterator[bytes]:
    for block in ():
        yield block


@table(
    "headers",
    [
        {"X-Amz-Meta": "é"},
        {"X-Amz-Meta": "a\r\nHost: elsewhere.test"},
        {"X-Amz-Meta": "\ud800"},
        {"X-Amz-Meta": "\x00"},
        {"X-Amz Meta": "a"},
        {"": "a"},
        {"ü": "a"},
    ],
    ids=ascii,
)
async def test_headers_that_are_none(headers: dict[str, str]) -> None:
    """So is a header of an upload that cannot be sent, and it is not quoted."""
    async with AsyncClient(KEY) as client:
        with pytest.raises(Exception, match="a header that belongs to the presigned URL cannot be sent") as caught:
            await client._core.files.storage.put(*put_to(LINK, headers), no_blocks())
    assert not caught.value.retryable


@table("url", ["https://foo..bar/api/v1", "https://xn--/api/v1", "https://core.test:0", f"https://{'x' * 64}.test"])
def test_base_urls_that_are_none(url: str) -> None:
    """A base URL that nothing can be sent to is no failure of the network: it is refused when the client is made."""
    with pytest.raises(ConfigurationError, match="base_url has a host that cannot be looked up") as caught:
        AsyncClient(KEY, base_url=url)
    assert not caught.value.may_have_been_sent


# What users raise

THEIRS = [httpx.ReadError("of their own request"), OSError("their disk"), TimeoutError(), KeyError("theirs")]


@table("failure", THEIRS, ids=lambda failure: type(failure).__name__)
async def test_providers(failure: Exception) -> None:
    """What a provider of tokens raises is not taken for a failure of the request, and is not tried again."""
    asked = []

    async def provide() -> str:
        asked.append(1)
        raise failure

    async with AsyncClient(provide, team_id="t") as client:
        with pytest.raises(TokenError) as caught:
            await client.tasks.get("t-1")
    assert caught.value.__cause__ is failure
    assert len(asked) == 1


@table("failure", [*THEIRS, StorageError("theirs", file="x"), anyio.EndOfStream()], ids=repr)
async def test_sources(failure: Exception) -> None:
    """What a source raises in the middle of an upload is its owner's, though httpx has asked for the bytes."""

    async def blocks() -> AsyncIterator[bytes]:
        yield b"abc"
        raise failure

    async def take(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/presign"):
            return httpx.Response(200, json={"file_key": "k", "upload_url": LINK})
        await request.aread()
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(take)) as http:
        async with AsyncClient(KEY, http_client=http, storage_client=http) as client:
            with pytest.raises(type(failure)) as caught:
                await client.upload(blocks(), name="a.bin", size=6)
            assert caught.value is failure
            with pytest.raises(type(failure)) as caught:
                await client._core.files.storage.put(*put_to(LINK, {}), blocks())
            assert caught.value is failure
