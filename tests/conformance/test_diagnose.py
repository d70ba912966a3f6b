"""What stands between a machine and the service, step by step."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from conformance.conftest import POLLING
from conformance.test_check import PARAMETERS, WORKFLOW, found
from support.nginx import NGINX, running_nginx
from support.raw import raw_server

from cyberun_async import AsyncClient, Polling, Timeouts, conformance
from cyberun_async._transport.sse import ServerSentEvent
from cyberun_async.conformance import _following
from cyberun_async.conformance._following import Followed, judge
from cyberun_async.conformance._report import Differs, Skipped
from cyberun_async.local.scripts import after, progress, status

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import trustme
    from support.raw import Peer

    from cyberun_async.local import LocalCyberun

LONG = [step for n in range(1000) for step in (progress(n, 1000), after(50))]
"""An event every 0.05 s for longer than any test."""


async def test_all_is_well(server: LocalCyberun, client: AsyncClient) -> None:
    """Beside a running task every check passes, and nothing is submitted or changed."""
    server.script(WORKFLOW, [status("running"), *LONG])
    await client.submit(WORKFLOW, PARAMETERS)
    before = len(server.requests)
    report = await conformance.diagnose(client)
    assert [finding.outcome for finding in report.findings] == ["pass"] * 6, str(report)
    assert "get through" in found(report, "streams").detail
    assert {exchange.method for exchange in server.requests[before:]} == {"GET"}


async def test_a_task_of_its_own(server: LocalCyberun, client: AsyncClient) -> None:
    """Told to submit, it measures the stream of one new task."""
    server.script(WORKFLOW, [status("running"), *LONG])
    report = await conformance.diagnose(client, submit=WORKFLOW, parameters=PARAMETERS)
    assert found(report, "streams").outcome == "pass"
    assert [exchange.operation for exchange in server.requests].count("workflows.run") == 1


async def test_looks_that_fail(server: LocalCyberun, client: AsyncClient) -> None:
    """A look that fails says nothing about the stream: the next one does."""
    server.script(WORKFLOW, [status("running"), *LONG])
    server.faults.status(500, on="tasks.get", times=3)
    report = await conformance.diagnose(client, submit=WORKFLOW, parameters=PARAMETERS)
    assert found(report, "streams").outcome == "pass"


async def test_nothing_to_measure(server: LocalCyberun, client: AsyncClient) -> None:
    """Without a task, or beside tasks that have ended, it does not claim to know, and says how to."""
    for detail in ("there is no task", "a stream opens"):
        streams = found(await conformance.diagnose(client), "streams")
        assert (streams.outcome, streams.detail.startswith(detail)) == ("skip", True)
        assert "--submit" in (streams.advice or "")
        await client.run(WORKFLOW, PARAMETERS)


async def test_a_task_on_which_nothing_happens(server: LocalCyberun, client: AsyncClient) -> None:
    """A task that waits proves nothing about streams."""
    server.script(WORKFLOW, [])
    server.faults.silent_stream()
    report = await conformance.diagnose(client, submit=WORKFLOW, parameters=PARAMETERS, timeout=0.05)
    assert "nothing happened" in found(report, "streams").detail


async def test_a_stream_that_is_held_back(server: LocalCyberun) -> None:
    """A stream on which nothing comes although the task ends is held back on the way, and it says what to do."""
    server.faults.silent_stream()
    async with AsyncClient(server.api_key, base_url=server.base_url, polling=Polling(interval=0.02)) as client:
        streams = found(await conformance.diagnose(client, submit=WORKFLOW, parameters=PARAMETERS), "streams")
    assert (streams.outcome, "buffered" in streams.detail) == ("fail", True)
    assert "proxy_buffering off" in (streams.advice or "")


@pytest.mark.parametrize(("first", "raises"), [(3.0, Differs), (0.1, Skipped)], ids=["after a while", "after no time"])
def test_events_that_come_with_the_end(first: float, raises: type[Exception]) -> None:
    """Events that come only once the task has ended were held back; of a task that was over at once nobody can tell."""
    with pytest.raises(raises):
        judge(Followed(0.0, [ServerSentEvent("completed", "{}")], first=first, was_live=False))


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx")
async def test_a_real_proxy(server: LocalCyberun, tmp_path: Path) -> None:
    """Behind an nginx that passes streams on, they are found to get through."""
    origin = server.base_url.removesuffix("/api/v1")
    location = f"""location / {{
        proxy_pass {origin};
        proxy_http_version 1.1;
        proxy_buffering off;
    }}"""
    server.script(WORKFLOW, [status("running"), *LONG])
    with running_nginx(tmp_path, location) as address:
        async with AsyncClient(server.api_key, base_url=f"{address}/api/v1", polling=POLLING) as client:
            report = await conformance.diagnose(client, submit=WORKFLOW, parameters=PARAMETERS)
    assert found(report, "streams").outcome == "pass"


async def test_a_proxy_that_holds_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that hands a whole stream on once the task has ended is found out by a look at that very moment."""
    monkeypatch.setattr(_following, "TOO_SOON", 0.0)
    has_ended = False

    async def handle(peer: Peer) -> None:
        nonlocal has_ended
        while True:
            path = (await peer.request()).split()[1]
            if path.endswith(b"/events"):
                await peer.open_events()
                has_ended = True
                await peer.send(b"event: status\ndata: {}\n\nevent: completed\ndata: {}\n\n")
                return
            task = '{"id": "t-1", "task_status": "%s"}' % ("completed" if has_ended else "running")
            await peer.answer(task if b"t-1" in path else f'{{"task_list": [{task}]}}')

    async with raw_server(handle) as raw, AsyncClient("sk-x", base_url=raw.url) as client:
        streams = found(await conformance.diagnose(client), "streams")
    assert (streams.outcome, "buffered" in streams.detail) == ("fail", True)


