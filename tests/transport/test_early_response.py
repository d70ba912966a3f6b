"""Uploads that are refused before they have left: the refusal is heard, whatever becomes of the connection."""

from __future__ import annotations

import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import anyio.lowlevel
import httpcore
import pytest
from anyio.abc import SocketStream
from support.raw import Peer, RawServer, proxy_to, raw_server
from support.tables import table

from cyberun_async import AsyncClient, Retries, StorageError, Timeouts
from cyberun_async._transport.bodies import RequestBody
from cyberun_async._transport.early_response import CHUNK_SIZE, EarlyResponseStream, listening, stops_sending

MIB = 1024 * 1024
DATA = bytes(20 * MIB)
QUICK = Retries(budget=5, initial=0.001, maximum=0.001)

REFUSED = b"HTTP/1.1 403 X\r\nContent-Length: 44\r\n\r\n<Error><Code>RequestExpired</Code></Error>\r\n"
TOO_LARGE = b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n"

Answer = Callable[[Peer], Awaitable[None]]


async def head_of(peer: Peer) -> bytes:
    """Read the head of a request, and nothing of its body."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += await peer.stream.receive(1)
    peer.server.requests.append(received.partition(b"\r\n\r\n")[0])
    return received


def storage(*answers: Answer, host: str = "") -> Answer:
    """Give links to itself, by another name if it has one, and answer to each upload as it is told, the last time for all that follow."""
    script = list(answers)

    async def handle(peer: Peer) -> None:
        while True:
            head = await head_of(peer)
            if b"POST /" not in head:  # What is left of the body before it comes with it.
                break
            url = f"{host or peer.server.url}/k?sig=s"
            await peer.answer(f'{{"file_key": "k", "upload_url": "{url}"}}')
        await (script.pop(0) if len(script) > 1 else script[0])(peer)

    return handle


async def refuse_and_half_close(peer: Peer) -> None:
    """Refuse, say that nothing more will come, and close a little later with what was sent unread."""
    assert isinstance(peer.stream, SocketStream)
    await peer.send(REFUSED)
    await peer.stream.send_eof()
    await anyio.sleep(0.1)
    await peer.reset()


async def refuse_and_close(peer: Peer) -> None:
    await peer.send(REFUSED)
    await anyio.sleep(0.05)
    await peer.reset()


async def refuse_in_silence(peer: Peer) -> None:
    """Refuse, and leave the connection as it is, without reading."""
    await peer.send(REFUSED)
    await anyio.sleep_forever()


async def too_large(peer: Peer) -> None:
    await peer.send(TOO_LARGE)
    await anyio.sleep(0.05)


async def refuse_without_a_length(peer: Peer) -> None:
    """Refuse with a body that ends where the connection does, which is reset."""
    await peer.send(b"HTTP/1.1 403 X\r\nConnection: close\r\n\r\n<Error><Code>RequestExpired</Code>")
    await peer.reset()


async def close_its_end(peer: Peer) -> None:
    """Say that nothing will come, and read nothing."""
    assert isinstance(peer.stream, SocketStream)
    await peer.stream.send_eof()
    await anyio.sleep(0.05)


async def take(peer: Peer) -> None:
    """Take the whole file, after a word that means nothing yet."""
    for word in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\nLink: <a>\r\n\r\n"):
        await peer.send(word[:7])
        await anyio.lowlevel.checkpoint()
        await peer.send(word[7:])
    left = len(DATA)
    while left > 0:
        left -= len(await peer.stream.receive(MIB))
    await peer.send(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")


def puts(server: RawServer) -> int:
    return sum(request.startswith(b"PUT") for request in server.requests)


def client_of(server: RawServer, **options: object) -> AsyncClient:
    given = {"retries": QUICK, **options}
    return AsyncClient("sk-1", base_url=server.url, **given)  # type: ignore[arg-type]


@table("answer", [refuse_and_half_close, refuse_and_close, refuse_in_silence, refuse_without_a_length])
async def test_refused(answer: Answer) -> None:
    """A refusal that comes while the file is being sent is heard at once: a new link, and the error that it says."""
    async with raw_server(storage(answer)) as server, client_of(server) as client:
        with pytest.raises(StorageError, match="RequestExpired") as caught:
            await client.upload(DATA, name="a.bin")
    assert (caught.value.status, caught.value.retryable, puts(server)) == (403, False, 2)


@pytest.mark.parametrize("answer", [refuse_and_close, refuse_in_silence])
async def test_refused_by_tls(answer: Answer, server_tls: ssl.SSLContext, trusted: None) -> None:
    """A refusal is heard on an encrypted connection, too."""
    async with raw_server(storage(answer), tls=server_tls) as server, client_of(server) as client:
        with pytest.raises(StorageError, match="RequestExpired"):
            await client.upload(DATA, name="a.bin")
    assert puts(server) == 2


async def test_refused_by_a_tunnel(server_tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is heard through a proxy's tunnel, too, and what is sent after it arrives."""
    script = storage(refuse_in_silence, take, host="https://cyberun.test")
    async with raw_server(script, tls=server_tls) as server, proxy_to(server) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        async with AsyncClient("sk-1", base_url="https://cyberun.test/api/v1", retries=QUICK) as client:
            assert await client.upload(DATA, name="a.bin") == "k"
    assert puts(server) == 2


