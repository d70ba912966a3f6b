"""Whether this machine reaches the service, as whom, and whether streams get through."""

import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import NoneType
from urllib.parse import urlsplit

import anyio
import attrs
from anyio.streams.tls import TLSAttribute

from cyberun_async._client import AsyncClient, core_of
from cyberun_async._errors import DecodeError, TransportError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.http_dates import parse_http_date
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.secret import Key
from cyberun_async._transport.error_mapping import describe_cause, map_error, map_exceptions
from cyberun_async._transport.proxies import find_proxy
from cyberun_async._transport.response import Response
from cyberun_async._transport.tls import tls_context
from cyberun_async.conformance._asking import ask
from cyberun_async.conformance._following import follow, judge
from cyberun_async.conformance._report import Differs, Finding, Skipped, finding_of
from cyberun_async.conformance._tables import LAST_EVENTS

DAY = 24 * 3600
SOON = 14
"""Days before its expiry that a certificate is worth a word."""

MAX_CLOCK_SKEW = 60.0
"""Seconds that two clocks may differ: tokens and presigned URLs are valid for an hour."""

FAMILIES = {"sk-": "an integration key (sk-)", "dk-": "a device key (dk-)"}

CONNECTING = Call("GET", "", NoneType)

NO_NETWORK = "See that base_url is right, and that this machine has a network, or set HTTPS_PROXY to its proxy."
NOT_THE_API = "See that base_url is right, with its /api/v1."
SET_CLOCK = "Have it set by the network (NTP): tokens and presigned URLs are valid for a time by the clock."
MEASURE = "`--submit WORKFLOW` measures it with a task of its own, which costs money; or ask again while a task runs."
REFUSALS = {
    400: (
        "the request lacks something",
        "With a user's token, see that team_id is the UUID of one of the user's teams.",
    ),
    401: (
        "it is wrong, expired or revoked",
        "Make a new one on the Access page of Cyberun Cloud, of this very server.",
    ),
    403: ("it may not see the team's tasks", "Ask an admin of the team for a key that may."),
}


