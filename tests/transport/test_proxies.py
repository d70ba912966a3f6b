"""Proxies: from the environment, for plain and for secure servers."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterable

import anyio
import httpx
import pytest
from support.raw import Peer, always_answer, proxy_to, raw_server
from support.secrecy import everything_about
from support.tables import table

from cyberun_async import AsyncClient, ConfigurationError, Retries, TransportError
from cyberun_async._protocol import endpoints
from cyberun_async._transport import proxies
from cyberun_async._transport.error_mapping import is_retryable
from cyberun_async._transport.no_proxy import is_excluded
from cyberun_async._transport.proxies import find_proxy, proxy_of


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        pytest.param("https://cyberun.test", {}, None, id="none"),
        pytest.param("https://cyberun.test", {"https_proxy": "http://p:1"}, "http://p:1", id="https"),
        pytest.param("https://cyberun.test", {"HTTPS_PROXY": "http://p:1"}, "http://p:1", id="in capitals"),
        pytest.param("https://cyberun.test", {"http_proxy": "http://p:1"}, None, id="for the other scheme"),
        pytest.param("http://cyberun.test", {"http_proxy": "http://p:1"}, "http://p:1", id="http"),
        pytest.param("http://cyberun.test", {"all_proxy": "http://p:1"}, "http://p:1", id="all"),
        pytest.param("http://cyberun.test", {"all_proxy": "socks5://p:1"}, "socks5://p:1", id="socks"),
        pytest.param("http://cyberun.test", {"http_proxy": "p:1"}, "http://p:1", id="without a scheme"),
        pytest.param("http://cyberun.test", {"all_proxy": "http://p", "no_proxy": "*"}, None, id="for nobody"),
        pytest.param("http://a.b.test", {"all_proxy": "http://p", "no_proxy": "x,.b.test"}, None, id="not a domain"),
        pytest.param("http://b.test:81", {"all_proxy": "http://p", "no_proxy": "b.test:81"}, None, id="not a port"),
        pytest.param(
            "http://b.test:80", {"all_proxy": "http://p", "no_proxy": "b.test:81"}, "http://p", id="that port"
        ),
        pytest.param("http://127.0.0.1:80", {"all_proxy": "http://p:1"}, None, id="loopback"),
        pytest.param("http://[::1]:80", {"all_proxy": "http://p:1"}, None, id="loopback of IPv6"),
        pytest.param("http://localhost", {"all_proxy": "http://p:1"}, None, id="localhost"),
    ],
)
async def test_environment(
    url: str, environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual variables name the proxy, but never for this machine itself."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert await find_proxy(httpx.URL(url)) == expected


@pytest.mark.parametrize("address", ["ftp://p:1", "http://", "http://user:secret@p:port", "not a proxy"])
async def test_no_proxy_at_all(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be a proxy is refused by the name of its variable, without its password; nothing is sent."""
    monkeypatch.setenv("https_proxy", address)
    async with AsyncClient("sk-test", base_url="https://cyberun.test") as client:
        with pytest.raises(ConfigurationError, match="https_proxy or all_proxy is not the address") as caught:
            await client.tasks.get("t-1")
    assert "secret" not in str(caught.value)


async def test_socks_needs_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy without what it takes says what to install."""
    monkeypatch.setenv("all_proxy", "socks5://p:1")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'httpx\[socks\]'"):
        await find_proxy(httpx.URL("https://cyberun.test"))


def test_proxy_by_tls() -> None:
    """A proxy that is itself reached by TLS is checked with our one context; httpcore would make another on the loop."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert proxy_of(None, tls) is None
    plain, secure = proxy_of("http://p", tls), proxy_of("https://p", tls)
    assert plain is not None
    assert secure is not None
    assert (plain.ssl_context, secure.ssl_context) == (None, tls)


def lines(requests: Iterable[bytes]) -> list[bytes]:
    return [request.partition(b"\r\n")[0] for request in requests]


