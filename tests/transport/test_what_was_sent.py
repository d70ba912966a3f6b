"""A submission is billed, so after each failure it is known whether it may have arrived, and it arrives once."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio
from support.raw import Peer, always_answer, raw_server
from support.tables import table

from cyberun_async import APIError, AsyncClient, Retries, Timeouts, TransportError, TransportTimeout

SUBMITTED = '{"task_id": "t-1"}'

Handler = Callable[[Peer], Awaitable[None]]


async def reset_at_once(peer: Peer) -> None:
    await peer.reset()


async def reset_after_the_request(peer: Peer) -> None:
    await peer.request()
    await peer.reset()


async def close_after_the_request(peer: Peer) -> None:
    await peer.request()


async def stay_silent(peer: Peer) -> None:
    await peer.request()
    await peer.until_closed()


async def lose_half_of_the_reply(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 202 OK\r\nContent-Length: 100\r\n\r\n" + SUBMITTED.encode()[:-1])


async def answer_no_http(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"220 smtp.example.com ESMTP\r\n\r\n")


async def answer_headers_without_end(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 202 OK\r\nX-Long: " + b"x" * 200_000)


def client_of(url: str, *, budget: float = 0.05, **timeouts: float) -> AsyncClient:
    return AsyncClient(
        "sk-test",
        base_url=url,
        allow_insecure_http=True,
        timeouts=Timeouts(**timeouts),
        retries=Retries(initial=0.001, maximum=0.001, budget=budget),
    )


@table(
    ("handle", "read", "kind"),
    [
        pytest.param(reset_at_once, 5, TransportError, id="reset at once"),
        pytest.param(reset_after_the_request, 5, TransportError, id="reset after the request was read"),
        pytest.param(close_after_the_request, 5, TransportError, id="closed after the request was read"),
        pytest.param(stay_silent, 0.1, TransportTimeout, id="no answer in time"),
        pytest.param(lose_half_of_the_reply, 5, TransportError, id="half of the reply is lost"),
        pytest.param(answer_no_http, 5, TransportError, id="an answer that is no HTTP"),
        pytest.param(answer_headers_without_end, 5, TransportError, id="headers without end"),
    ],
)
async def test_may_have_arrived(handle: Handler, read: float, kind: type[TransportError]) -> None:
    """Once there was a connection, the request may have arrived: it is sent once, and the error says so."""
    async with raw_server(handle) as server, client_of(server.url, read=read) as client:
        with pytest.raises(kind) as caught:
            await client.submit("text-to-image", validate=False)
        assert caught.value.may_have_been_sent
        assert "may have reached the server" in str(caught.value)
        assert server.connections == 1
        assert len(server.requests) <= 1


@table(
    "handle",
    [close_after_the_request, reset_after_the_request, lose_half_of_the_reply],
)
async def test_what_costs_nothing_is_repeated(handle: Handler) -> None:
    """A read is sent again after the same failures."""

    async def fail_twice(peer: Peer) -> None:
        await (handle if peer.number < 3 else always_answer)(peer)

    async with raw_server(fail_twice) as server, client_of(server.url, budget=30) as client:
        assert (await client.tasks.get("t-1")).id == "t-1"
        assert len(server.requests) == 3


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_refused() -> None:
    """Where nobody listens nothing was sent, so even a submission is repeated, until its budget is used up."""
    async with client_of(f"http://127.0.0.1:{closed_port()}") as client:
        with pytest.raises(TransportError) as caught:
            await client.submit("text-to-image", validate=False)
    assert (caught.value.may_have_been_sent, caught.value.retryable) == (False, True)
    assert "was not sent" in str(caught.value)


async def test_repeated_where_it_cannot_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission that met no server arrives once when there is one."""
    failures = iter([OSError("no route"), OSError("refused")])
    connect = anyio.connect_tcp
    open_stream = trio.open_tcp_stream

    async def connect_at_third(*args: object, **kwargs: object) -> object:
        for failure in failures:
            raise failure
        return await connect(*args, **kwargs)  # type: ignore[arg-type]

    async def open_at_third(*args: object, **kwargs: object) -> object:
        for failure in failures:
            raise failure
        return await open_stream(*args, **kwargs)

    async def submitted(peer: Peer) -> None:
        await peer.request()
        await peer.answer(SUBMITTED, status=202)
        await peer.until_closed()

    monkeypatch.setattr(anyio, "connect_tcp", connect_at_third)
    monkeypatch.setattr(trio, "open_tcp_stream", open_at_third)
    async with raw_server(submitted) as server, client_of(server.url, budget=30) as client:
        assert await client.submit("text-to-image", validate=False) == "t-1"
        assert len(server.requests) == 1
    assert next(failures, None) is None


async def test_unknown_host() -> None:
    """A name that does not resolve is no connection."""
    async with client_of("http://no-such-host.invalid") as client:
        with pytest.raises(TransportError) as caught:
            await client.submit("text-to-image", validate=False)
    assert not caught.value.may_have_been_sent


async def test_no_connection_in_time() -> None:
    """A connection that is not made in time is none."""
    # A listener whose queue is full answers no further connection.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        async with client_of(f"http://127.0.0.1:{address[1]}", connect=0.05) as client:
            with pytest.raises(TransportTimeout) as caught:
                await client.submit("text-to-image", validate=False)
        for each in waiting:
            each.close()
    assert not caught.value.may_have_been_sent


async def test_untrusted_certificate(server_tls: ssl.SSLContext) -> None:
    """A certificate that does not verify stays so: nothing was sent, and nothing is tried again."""
    async with raw_server(always_answer, tls=server_tls) as server, client_of(server.url) as client:
        for call in (client.tasks.get("t-1"), client.submit("text-to-image", validate=False)):
            with pytest.raises(TransportError, match="certificate does not verify") as caught:
                await call
            assert (caught.value.may_have_been_sent, caught.value.retryable) == (False, False)
        assert (server.connections, server.requests) == (2, [])


async def test_no_tls(server_tls: ssl.SSLContext) -> None:
    """A server that does not speak TLS where it should gets no request."""
    async with (
        raw_server(answer_no_http) as server,
        client_of(server.url.replace("http:", "https:"), connect=0.05) as client,
    ):
        with pytest.raises(TransportError) as caught:
            await client.submit("text-to-image", validate=False)
        assert not caught.value.may_have_been_sent


@table("status", [408, 409, 500, 502, 503, 504])
async def test_refusals(status: int) -> None:
    """A submission that was answered is never sent again: nobody knows what a failing server has done."""

    async def refuse(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer("{}", status=status)

    async with raw_server(refuse) as server, client_of(server.url) as client:
        with pytest.raises(APIError) as caught:
            await client.submit("text-to-image", validate=False)
        assert caught.value.status == status
        assert len(server.requests) == 1


async def test_too_many() -> None:
    """But for 429, which says that the server did nothing."""

    async def refuse_once(peer: Peer) -> None:
        await peer.request()
        await peer.answer("{}", status=429)
        await peer.request()
        await peer.answer(SUBMITTED, status=202)
        await peer.until_closed()

    async with raw_server(refuse_once) as server, client_of(server.url, budget=30) as client:
        assert await client.submit("text-to-image", validate=False) == "t-1"
        assert len(server.requests) == 2
