"""Where a server listens, and under which address its clients find it."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address

WILDCARDS = {"", "0.0.0.0", "::"}  # noqa: S104 - they are recognised here, not listened on


def is_wildcard(host: str) -> bool:
    """Whether listening on a host is listening on every address of the machine."""
    return host in WILDCARDS


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address, IPv4 or IPv6."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=dual)


def reachable_host(host: str) -> str:
    """Give the host under which this machine reaches what listens there: nobody connects to a wildcard."""
    if is_wildcard(host):
        return "::1" if host == "::" and not socket.has_dualstack_ipv6() else "127.0.0.1"
    return host


def origin(host: str, port: int) -> str:
    """Give the URL of a host and port, without a path."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def network_host() -> str | None:
    """Give this machine's address on its network, or `None` where it has none."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Of a documentation network: connecting a datagram socket chooses the way there, and sends nothing.
        probe.connect(("192.0.2.1", 9))
        found: str = probe.getsockname()[0]
        return found
    return None
