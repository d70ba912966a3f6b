"""What the web example's backend lets visitors do, without a browser."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.web import EXAMPLES, load_example
from web.conftest import Site, until

from cyberun_async import CyberunError, DecodeError, RateLimitError, ServerError
from cyberun_async.local.scripts import complete, status
from cyberun_async.webhooks import WebhookEvent, make_delivery

pytestmark = pytest.mark.slow

SECRET = "whsec_0123456789abcdef"
A_LIFE = 5.1
"""Seconds that the usual task takes, and a little."""


@pytest.fixture
def visitor(site: Site) -> Iterator[httpx.Client]:
    """Give a visitor who has opened the page."""
    with httpx.Client(base_url=site.address, timeout=15) as client:
        client.get("/")
        yield client


def submit(visitor: httpx.Client, **wishes: Any) -> str:
    """Ask for a picture, and give the task."""
    answer = visitor.post("/tasks", data={"prompt": "x", "width": 64, "height": 64, **wishes})
    assert answer.status_code == 201, answer.text
    task_id: str = answer.json()["task_id"]
    return task_id


def test_a_picture_is_handed_out(site: Site, visitor: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """It is there when the task has completed, with its type; the signed link shows nowhere."""
    caplog.set_level(logging.DEBUG)
    task_id = submit(visitor)
    early = visitor.get(f"/tasks/{task_id}/picture")
    site.cyberun.clock.advance_blocking(A_LIFE)
    answer = visitor.get(f"/tasks/{task_id}/picture")

    assert early.status_code == 404
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"\x89PNG")
    assert visitor.get(f"/tasks/{task_id}").json() == {"task_id": task_id, "status": "completed"}
    (fetched,) = [each for each in site.cyberun.requests if each.operation == "storage.get"]
    secrets = [value for value in fetched.query.values() if len(value) > 8]
    assert secrets
    assert not [secret for secret in secrets if secret in caplog.text or secret in str(answer.headers)]


def test_events_are_relayed(site: Site, visitor: httpx.Client) -> None:
    """The whole story is one stream, which goes on after the `Last-Event-ID` of a browser that had a part of it."""
    site.cyberun.script("text-to-image", [status("running"), complete({})])
    url = f"/tasks/{submit(visitor)}/events"
    whole = visitor.get(url)
    names = [line[7:] for line in whole.text.splitlines() if line.startswith("event: ")]

    assert whole.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert names[-1] == "completed"
    assert site.count("tasks.events") == 1


@pytest.mark.parametrize(
    "wishes",
    [
        pytest.param({"prompt": ""}, id="nothing"),
        pytest.param({"prompt": "x" * 301}, id="too many words"),
        pytest.param({"steps": "51"}, id="too many steps"),
        pytest.param({"width": "2048"}, id="too wide"),
        pytest.param({"height": "1"}, id="too low"),
        pytest.param({"steps": "many"}, id="no number"),
    ],
)
def test_limits(site: Site, visitor: httpx.Client, wishes: dict[str, str]) -> None:
    """What a visitor may not ask for is refused before Cyberun hears of it."""
    answer = visitor.post("/tasks", data={"prompt": "x", **wishes})
    assert (answer.status_code, site.count("workflows.run")) == (422, 0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"GIF89a, or so", 422, id="no picture"),
        pytest.param(b"a list of things to buy", 422, id="a text"),
        pytest.param(b"RIFF\x00\x00\x00\x00WAVEfmt ", 422, id="a sound"),
        pytest.param(b"", 422, id="nothing"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"x" * (9 << 20), 413, id="too large"),
    ],
)
def test_uploads_have_limits(site: Site, visitor: httpx.Client, data: bytes, code: int) -> None:
    """A file that is no picture, whatever it calls itself, or that is too large, goes no further."""
    answer = visitor.post("/tasks", data={"prompt": "x"}, files={"picture": ("x.png", data, "image/png")})
    assert (answer.status_code, site.count("storage.put"), site.count("workflows.run")) == (code, 0, 0)


def test_a_visitor_has_so_many_at_once(site: Site, visitor: httpx.Client) -> None:
    """The fourth is refused while three run, for this visitor only; when they have ended, there is room again."""
    for _ in range(3):
        submit(visitor)
    assert visitor.post("/tasks", data={"prompt": "x"}).status_code == 429
    with httpx.Client(base_url=site.address) as other:
        other.get("/")
        submit(other)
    site.cyberun.clock.advance_blocking(A_LIFE)
    submit(visitor)
    assert len(visitor.get("/tasks").json()) == 4


def test_an_order_that_may_have_arrived(site: Site, visitor: httpx.Client) -> None:
    """A visitor whose order got lost on the way back is not invited to pay for another one."""
    site.cyberun.faults.lose_reply(on="workflows.run")
    answer = visitor.post("/tasks", data={"prompt": "x"})
    assert (answer.status_code, "cost twice" in answer.json()["detail"]) == (502, True)
    assert site.count("workflows.run") == 1


@pytest.mark.parametrize("path", ["", "/events", "/picture"])
def test_others_tasks_are_not_there(site: Site, visitor: httpx.Client, path: str) -> None:
    """One visitor's task is 404 for another, and 401 for whoever never opened the page; neither can cancel it."""
    url = f"/tasks/{submit(visitor)}"
    codes = []
    with httpx.Client(base_url=site.address) as other:
        for _ in range(2):
            codes += [other.get(url + path).status_code, other.delete(url).status_code, other.get("/tasks").text]
            other.get("/")

    assert codes[:2] + codes[3:] == [401, 401, 404, 404, "[]"]
    assert site.count("tasks.cancel") == 0
    assert visitor.delete(url).status_code == 202


