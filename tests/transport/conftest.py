"""What the tests of the transport have in common."""

from __future__ import annotations

import ssl

import httpx
import pytest
import trustme

from cyberun_async._transport import tls


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Make a certificate authority that nobody trusts yet."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Give a server what it takes to be the local host, and `cyberun.test`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "cyberun.test").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Make what a client needs to trust the authority, besides all others; it takes longer than most tests."""
    context = httpx.create_ssl_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def trusted(trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the clients of a test trust the authority."""
    monkeypatch.setattr(tls, "_shared", {})
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: trusting)
