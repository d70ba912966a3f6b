"""From a call to a request, and the ways to send one; `credential.py` puts the key in. (headers, URL)"""

import re
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from urllib.parse import urlencode

import httpx

from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.json_text import encode_json
from cyberun_async._protocol.key_format import is_bound_to_team
from cyberun_async._protocol.secret import Key, Secret
from cyberun_async._settings import Settings
from cyberun_async._transport.bodies import OneBlock
from cyberun_async._transport.content_codings import compressions
from cyberun_async._transport.credential import authorize
from cyberun_async._transport.error_mapping import Unsendable, below
from cyberun_async._version import VERSION

USER_AGENT = f"cyberun-async/{VERSION}"

_SCHEMES = ("http", "https")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
"""Sends a request and gives the response with its body unread."""


def make_request(
    call: Call[object], settings: Settings, token: Key, extensions: dict[str, object], headers: Mapping[str, str]
) -> httpx.Request:
    """Give the request that a call stands for.

    It is made by hand, so that no default header, cookie or parameter of a user's own client gets in.
    """
    every: dict[str, str] = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
        **headers,
    }
    if settings.team_id is not None and not is_bound_to_team(token):
        every["X-Team-ID"] = settings.team_id
    content = None
    if call.body is not None:
        every["Content-Type"] = "application/json"
        content = encode_json(call.body)
    url = settings.base_url + call.path
    if call.query:
        url = f"{url}?{urlencode(call.query)}"
    target = checked_url(Secret(url))
    request = httpx.Request(call.method, target, headers=every, content=content, extensions=extensions)
    request.stream = OneBlock(content or b"")
    authorize(request, settings, token)
    return request


def check_base_address(url: str) -> None:
    """Refuse a base URL to which no connection can be tried.

    Raises:
        ConfigurationError: It is one.

    """
    if usable_url(Secret(url)) is None:
        raise ConfigurationError(
            "base_url has a host that cannot be looked up, or a port that is none: write https://host/api/v1"
        )


def checked_url(url: Secret[str]) -> httpx.URL:
    """Give a URL as httpx takes it, once every part of it can be used: some are looked at only while connecting.

    Raises:
        Unsendable: It cannot be sent to.

    """
    parsed = _parsed(url)
    if parsed is None:
        raise Unsendable("its URL is not one that can be used")
    if parsed.scheme not in _SCHEMES:
        raise Unsendable("its URL has an unsupported protocol, and is not one that can be used")
    return parsed


def usable_url(url: Secret[str], schemes: Collection[str] = _SCHEMES) -> httpx.URL | None:
    """Give a URL, or `None` where no connection to its host can be tried."""
    parsed = _parsed(url)
    return parsed if parsed is not None and parsed.scheme in schemes else None


def _parsed(url: Secret[str]) -> httpx.URL | None:
    try:
        parsed = httpx.URL(url.reveal())
        # What is shown of a host is decoded only then, and the codec that looks names up has rules of its own.
        is_name = bool(parsed.host and parsed.raw_host.decode().encode("idna"))
    except Exception:  # noqa: BLE001 - httpx, ipaddress, idna and codecs have their own
        return None
    return parsed if is_name and (parsed.port is None or 0 < parsed.port < 65536) else None


def checked_headers(headers: Secret[Mapping[str, str]]) -> httpx.Headers:
    """Give headers as httpx takes them.

    Raises:
        Unsendable: One of them cannot be sent.

    """
    if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value.strip()) for name, value in headers.reveal().items()):
        raise Unsendable("a header that belongs to the presigned URL cannot be sent")
    return httpx.Headers({name: value.strip() for name, value in headers.reveal().items()})


def stream_headers(last_event_id: str) -> dict[str, str]:
    """Give what a request for an event stream says beyond other requests."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    # The server's own word from a line of the stream: not all that fits there fits into a header.
    if last_event_id.isascii() and last_event_id.isprintable() and 0 < len(last_event_id.strip()) <= 1000:
        headers["Last-Event-ID"] = last_event_id.strip()
    return headers


def timeout_extension(connect: float, read: float, write: float) -> dict[str, object]:
    """Give the time limits of a request in the form that transports read."""
    return {"timeout": {"connect": connect, "read": read, "write": write, "pool": connect}}


def is_event_stream(response: httpx.Response) -> bool:
    """Whether the body is a stream of events, and not compressed."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_plain = not compressions(response.headers.get("content-encoding", ""))
    return response.status_code == httpx.codes.OK and kind == "text/event-stream" and is_plain


def check_own_client(client: httpx.AsyncClient) -> None:
    """Refuse what cannot be sent through.

    Raises:
        ConfigurationError: It is no client of httpx that can be awaited.

    """
    if not isinstance(client, httpx.AsyncClient):
        message = f"a client of your own must be an httpx.AsyncClient, not {type(client).__name__}"
        raise ConfigurationError(message)


def sender_of(client: httpx.AsyncClient) -> Send:
    """Send through the transport of a user's own client, be it a proxy's, and by nothing else of it.

    Its auth, cookies, redirects, event hooks and log lines are for its own requests.

    Raises:
        ConfigurationError: It is no client of httpx that can be awaited.

    """
    check_own_client(client)

    async def send(request: httpx.Request) -> httpx.Response:
        if client.is_closed:
            raise ConfigurationError("your own httpx client is closed: keep it open for as long as this client is used")
        # The one way to a client's proxies: `client.send` would run hooks, keep cookies and log presigned URLs.
        with below():
            transport = client._transport_for_url(request.url)  # noqa: SLF001 - see above; httpx is pinned, and a test says so
            return await transport.handle_async_request(request)

    return send


def keep_alive(response: httpx.Response) -> None:
    """Have the system probe a connection on which nothing moves.

    A router or firewall forgets such a connection without a sign.
    """
    stream = response.extensions.get("network_stream")
    connection = stream and stream.get_extra_info("socket")
    if connection is None:
        return
    # Some systems lack one or the other, and the socket of an injected client may be of any kind.
    with suppress(OSError, AttributeError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 45), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
