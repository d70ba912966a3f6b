"""Which hosts `NO_PROXY` takes out of the proxy's hands. (bypass, CIDR, IPv6)"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>\d{1,5})", re.ASCII)


def is_excluded(no_proxy: str, host: str, port: int) -> bool:
    """Whether a host is reached without a proxy.

    Of the forms in use, every one is taken: names, which stand for what is below them as well (`corp`, `.corp`,
    `*.corp`), addresses and networks, `host:port`, IPv6 with brackets or without, and `*` for all.

    Args:
        no_proxy: The variable's value: entries with commas or white space between them.
        host: A name or an address, without brackets.
        port: Where the connection would go.

    """
    wanted = host.lower().rstrip(".")
    return any(_fits(entry, wanted) for entry, its_port in _entries(no_proxy) if its_port in {None, port})


def _entries(no_proxy: str) -> Iterator[tuple[str, int | None]]:
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        place = entry.rpartition("://")[2]
        match = _WITH_PORT.fullmatch(place)
        host, port = (match["host"], int(match["port"])) if match else (place, None)
        if host:
            yield host.removeprefix("[").removesuffix("]").rstrip("."), port


def _fits(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if address is not None:
        return _holds(entry, address)
    if entry.startswith("*") and not entry.startswith("*."):
        return host.endswith(entry[1:])
    name = entry.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _holds(entry: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        # An address is a network of one.
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
