"""Which proxy the environment names for a host."""

from ssl import SSLContext
from urllib.request import getproxies, getproxies_environment, proxy_bypass

import anyio.to_thread
import httpx

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.base_url import is_loopback
from cyberun_async._protocol.secret import Secret
from cyberun_async._transport.no_proxy import is_excluded
from cyberun_async._transport.requests import usable_url

_PORTS = {"http": 80, "https": 443}
_SCHEMES = ("http", "https", "socks5", "socks5h")


async def find_proxy(url: httpx.URL | str) -> str | None:
    """Give the address of the proxy to a host, or `None` where it is reached directly.

    Raises:
        ConfigurationError: The environment names something that cannot be a proxy.

    """
    url = httpx.URL(url)
    if is_loopback(url.host):
        return None
    named = _named(url.scheme)
    if named is None or await _is_excluded(url):
        return None
    problem = _problem_of(named)
    if problem is not None:
        message = f"the environment variable {url.scheme}_proxy or all_proxy {problem}"
        raise ConfigurationError(message)
    return named.reveal()


def _named(scheme: str) -> Secret[str] | None:
    """Give the address that the environment, or the system, names; it may hold a password."""
    proxies = getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    return Secret(address if "://" in address else f"http://{address}") if address else None


async def _is_excluded(url: httpx.URL) -> bool:
    environment = getproxies_environment()
    if environment:
        excluded, port = environment.get("no", ""), url.port or _PORTS.get(url.scheme, 0)
        return any(is_excluded(excluded, host, port) for host in {url.host, url.raw_host.decode()})
    # Where the system names the proxy, it decides, which may take requests on the network.
    return bool(await anyio.to_thread.run_sync(proxy_bypass, url.netloc.decode()))


def _problem_of(address: Secret[str]) -> str | None:
    """Say what httpx would only fail on later, without the address."""
    url = usable_url(address, _SCHEMES)
    if url is None or any(c.isspace() for c in address.reveal()):
        return "is not the address of a proxy, such as http://host:port"
    if url.scheme.startswith("socks") and not _has_socks():
        return "names a SOCKS proxy, which needs: pip install 'httpx[socks]'"
    return None


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
