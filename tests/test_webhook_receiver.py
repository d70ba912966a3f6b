"""The receiver of docs/examples, taking deliveries of the local Cyberun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


class Receiver:
    """The receiver, on one server for all tests, where it can be started anew.

    Attributes:
        url: Of its route.

    """

    def __init__(self) -> None:
        self.url = ""
        self._app: Any = None

    def start(self, *secrets: str) -> None:
        """Read the program anew, with other secrets in its environment."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CYBERUN_WEBHOOK_SECRETS", " ".join(secrets))
            self._app = load_example("webhook_receiver.py").app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Have the program serve."""
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def served_receiver() -> Iterator[Receiver]:
    """Serve it."""
    receiver = Receiver()
    receiver.start(SECRET)
    with serving(receiver) as address:
        receiver.url = f"{address}/webhook"
        # The sockets of its event loop are there before the first test, which would count them as left behind.
        assert httpx.get(receiver.url).status_code == 405
        yield receiver


@pytest.fixture
def receiver(served_receiver: Receiver) -> Receiver:
    """Start it with the usual secret."""
    served_receiver.start(SECRET)
    return served_receiver


async def delivered(server: LocalCyberun, count: int) -> list[Delivery]:
    """Wait for so many tries to deliver."""
    with anyio.fail_after(10):
        while len(server.deliveries) < count:  # noqa: ASYNC110 - the record of another thread's server has nothing to wait on
            await anyio.sleep(0.005)
    return list(server.deliveries)


async def test_deliveries_of_a_cyberun(receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    """It takes what Cyberun delivers; after a rotation with both secrets, and not with the old one alone."""
    async with (
        LocalCyberun(clock="held") as server,
        AsyncClient(server.device_key, base_url=server.base_url) as client,
    ):
        webhook = await client.webhooks.create("receiver", receiver.url, EVENTS)
        old = (await client.webhooks.get(webhook.id)).secret

        async def run_one(*, number: int, ends: str) -> tuple[str, int | None]:
            server.script("text-to-image", [complete({})] if ends == "completed" else [fail("out of memory")])
            task_id = await client.submit("text-to-image", {"prompt": "x"})
            await server.clock.advance(0)
            return task_id, (await delivered(server, number))[-1].status

        receiver.start(old)
        deliveries = [await run_one(number=1, ends="completed"), await run_one(number=2, ends="failed")]
        new = await client.webhooks.rotate_secret(webhook.id)
        receiver.start(new, old)
        deliveries.append(await run_one(number=3, ends="completed"))
        receiver.start(old)
        deliveries.append(await run_one(number=4, ends="completed"))

    assert [status for _, status in deliveries] == [204, 204, 204, 400]
    ids = [task_id for task_id, _ in deliveries]
    assert capfd.readouterr().out.splitlines() == [
        f"{ids[0]} completed",
        f"{ids[1]} failed",
        f"{ids[2]} completed",
        "rejected: the signature does not fit the raw body and the secret: do not trust the delivery, and respond with 400",
    ]


def test_a_delivery_that_comes_again(receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    """It is answered like the first, so that it does not come a third time, and nothing happens."""
    body, headers = make_delivery(EVENT, SECRET)
    with httpx.Client() as sender:
        answers = [sender.post(receiver.url, content=body, headers=headers).status_code for _ in range(3)]

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
def test_forgeries(
    receiver: Receiver, capfd: pytest.CaptureFixture[str], body: bytes, headers: dict[str, str], status: int
) -> None:
    """What Cyberun has not signed changes nothing."""
    with httpx.Client() as sender:
        answer = sender.post(receiver.url, content=body, headers=headers)

    assert answer.status_code == status
    assert "completed" not in capfd.readouterr().out