async def test_taken_by_tls(server_tls: ssl.SSLContext, trusted: None) -> None:
    """What is read while sending takes nothing from an encrypted connection."""
    async with raw_server(storage(take), tls=server_tls) as server, client_of(server) as client:
        assert await client.upload(DATA, name="a.bin") == "k"


async def test_expired() -> None:
    """An expired link is seen while the file is being sent, and a fresh one is asked for."""
    async with raw_server(storage(refuse_and_half_close, take)) as server, client_of(server) as client:
        assert await client.upload(DATA, name="a.bin") == "k"
    assert puts(server) == 2


async def test_too_large() -> None:
    """A file that is refused for its size is not sent to its end, and not a second time."""
    async with raw_server(storage(too_large)) as server, client_of(server) as client:
        with pytest.raises(StorageError, match="500 MB") as caught:
            await client.upload(io.BytesIO(DATA), name="a.bin")
    assert (caught.value.status, puts(server)) == (413, 1)
    assert caught.value.bytes_done < len(DATA)


async def test_a_slow_source() -> None:
    """A refusal does not wait for a source that has nothing to give."""

    async def blocks() -> AsyncIterator[bytes]:
        yield bytes(10)
        await anyio.sleep_forever()

    async with raw_server(storage(refuse_in_silence)) as server, client_of(server) as client:
        with pytest.raises(StorageError, match=r"RequestExpired.*cannot be read again") as caught:
            await client.upload(blocks(), name="a.bin", size=len(DATA))
    assert (caught.value.status, puts(server)) == (403, 1)


async def test_closed_end() -> None:
    """A server that closes its end will never answer, so the rest is not sent."""
    async with raw_server(storage(close_its_end, take)) as server, client_of(server) as client:
        assert await client.upload(DATA, name="a.bin") == "k"
    assert puts(server) == 2


async def test_early_success() -> None:
    """A success before all was sent is none."""

    async def succeed(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")
        await anyio.sleep(0.02)

    async with raw_server(storage(succeed, take)) as server, client_of(server) as client:
        assert await client.upload(DATA, name="a.bin") == "k"
    assert puts(server) == 2


async def test_success_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A success whose connection ends at once is one, also where that is read before the end of the body is asked for."""
    real = RequestBody.__anext__
    ended = anyio.Event()

    async def last(body: RequestBody) -> bytes:
        if body.sent:  # type: ignore[attr-defined]
            await ended.wait()
            await anyio.wait_all_tasks_blocked()
        body.sent = True  # type: ignore[attr-defined]
        return await real(body)

    async def succeed(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.send(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")
        await peer.stream.aclose()
        ended.set()

    monkeypatch.setattr(RequestBody, "sent", False, raising=False)
    monkeypatch.setattr(RequestBody, "__anext__", last)
    async with raw_server(storage(succeed)) as server, client_of(server) as client:
        assert await client.upload(b"data", name="a.bin") == "k"
    assert puts(server) == 1


async def test_nothing_taken() -> None:
    """A server that takes nothing and says nothing is left after a while."""

    async def nothing(peer: Peer) -> None:
        await anyio.sleep_forever()

    timeouts = Timeouts(write=0.01)
    async with (
        raw_server(storage(nothing)) as server,
        client_of(server, timeouts=timeouts, retries=Retries(budget=0)) as client,
    ):
        with pytest.raises(StorageError, match="nothing was accepted in time"):
            await client.upload(DATA, name="a.bin")


@table("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"])
async def test_read_ahead(start: bytes) -> None:
    """A server that responds without end while it is sent a file is not read without end."""
    given = 0

    class Stream(httpcore.AsyncNetworkStream):
        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            nonlocal given
            await anyio.lowlevel.checkpoint()
            given += max_bytes
            return (start * (max_bytes // len(start) + 1))[:max_bytes] if b" 102 " in start else start.ljust(max_bytes)

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            for _ in range(10):
                await anyio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            pass

    stream = EarlyResponseStream(Stream())

    async def send() -> bytes:
        for _ in range(10):
            await stream.write(b"block")
        return await stream.read(100)

    assert (await listening(send)).startswith(start)
    assert given <= 2 * CHUNK_SIZE


async def test_nothing_sent_after_a_refusal() -> None:
    """What is written after the refusal has been read goes nowhere."""
    stream = EarlyResponseStream(None)  # type: ignore[arg-type]
    stream._received = REFUSED
    with pytest.raises(httpcore.WriteError):
        await stream.write(b"more")


@table(
    ("received", "expected"),
    [
        (b"H", False),
        (b"HTTP/1.1 ", False),
        (b"HTTP/1.1 10", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 4", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200", False),
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.0 503 X", True),
        (b"HTTP/1.1 307 X", True),
        (b"SSH-2.0", True),
        (b"?", True),
    ],
)
def test_stops_sending(received: bytes, expected: bool) -> None:
    """Only a final response that is no success, or no response at all, makes the rest pointless."""
    assert stops_sending(received) == expected
