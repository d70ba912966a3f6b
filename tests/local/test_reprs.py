"""What a debugger shows of a server, and nothing secret."""

from __future__ import annotations

import httpx

from cyberun_async._protocol.mismatch_log import MismatchLog
from cyberun_async.local import LocalCyberun


async def test_reprs(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Each part shows its state."""
    server.faults.status(503, on="agents.list")
    server.script("text-to-image", [])
    await http.get("r/agents")
    await http.post("desktop/pair/start")
    shown = {
        repr(part) for part in (server.faults, server._scheduler, server._webhooks, server._sign_in, server._accounts)
    }
    assert shown == {
        "<Faults: 1, struck 1 times>",
        "<Scheduler: 0 tasks, 1 scripts>",
        "<Webhooks: 0, 0 deliveries>",
        "<SignInCalls: 1 pairings>",
        "<Accounts: 1 teams, 3 keys>",
    }
    assert repr(server.clock).startswith("<Clock held at 20")
    assert repr(server.storage) == f"<Storage at {server.storage.origin}: 0 files>"
    assert repr(server._workflows).startswith("<Workflows: text-to-image, img2img")


def test_reprs_of_the_protocol() -> None:
    """A log shows what was logged."""
    log = MismatchLog()
    assert repr(log) == "<MismatchLog: nothing>"
    log("Task.retry_count", "expected a whole number, not str")
    assert repr(log) == "<MismatchLog: Task.retry_count>"
