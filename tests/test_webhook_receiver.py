"""The receiver of docs/examples, taking deliveries of the local Cyberun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import httpx
import pytest
from support.web import load_example, serving

from cyberun_async import AsyncClient
from cyberun_async.local import Delivery, LocalCyberun
from cyberun_async.local.scripts import complete, fail
from cyberun_async.webhooks import DEFAULT_MAX_BYTES, SIGNATURE_HEADER, WebhookEvent, make_delivery

EVENTS = ["task.completed", "task.failed"]
SECRET = "whsec_0123456789abcdef"
EVENT = WebhookEvent(event_type="task.completed", task_id="T", status="completed")  # type: ignore[arg-type]


@contextmanager
def receiver(monkeypatch: pytest.MonkeyPatch, *secrets: str, port: int = 0) -> Iterator[str]:
    """Run the receiver, and give the address of its route."""
    monkeypatch.setenv("CYBERUN_WEBHOOK_SECRETS", " ".join(secrets))
    with serving(load_example("webhook_receiver.py").app, port) as address:
        yield f"{address}/webhook"


async def delivered(server: LocalCyberun, count: int) -> list[Delivery]:
    """Wait for so many tries to deliver."""
    with anyio.fail_after(10):
        while len(server.deliveries) < count:  # noqa: ASYNC110 - the record of another thread's server has nothing to wait on
            await anyio.sleep(0.005)
    return list(server.deliveries)


async def test_deliveries_of_a_cyberun(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """It takes what Cyberun delivers; after a rotation with both secrets, and not with the old one alone."""
    async with (
        LocalCyberun(clock="held") as server,
        AsyncClient(server.device_key, base_url=server.base_url) as client,
    ):
        # Its address is needed for the webhook, and the webhook's secret for the receiver.
        with receiver(monkeypatch, "whsec_none_yet") as url:
            webhook = await client.webhooks.create("receiver", url, EVENTS)
        port = httpx.URL(url).port or 0
        old = (await client.webhooks.get(webhook.id)).secret

        async def run_one(*, number: int, ends: str) -> tuple[str, int | None]:
            server.script("text-to-image", [complete({})] if ends == "completed" else [fail("out of memory")])
            task_id = await client.submit("text-to-image", {"prompt": "x"})
            await server.clock.advance(0)
            return task_id, (await delivered(server, number))[-1].status

        with receiver(monkeypatch, old, port=port):
            told = [await run_one(number=1, ends="completed"), await run_one(number=2, ends="failed")]
        new = await client.webhooks.rotate_secret(webhook.id)
        with receiver(monkeypatch, new, old, port=port):
            told.append(await run_one(number=3, ends="completed"))
        with receiver(monkeypatch, old, port=port):
            told.append(await run_one(number=4, ends="completed"))

    assert [status for _, status in told] == [204, 204, 204, 400]
    ids = [task_id for task_id, _ in told]
    assert capfd.readouterr().out.splitlines() == [
        f"{ids[0]} completed",
        f"{ids[1]} failed",
        f"{ids[2]} completed",
        "rejected: the signature does not fit the raw body and the secret: do not trust the delivery, and respond with 400",
    ]


async def test_a_delivery_that_comes_again(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """It is answered like the first, so that it does not come a third time, and nothing happens."""
    body, headers = make_delivery(EVENT, SECRET)
    with receiver(monkeypatch, SECRET) as url:
        async with httpx.AsyncClient() as sender:
            answers = [(await sender.post(url, content=body, headers=headers)).status_code for _ in range(3)]

    assert (answers, capfd.readouterr().out) == ([204, 204, 204], "T completed\n")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"{}", {}, 400, id="not signed"),
        pytest.param(b"{}", make_delivery(EVENT, SECRET)[1], 400, id="another body"),
        pytest.param(*make_delivery(EVENT, "whsec_of_another"), 400, id="another secret"),
        pytest.param(b"{}", {SIGNATURE_HEADER: "sha1=" + "0" * 40}, 400, id="another algorithm"),
        pytest.param(b" " * (DEFAULT_MAX_BYTES + 1), {}, 413, id="endless"),
    ],
)
async def test_forgeries(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    body: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    """What Cyberun has not signed changes nothing."""
    with receiver(monkeypatch, SECRET) as url:
        async with httpx.AsyncClient() as sender:
            answer = await sender.post(url, content=body, headers=headers)

    assert answer.status_code == status
    assert "completed" not in capfd.readouterr().out
