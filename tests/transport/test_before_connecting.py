"""What fails before a request is sent cannot have arrived: settings are named at once, and nothing counts as sent."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from support.raw import Peer, raw_server
from support.tables import table

from cyberun_async import (
    AsyncClient,
    ConfigurationError,
    InputFile,
    Retries,
    Timeouts,
    TransportError,
)
from cyberun_async._files.storage import Storage
from cyberun_async._protocol.secret import Secret
from cyberun_async._transport import tls
from cyberun_async._transport.proxies import find_proxy

SUBMITTED = '{"task_id": "t-1"}'


def client_of(url: str = "https://cyberun.test", **options: object) -> AsyncClient:
    return AsyncClient("sk-test", base_url=url, allow_insecure_http=True, **options)  # type: ignore[arg-type]


# Certificate authorities


@pytest.fixture
def no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next client read its certificate authorities again."""
    monkeypatch.setattr(tls, "_shared", {})
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        pytest.param("SSL_CERT_FILE=FOLDER/missing.pem", "No such file or directory", id="missing"),
        pytest.param("SSL_CERT_FILE=FOLDER/no.pem", "it holds no certificate in PEM form", id="no PEM"),
        pytest.param("SSL_CERT_FILE=FOLDER/broken.pem", "it holds no certificate in PEM form", id="broken PEM"),
        pytest.param("SSL_CERT_FILE=FOLDER", "Is a directory", id="a folder"),
        pytest.param("SSL_CERT_DIR=FOLDER/missing", "names no folder", id="no folder"),
        pytest.param("SSL_CERT_DIR=FOLDER/no.pem", "names no folder", id="a file for a folder"),
        pytest.param("SSLKEYLOGFILE=FOLDER/missing/log", "No such file or directory", id="no log of keys"),
    ],
)
async def test_authorities(
    setting: str, reason: str, no_context: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that names no certificate authorities is named, at once, by every kind of call."""
    (tmp_path / "no.pem").write_text("hello")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    variable, _, value = setting.partition("=")
    monkeypatch.setenv(variable, value.replace("FOLDER", str(tmp_path)))
    async with client_of() as client:
        storage = Storage(client._core.settings, None, client._core.transport.check_usable)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: client.submit("text-to-image", validate=False),
            lambda: client.run("text-to-image", {}),
            lambda: client.wait_for_result("t-1"),
            lambda: client.upload(InputFile(b"x", name="a.png")),
            lambda: storage.get(Secret("https://storage.test/a"), {}),
        ]
        for call in calls:
            with anyio.fail_after(5), pytest.raises(ConfigurationError, match=variable) as caught:
                await call()
            assert reason in str(caught.value)
            assert not caught.value.may_have_been_sent


async def test_authorities_of_the_dependency(no_context: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable, the authorities are those of certifi, which an installation may lack."""
    import certifi

    monkeypatch.setattr(certifi, "where", lambda: "/missing.pem")
    async with client_of() as client:
        with pytest.raises(ConfigurationError, match=r"package certifi: .*No such file"):
            await client.tasks.get("t-1")


async def test_several_folders(no_context: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of certificates can be listed, as OpenSSL takes them."""
    monkeypatch.setenv("SSL_CERT_DIR", f"/missing:{tmp_path}")
    assert isinstance(await tls.tls_context(), ssl.SSLContext)


# Addresses


HOSTS = ["foo..bar", f"{'a' * 64}.test", ".", "999.1.1.1", "☃.test"]


@table("host", HOSTS)
def test_host(host: str) -> None:
    """A host that cannot be looked up is refused when the client is made."""
    with pytest.raises(ConfigurationError, match=r"base_url has a host that cannot be looked up"):
        client_of(f"https://{host}/api/v1")


def test_port() -> None:
    """So is a port that there is not."""
    with pytest.raises(ConfigurationError, match="a port that is none"):
        client_of("https://cyberun.test:0")


@table("host", ["a_b.test", "cyberun.test.", "größe.test", "127.0.0.1", "[::1]", "xn--tda.de"])
async def test_usable_host(host: str) -> None:
    """What can be looked up is left alone."""
    client_of(f"https://{host}/api/v1")
    assert await find_proxy(f"https://{host}/api/v1") is None


@pytest.mark.parametrize(
    "address", [*(f"http://{host}:80" for host in HOSTS), "http://\ud83d", "http://p:99999", "p:0", "http://[::1"]
)
async def test_proxy(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable that is no address is named."""
    monkeypatch.setattr("cyberun_async._transport.proxies.getproxies", lambda: {"https": address})
    with pytest.raises(ConfigurationError, match="https_proxy or all_proxy is not the address of a proxy"):
        await find_proxy("https://cyberun.test")


async def test_endless_id() -> None:
    """An id that no URL can hold is not sent, and not retried."""
    async with client_of() as client:
        with pytest.raises(TransportError, match="not one that can be used") as caught:
            await client.tasks.get("x" * 70_000)
    assert (caught.value.may_have_been_sent, caught.value.retryable) == (False, False)


# What counts as sent


async def ignore(peer: Peer) -> None:
    await peer.request()
    await peer.until_closed()


async def test_silent_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that never answers to CONNECT has got nothing of a submission, which is retried."""
    async with raw_server(ignore) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        retries = Retries(budget=0.05, initial=0.001, maximum=0.001)
        async with client_of(timeouts=Timeouts(read=0.02), retries=retries) as client:
            with pytest.raises(TransportError) as caught:
                await client.submit("text-to-image", validate=False)
        assert not caught.value.may_have_been_sent
        assert len(proxy.requests) > 1
        assert all(request.startswith(b"CONNECT") for request in proxy.requests)


async def test_closed_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is closed before its submission has left says so."""
    async with raw_server(ignore) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        client = client_of()
        failures: list[TransportError] = []

        async def submit() -> None:
            try:
                await client.submit("text-to-image", validate=False)
            except TransportError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(submit)
            await proxy.until(lambda proxy: proxy.open == 1)
            await client.aclose()
    assert [failure.may_have_been_sent for failure in failures] == [False]


async def test_idle_connection_that_was_closed() -> None:
    """On an idle connection that the server has closed, nothing is sent: a submission takes another one."""

    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.answer(SUBMITTED, status=202)

    async with raw_server(once) as server, client_of(server.url) as client:
        for _ in range(3):
            assert await client.submit("text-to-image", validate=False) == "t-1"
            await server.until(lambda server: server.open == 0)
        assert (server.connections, len(server.requests)) == (3, 3)