async def test_forwarding(monkeypatch: pytest.MonkeyPatch) -> None:
    """By plain HTTP, the proxy gets the whole address and passes it on, for calls and for event streams."""

    async def answer(peer: Peer) -> None:
        while True:
            if b"/events " in await peer.request():
                await peer.open_events()
                await peer.send(b": alive\n\n")
                await peer.until_closed()
            await peer.answer()

    async with raw_server(answer) as server, proxy_to(server) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with AsyncClient("sk-test", base_url="http://cyberun.test", allow_insecure_http=True) as client:
            assert (await client.tasks.get("t-1")).id == "t-1"
            connection = await client._core.transport.open_stream(endpoints.stream_task_events("t-1"))
            assert await connection.receive() == []
            await connection.aclose()
        assert lines(proxy.requests) == [
            b"GET http://cyberun.test/r/tasks/t-1 HTTP/1.1",
            b"GET http://cyberun.test/r/tasks/t-1/events HTTP/1.1",
        ]


async def test_tunnel(server_tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By HTTPS, the proxy gets a tunnel, and sees neither key nor path."""
    async with raw_server(always_answer, tls=server_tls) as server, proxy_to(server) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        async with AsyncClient("sk-test", base_url="https://cyberun.test") as client:
            for _ in range(3):
                assert (await client.tasks.get("t-1")).id == "t-1"
        assert lines(proxy.requests) == [b"CONNECT cyberun.test:443 HTTP/1.1"]
        assert b"roxy-authorization: basic" in proxy.requests[0].lower()
        assert b"sk-test" not in proxy.requests[0]
        assert lines(server.requests) == [b"GET /r/tasks/t-1 HTTP/1.1"] * 3
        assert b"roxy-authorization" not in server.requests[0].lower()


async def test_refused_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses the tunnel has passed nothing on."""

    async def refuse(peer: Peer) -> None:
        await peer.request()
        await peer.answer("", status=407)

    async with raw_server(refuse) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        async with AsyncClient("sk-test", base_url="https://cyberun.test", retries=Retries(budget=0)) as client:
            with pytest.raises(TransportError, match="407") as caught:
                await client.submit("text-to-image", validate=False)
        assert not caught.value.may_have_been_sent


@table("turns", range(1, 40, 3))
async def test_cancelled_in_a_tunnel(
    turns: int, server_tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is cancelled on its way through a proxy leaves no connection to it."""
    async with raw_server(always_answer, tls=server_tls) as server, proxy_to(server) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        async with AsyncClient("sk-test", base_url="https://cyberun.test") as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.tasks.get, "t-1")
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            assert (await client.tasks.get("t-1")).id == "t-1"
        with anyio.fail_after(5):
            await proxy.until(lambda proxy: proxy.open == 0)


@table(
    ("no_proxy", "host", "port", "is_so"),
    [
        ("", "a.corp", 443, False),
        (",, ,", "a.corp", 443, False),
        ("*", "a.corp", 443, True),
        ("a.corp", "a.corp", 443, True),
        ("A.Corp.", "a.corp", 443, True),
        ("a.corp", "A.CORP.", 443, True),
        ("corp", "a.corp", 443, True),
        (".corp", "a.corp", 443, True),
        (".corp", "corp", 443, True),
        ("*.corp", "a.corp", 443, True),
        ("*.corp", "a.b.corp", 443, True),
        ("*.corp", "acorp", 443, False),
        ("*corp", "acorp", 443, True),
        ("orp", "a.corp", 443, False),
        (".", "a.corp", 443, False),
        ("x.test, a.corp", "a.corp", 443, True),
        ("x.test a.corp", "a.corp", 443, True),
        ("a.corp:443", "a.corp", 443, True),
        ("a.corp:8443", "a.corp", 443, False),
        ("*.corp:443", "a.corp", 443, True),
        ("*:8443", "a.corp", 8443, True),
        ("https://a.corp:443", "a.corp", 443, True),
        ("10.0.0.1", "10.0.0.1", 443, True),
        ("10.0.0.1:80", "10.0.0.1", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.7/8", "10.1.2.3", 443, True),
        ("1", "10.0.0.1", 443, False),
        ("0.0.1", "10.0.0.1", 443, False),
        ("fd00::1", "fd00::1", 443, True),
        ("fd00:0:0:0:0:0:0:1", "fd00::1", 443, True),
        ("[fd00::1]", "fd00::1", 443, True),
        ("[fd00::1]:443", "fd00::1", 443, True),
        ("[fd00::1]:80", "fd00::1", 443, False),
        ("fd00::/8", "fd12::1", 443, True),
        ("[fd00::]/8", "fd12::1", 443, False),
        ("fd00::1", "a.corp", 443, False),
        ("a.corp:99999999", "a.corp", 443, False),
    ],
)
def test_exclusions(no_proxy: str, host: str, port: int, is_so: bool) -> None:
    """Each form of `NO_PROXY` that is in use means what it means elsewhere."""
    assert is_excluded(no_proxy, host, port) is is_so


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_direct"),
    [
        ("https://cyberun.test", "cyberun.test:443", True),
        ("https://cyberun.test:8443", "cyberun.test:443", False),
        ("https://[fd00::1]/", "fd00::1", True),
        ("https://münchen.test", "xn--mnchen-3ya.test", True),
        ("https://xn--mnchen-3ya.test", "münchen.test", True),
    ],
)
async def test_excluded_urls(url: str, no_proxy: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port may be the scheme's, and a name may be in either of its forms."""
    monkeypatch.setenv("https_proxy", "http://p:1")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert await find_proxy(url) == (None if is_direct else "http://p:1")


@pytest.mark.parametrize("is_direct", [True, False])
async def test_proxies_of_the_system(is_direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system names the proxy, the system is asked for which hosts."""
    monkeypatch.setattr(proxies, "getproxies", lambda: {"https": "p:1"})
    monkeypatch.setattr(proxies, "proxy_bypass", lambda host: is_direct and host == "cyberun.test")
    assert await find_proxy("https://cyberun.test") == (None if is_direct else "http://p:1")


@pytest.mark.parametrize(
    ("refusal", "requests"),
    [
        pytest.param("407 Proxy Authentication Required", 1, id="407"),
        pytest.param("403 Forbidden", 1, id="403"),
        pytest.param("404", 1, id="404"),
        pytest.param("503 Service Unavailable", 2, id="503"),
        pytest.param("429 Too Many Requests", 2, id="429"),
    ],
)
async def test_final_refusals(refusal: str, requests: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses to connect for good is asked once, and the error says what to see to."""

    async def refuse(peer: Peer) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())

    async with raw_server(refuse) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:pass-word@127.0.0.1:{proxy.port}")
        # A budget that the first delay after the second try does not fit into.
        retries = Retries(initial=0.05, budget=0.06, maximum=10.0)
        async with AsyncClient("sk-test", base_url="https://cyberun.test", retries=retries) as client:
            with pytest.raises(TransportError, match=f"the proxy refused: {refusal}") as caught:
                await client.tasks.get("t-1")
        assert caught.value.retryable is (requests > 1)
        assert ("has the user and password it wants" in str(caught.value)) is (requests == 1)
        assert min(len(proxy.requests), 2) == requests
        assert "pass-word" not in everything_about(caught.value)


@table(
    ("words", "is_final"),
    [
        ("Invalid username/password", True),
        ("Requested NO AUTHENTICATION REQUIRED from proxy server, but got USERNAME/PASSWORD.", True),
        ("Proxy Server could not connect: Connection not allowed by ruleset.", True),
        ("Proxy Server could not connect: Host unreachable.", False),
    ],
)
def test_socks(words: str, is_final: bool) -> None:
    """So it is with SOCKS."""
    assert is_retryable(httpx.ProxyError(words)) is not is_final