def test_a_restart_forgets_nobody(site: Site, visitor: httpx.Client) -> None:
    """Whose task is whose is on the disk."""
    task_id = submit(visitor, prompt="a harbour")
    site.stop()
    site.start()
    assert visitor.get("/tasks").json() == [{"task_id": task_id, "prompt": "a harbour"}]


@pytest.mark.parametrize("settings", [{"webhook_secrets": (SECRET,)}], ids=["with a secret"])
def test_webhooks(site: Site, visitor: httpx.Client) -> None:
    """A delivery that is signed counts, so that nothing need be asked to know that there is room; a forged one does not."""
    task_id = submit(visitor)
    event = WebhookEvent(event_type="task.completed", task_id=task_id, status="completed")  # type: ignore[arg-type]
    for secret, code in (("whsec_of_another", 400), (SECRET, 204)):
        body, headers = make_delivery(event, secret)
        assert visitor.post("/webhook", content=body, headers=headers).status_code == code
    asked = site.count("tasks.get")
    submit(visitor)
    assert site.count("tasks.get") == asked


@pytest.mark.parametrize("settings", [{"key_of": {}.get}], ids=["by visitor"])
def test_users_have_keys_of_their_own(site: Site, visitor: httpx.Client, settings: dict[str, Any]) -> None:
    """A visitor's tasks are submitted and followed with the key that the application has for them."""
    keys: dict[str, str] = settings["key_of"].__self__
    keys[visitor.cookies["visitor"]] = site.cyberun.device_key
    site.cyberun.script("text-to-image", [complete({})])
    visitor.get(f"/tasks/{submit(visitor)}/events")
    used = {each.operation: each.headers["authorization"] for each in site.cyberun.requests}

    assert used["workflows.run"] == used["tasks.events"] == f"Bearer {site.cyberun.device_key}"
    site.cyberun.revoke(site.cyberun.device_key)
    refused = visitor.post("/tasks", data={"prompt": "x"})
    assert (refused.status_code, site.cyberun.device_key in refused.text) == (502, False)


def test_it_starts_with_one_command() -> None:
    """`serve.py` serves the page, paints a picture and hears of its end by webhook."""
    command = [sys.executable, str(Path(EXAMPLES, "web", "serve.py")), "--port", "0", "--pace", "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[1]
            with httpx.Client(base_url=address, timeout=15) as visitor:
                until(lambda: _answers(visitor))
                url = f"/tasks/{submit(visitor)}"
                assert "event: completed" in visitor.get(f"{url}/events").text
                assert visitor.get(f"{url}/picture").content.startswith(b"\x89PNG")
        finally:
            process.send_signal(signal.SIGINT)
        assert (process.communicate()[1], process.returncode) == ("", 0)


def test_a_port_that_is_taken() -> None:
    """`serve.py` says so, and how to have another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, str(Path(EXAMPLES, "web", "serve.py")), "--port", str(port)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith(f"port {port}: ")
    assert process.stderr.endswith("; --port takes another one\n")


def _answers(visitor: httpx.Client) -> bool:
    try:
        return visitor.get("/").status_code == 200
    except httpx.ConnectError:
        return False


@pytest.mark.parametrize(
    ("error", "is_open"),
    [
        pytest.param(ServerError(504, "late", method="POST", path="/run"), True, id="a proxy lost patience"),
        pytest.param(DecodeError("no id", method="POST", path="/run"), True, id="a response without an id"),
        pytest.param(ServerError(504, "late", method="GET", path="/r/tasks/t-1"), False, id="reading"),
        pytest.param(RateLimitError(429, "slow", method="POST", path="/run"), False, id="refused"),
    ],
)
async def test_whether_it_was_ordered(error: CyberunError, is_open: bool) -> None:
    """Where a picture may have been ordered, a visitor is not told to order it again."""
    response = await load_example("web/app.py").answer_failure(None, error)
    assert (b"may cost twice" in response.body) == is_open