@attrs.define
class Diagnosis:
    """The checks of one run; each stands on those before it.

    Attributes:
        key_problem: Why there is no key to sign in with; the checks before that need none.

    """

    client: AsyncClient
    submit: str | None
    parameters: Mapping[str, object]
    timeout: float
    key_problem: str | None = None
    detour: str | None = None
    response: Response | None = None

    async def run(self) -> tuple[Finding, ...]:
        """Run all of them; where there is no way to the service, the later ones are skipped."""
        checks: Mapping[str, Callable[[], Awaitable[str]]] = {
            "dns": self.resolve,
            "tls": self.connect,
            "key": self.sign_in,
            "team": self.name_team,
            "clock": self.compare_clocks,
            "streams": self.measure_streams,
        }
        findings: list[Finding] = []
        for name, check in checks.items():
            broken = next((each.name for each in findings if each.outcome == "fail" and each.name != "clock"), None)
            # An error response has the time as well.
            if broken is not None and (name != "clock" or self.response is None):
                findings.append(Finding(name, "skip", f"not checked: fix {broken} first"))
            else:
                findings.append(await finding_of(name, check))
        return tuple(findings)

    async def resolve(self) -> str:
        host, port = self._place
        self.detour = await self._find_detour()
        if self.detour is not None:
            raise Skipped(f"{self.detour}, which resolves names itself")
        try:
            found = await map_exceptions(lambda: anyio.getaddrinfo(host, port), partial(map_error, CONNECTING))
        # A name that cannot be one is refused before anybody is asked.
        except (TransportError, UnicodeError):
            raise Differs(f"{host} is not known here", NO_NETWORK) from None
        return f"{host} is {', '.join(sorted({str(address[4][0]) for address in found}))}"

    async def connect(self) -> str:
        host, port = self._place
        if self.detour is not None:
            raise Skipped(f"{self.detour}; the next check shows whether it works")
        is_tls = core_of(self.client).settings.base_url.startswith("https:")
        connect = partial(_certificate_expiry if is_tls else _connect, host, port)
        seconds = core_of(self.client).settings.timeouts.connect
        try:
            expires = await map_exceptions(lambda: _within(seconds, connect), partial(map_error, CONNECTING))
        except TransportError as error:
            reason = describe_cause(error.__cause__) if isinstance(error.__cause__, Exception) else str(error)
            raise Differs(f"there is no connection to {host}:{port}: {reason}", NO_NETWORK) from None
        if expires is None:
            return f"{host}:{port} is connected, without TLS"
        days = (expires - time.time()) / DAY
        if days < SOON:
            raise Differs(f"the certificate expires in {days:.0f} days", "Have it renewed by the server's operator.")
        return f"{host}:{port} has a certificate that verifies, and expires in {days:.0f} days"

    async def sign_in(self) -> str:
        if self.key_problem is not None:
            raise Differs(self.key_problem)
        call = Call("GET", "/r/tasks", NoneType, query={"per_page": 1})
        self.response = response = await core_of(self.client).transport.fetch(call)
        who = _family(response.token)
        if response.status in REFUSALS:
            reason, advice = REFUSALS[response.status]
            raise Differs(f"{who} is rejected with {response.status}: {reason}", advice)
        try:
            is_api = response.status == 200 and isinstance(parse_json(response.body), dict)
        except DecodeError:
            is_api = False
        if not is_api:
            raise Differs(f"the response (with {response.status}) is not the API's", NOT_THE_API)
        return f"{who} is accepted"

    async def name_team(self) -> str:
        team_id = core_of(self.client).settings.team_id
        if team_id is None:
            return "the key belongs to one team, and the server knows which; no team is sent"
        return f"the token is accepted for the team {team_id}"

    async def compare_clocks(self) -> str:
        date = None if self.response is None else parse_http_date(self.response.headers.get("date"))
        if date is None:
            raise Skipped("the service does not say what time it is")
        skew = time.time() - date
        if abs(skew) > MAX_CLOCK_SKEW:
            raise Differs(
                f"this clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service's", SET_CLOCK
            )
        # The header has whole seconds.
        return f"this clock and the service's differ by {abs(skew):.0f} s"

    async def measure_streams(self) -> str:
        task_id, has_ended = await self._task()
        seen = await follow(self.client, task_id, whole=False, timeout=self.timeout)
        try:
            if has_ended and seen.opened is not None:
                raise Skipped("a stream opens, but there is no running task whose events could come late")
            return judge(seen)
        except Skipped as end:
            raise Skipped(end.detail, MEASURE) from None

    async def _task(self) -> tuple[str, bool]:
        """Give a task to measure with, and whether it has ended: one of our own if asked for, or else one that runs."""
        if self.submit is not None:
            return await self.client.submit(self.submit, self.parameters), False
        queries: tuple[Mapping[str, str | int], ...] = ({"status": "running"}, {})
        for query in queries:
            body = (await ask(self.client, "/r/tasks", query={"per_page": 1, **query})).body
            tasks = body.get("task_list") if isinstance(body, dict) else None
            if tasks:
                return str(tasks[0]["id"]), tasks[0].get("task_status") in LAST_EVENTS
        raise Skipped("there is no task", MEASURE)

    async def _find_detour(self) -> str | None:
        if not core_of(self.client).transport.is_own:
            return "the connections are made by an httpx client of your own"
        return "the environment names a proxy" if await find_proxy(core_of(self.client).settings.base_url) else None

    @property
    def _place(self) -> tuple[str, int]:
        url = urlsplit(core_of(self.client).settings.base_url)
        return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _family(token: Key) -> str:
    return next((name for prefix, name in FAMILIES.items() if token.startswith((prefix,))), "the user's token (JWT)")


async def _within(seconds: float, connect: Callable[[], Awaitable[float | None]]) -> float | None:
    with anyio.fail_after(seconds):
        return await connect()


async def _connect(host: str, port: int) -> None:
    await (await anyio.connect_tcp(host, port)).aclose()


async def _certificate_expiry(host: str, port: int) -> float:
    context = await tls_context()
    async with await anyio.connect_tcp(
        host, port, ssl_context=context, tls_hostname=host, tls_standard_compatible=False
    ) as stream:
        # One that verifies is there, whatever the type says.
        certificate = stream.extra(TLSAttribute.peer_certificate) or {}  # noqa: S610 - no Django here
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
