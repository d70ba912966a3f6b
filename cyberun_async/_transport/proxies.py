"""Which proxy the environment names for a host."""

from ssl import SSLContext
from urllib.request import getproxies, proxy_bypass

import anyio.to_thread
import httpx

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.secret import Secret
from cyberun_async._settings import is_loopback
from cyberun_async._transport.requests import usable_url

_SCHEMES = ("http", "https", "socks5", "socks5h")


async def find_proxy(url: httpx.URL | str) -> str | None:
    """Give the address of the proxy to a host, or `None` where it is reached directly.

    Raises:
        ConfigurationError: The environment names something that cannot be a proxy.

    """
    url = httpx.URL(url)
    if is_loopback(url.host):
        return None
    proxies = getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    # Some systems answer the second question by a look at the network.
    if not address or await anyio.to_thread.run_sync(proxy_bypass, url.netloc.decode()):
        return None
    return _checked(address if "://" in address else f"http://{address}", f"{url.scheme}_proxy or all_proxy")


def _checked(address: str, variable: str) -> str:
    """Refuse what httpx would only fail on later; the message leaves out the address, which may hold a password."""
    url = usable_url(Secret(address), _SCHEMES)
    if url is None or any(c.isspace() for c in address):
        message = f"the environment variable {variable} is not the address of a proxy, such as http://host:port"
        raise ConfigurationError(message)
    if url.scheme.startswith("socks") and not _has_socks():
        message = f"the environment variable {variable} names a SOCKS proxy, which needs: pip install 'httpx[socks]'"
        raise ConfigurationError(message)
    return address


def _has_socks() -> bool:
    try:
        import socksio  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError:
        return False
    return True


def proxy_of(address: str | None, tls: SSLContext) -> httpx.Proxy | None:
    """Give a proxy in the form that httpx takes; one that is itself reached by TLS is checked with our context."""
    if address is None:
        return None
    return httpx.Proxy(address, ssl_context=tls if address.startswith("https:") else None)
