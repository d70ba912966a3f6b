"""Deliveries: real, signed, and repeated as documented."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from local.conftest import client_with
from local.test_fields import submit

from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import cancel, complete, fail


class Receiver:
    """Takes deliveries, and answers with the statuses it is given, then with 204."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.deliveries: list[tuple[bytes, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.deliveries.append((body, self.headers["X-Webhook-Signature-256"]))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver on loopback."""
    running = Receiver()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.server.shutdown()
    thread.join()
    running.server.server_close()


async def subscribe(server: LocalCyberun, url: str, *events: str) -> str:
    """Make a webhook and give its secret."""
    hook = {"display_name": "x", "webhook_url": url, "webhook_events": list(events)}
    async with client_with(server, server.device_key) as device:
        made = await device.post("webhooks", json=hook)
        assert made.status_code == 201, made.text
        return str((await device.get(f"webhooks/{made.json()['id']}")).json()["webhook_secret"])


async def test_deliveries_are_signed(server: LocalCyberun, http: httpx.AsyncClient, receiver: Receiver) -> None:
    """A delivery has the documented payload, signed with the webhook's whole secret."""
    secret = await subscribe(server, receiver.url, "task.completed", "task.failed")
    server.script("text-to-image", [complete({"n": 1})])
    server.script("text-to-image", [fail("oom")])
    ids = []
    for _ in range(2):
        ids.append(await submit(http, "text-to-image", prompt="x"))
        await server.clock.advance(0)
    payloads = []
    for body, signature in receiver.deliveries:
        assert signature == "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        payloads.append(json.loads(body))
        assert payloads[-1].pop("timestamp").endswith("Z")
    assert payloads == [
        {
            "event_type": "task.completed",
            "task_id": ids[0],
            "task_status": "completed",
            "task_output": {"n": 1},
            "task_error": "",
        },
        {
            "event_type": "task.failed",
            "task_id": ids[1],
            "task_status": "failed",
            "task_output": None,
            "task_error": "oom",
        },
    ]


async def test_deliveries_are_repeated(server: LocalCyberun, http: httpx.AsyncClient, receiver: Receiver) -> None:
    """A delivery that is not taken comes again after 5 s, 30 s and 2 min, four times in all."""
    await subscribe(server, receiver.url, "task.completed")
    receiver.statuses = [500, 301, 404, 503]
    server.script("text-to-image", [complete({})])
    await submit(http, "text-to-image", prompt="x")
    counts = []
    for seconds in (0, 5, 30, 120, 3600):
        await server.clock.advance(seconds)
        counts.append(len(receiver.deliveries))
    assert counts == [1, 2, 3, 4, 4]
    assert [each.status for each in server.deliveries] == [500, 301, 404, 503]


async def test_an_unreachable_receiver(server: LocalCyberun, http: httpx.AsyncClient, receiver: Receiver) -> None:
    """A receiver that is not there counts as not taken."""
    await subscribe(server, "http://127.0.0.1:1/", "task.completed")
    server.script("text-to-image", [complete({})])
    await submit(http, "text-to-image", prompt="x")
    await server.clock.advance(0)
    assert [each.status for each in server.deliveries] == [None]


async def test_cancelled_tasks_are_not_told_of(
    server: LocalCyberun, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    """Nothing is delivered for a cancelled task, nor to a webhook that is not active."""
    await subscribe(server, receiver.url, "task.completed", "task.failed")
    server.script("text-to-image", [cancel()])
    await submit(http, "text-to-image", prompt="x")
    await server.clock.advance(0)
    assert not server.deliveries


@pytest.mark.parametrize(
    "wrong",
    [
        {"display_name": ""},
        {"webhook_url": "http://example.com/"},
        {"webhook_url": "https://x/" + "y" * 2048},
        {"webhook_events": []},
        {"webhook_events": ["task.cancelled"]},
    ],
)
async def test_what_a_webhook_cannot_be(server: LocalCyberun, wrong: dict[str, object]) -> None:
    """A webhook needs a name, an https address (or one on this machine), and documented events."""
    hook = {"display_name": "x", "webhook_url": "https://example.com/", "webhook_events": ["task.failed"]}
    async with client_with(server, server.device_key) as device:
        assert (await device.post("webhooks", json={**hook, **wrong})).status_code == 400
