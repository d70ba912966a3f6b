"""Who may use the control endpoints: a program that has the token, and no web page.

A page in a browser of this machine reaches loopback, too. It is kept out four times over: it does not know the token;
it cannot send the `Authorization` header without a preflight, which is rejected; its requests carry the page's `Origin`
or say `Sec-Fetch-Site: cross-site`; and where its name was pointed at this machine (DNS rebinding), `Host` is that name.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ._addresses import is_wildcard
from ._http import error_response

HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII)
"""A `Host` header in lower case."""


class Guard:
    """The layer around the control endpoints that lets in only who may use them.

    Args:
        app: The endpoints.
        token: What a request has to carry as `Authorization: Bearer`.
        listening_on: The address that the server listens on.
    """

    def __init__(self, app: ASGIApp, token: str, listening_on: str) -> None:
        self._app = app
        self._token = token
        self._listening_on = listening_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = guard_error(Headers(scope=scope), self._token, self._listening_on)
        if error is None:
            await self._app(scope, receive, send)
        else:
            status, message = error
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            await error_response(status, message, headers)(scope, receive, send)


def guard_error(headers: Headers, token: str, listening_on: str) -> tuple[int, str] | None:
    """Give the status and the reason with which a request is kept out, if it is."""
    host = headers.get("host", "").lower()
    if not is_own_host(host, listening_on):
        return 403, "this Host is not the local Cyberun's"
    if any(origin.lower() != f"http://{host}" for origin in headers.getlist("origin")):
        return 403, "pages of another Origin may not use the control endpoints"
    if not {"none", "same-origin"}.issuperset(headers.getlist("sec-fetch-site")):
        return 403, "pages of another site may not use the control endpoints"
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        return 401, "the control endpoints take the control token, as Authorization: Bearer"
    return None


def is_own_host(host: str, listening_on: str) -> bool:
    """Whether a `Host` header is one that clients of this server send, rather than a name that leads here by a trick.

    It is loopback or the address that is listened on. Where every address is, it is any address, or a name without a
    dot, as containers have: who could give those to a page rules the network already.
    """
    match = HOST.fullmatch(host)
    if match is None:
        return False
    name = match[1].strip("[]")
    if name in {"localhost", listening_on.lower()} or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return is_wildcard(listening_on) and "." not in name
    return address.is_loopback or is_wildcard(listening_on)