async def test_a_refused_key(server: LocalCyberun, client: AsyncClient) -> None:
    """A key that is refused fails, what stands on it is not looked at, and the time is told even so."""
    server.revoke(server.api_key)
    report = await conformance.diagnose(client)
    outcomes = {finding.name: finding.outcome for finding in report.findings}
    assert outcomes == {"dns": "pass", "tls": "pass", "key": "fail", "team": "skip", "clock": "pass", "streams": "skip"}
    assert "401" in found(report, "key").detail
    assert server.api_key not in str(report)


@pytest.mark.parametrize(("family", "said"), [("device_key", "a device key (dk-)"), ("jwt", "the user's token (JWT)")])
async def test_families(server: LocalCyberun, family: str, said: str) -> None:
    """It says what kind of key it is, and of which team."""
    key = getattr(server, family)
    async with AsyncClient(key, base_url=server.base_url, team_id=server.team_id, polling=POLLING) as client:
        report = await conformance.diagnose(client)
    assert found(report, "key").detail == f"{said} is accepted"
    assert (server.team_id in found(report, "team").detail) == (family == "jwt")


def answering(body: str = "{}", headers: str = "") -> object:
    """Make a server that gives one answer."""

    async def handle(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(body, headers=headers)

    return handle


async def test_something_that_is_not_the_api() -> None:
    """A page in place of the API fails, and points at the base URL."""
    async with raw_server(answering("<html>")) as raw, AsyncClient("sk-x", base_url=raw.url) as client:
        key = found(await conformance.diagnose(client), "key")
    assert (key.outcome, "base_url" in (key.advice or "")) == ("fail", True)


@pytest.mark.parametrize(("minutes", "outcome"), [(0, "pass"), (10, "fail"), (-10, "fail"), (None, "skip")], ids=str)
async def test_clocks(minutes: int | None, outcome: str) -> None:
    """A clock that is off by minutes fails; a service that does not tell the time is no failure."""
    moment = datetime.now(timezone.utc) + timedelta(minutes=minutes or 0)
    headers = "" if minutes is None else f"Date: {format_datetime(moment, usegmt=True)}\r\n"
    async with raw_server(answering(headers=headers)) as raw, AsyncClient("sk-x", base_url=raw.url) as client:
        assert found(await conformance.diagnose(client), "clock").outcome == outcome


@pytest.mark.parametrize("host", ["nowhere.invalid", "no-such-name.test"])
async def test_a_name_that_nobody_knows(host: str) -> None:
    """A host without an address fails, and nothing is tried after that."""
    async with AsyncClient("sk-x", base_url=f"https://{host}/api/v1") as client:
        report = await conformance.diagnose(client)
    assert [finding.outcome for finding in report.findings] == ["fail", *["skip"] * 5]


async def test_nobody_there() -> None:
    """A port that nobody listens on fails with the connection."""
    async with raw_server(answering()) as raw:
        url = raw.url
    async with AsyncClient("sk-x", base_url=url) as client:
        assert found(await conformance.diagnose(client), "tls").outcome == "fail"


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_that_verifies(server_tls: ssl.SSLContext) -> None:
    """It says how long the certificate lasts."""
    async with raw_server(answering(), tls=server_tls) as raw, AsyncClient("sk-x", base_url=raw.url) as client:
        tls = found(await conformance.diagnose(client), "tls")
    assert (tls.outcome, "expires in" in tls.detail) == ("pass", True)


async def test_a_certificate_that_nobody_trusts(server_tls: ssl.SSLContext) -> None:
    """A certificate that does not verify fails, with the reason."""
    async with raw_server(answering(), tls=server_tls) as raw, AsyncClient("sk-x", base_url=raw.url) as client:
        tls = found(await conformance.diagnose(client), "tls")
    assert (tls.outcome, "certificate does not verify" in tls.detail) == ("fail", True)


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_that_is_about_to_expire(authority: trustme.CA, server_tls: ssl.SSLContext) -> None:
    """A certificate's last days are worth a word before they are over."""
    end = datetime.now(timezone.utc) + timedelta(days=3)
    authority.issue_cert("127.0.0.1", not_after=end).configure_cert(server_tls)
    async with raw_server(answering(), tls=server_tls) as raw, AsyncClient("sk-x", base_url=raw.url) as client:
        tls = found(await conformance.diagnose(client), "tls")
    assert (tls.outcome, "expires in 3 days" in tls.detail) == ("fail", True)


async def test_a_server_that_accepts_and_says_nothing() -> None:
    """A handshake that does not come to an end fails once the time for connecting is over."""

    async def handle(peer: Peer) -> None:
        await peer.until_closed()

    async with raw_server(handle) as raw:
        url = raw.url.replace("http:", "https:")
        async with AsyncClient("sk-x", base_url=url, timeouts=Timeouts(connect=0.05)) as client:
            assert found(await conformance.diagnose(client), "tls").outcome == "fail"


async def test_ways_round(server: LocalCyberun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy, or with an own httpx client, the direct way says nothing, and the next check tells."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False)) as own:
        async with AsyncClient(server.api_key, base_url=server.base_url, http_client=own) as client:
            report = await conformance.diagnose(client)
    assert [finding.outcome for finding in report.findings[:3]] == ["skip", "skip", "pass"]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    async with AsyncClient("sk-x", base_url="http://cyberun.test/api/v1", allow_insecure_http=True) as client:
        report = await conformance.diagnose(client)
    assert [finding.outcome for finding in report.findings[:3]] == ["skip", "skip", "fail"]
