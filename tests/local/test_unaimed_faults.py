"""A fault without an aim strikes whatever comes next: a stream, an upload or a file, too."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import httpx
import pytest
from local.conftest import client_with
from support.tables import table

from cyberun_async.local import Fault, Faults, LocalCyberun
from cyberun_async.local._control import KINDS
from cyberun_async.local.scripts import status

FAULTS: dict[str, Callable[[Faults], Fault]] = {
    "status": lambda faults: faults.status(503),
    "latency": lambda faults: faults.latency(0.01),
    "lose_reply": lambda faults: faults.lose_reply(),
    "reset": lambda faults: faults.reset(),
    "reset head": lambda faults: faults.reset("head"),
    "reset headers": lambda faults: faults.reset("headers"),
    "reset body": lambda faults: faults.reset("body"),
    "truncate": lambda faults: faults.truncate(3),
    "short": lambda faults: faults.short(3),
    "oversize": lambda faults: faults.oversize(100),
    "content_type": lambda faults: faults.content_type("text/html"),
    "malformed": lambda faults: faults.malformed(),
    "trickle": lambda faults: faults.trickle(size=1000, every=0.001),
    "unknown_fields": lambda faults: faults.unknown_fields(),
    "unknown_status": lambda faults: faults.unknown_status(on="*"),
    "odd_answers": lambda faults: faults.odd_answers(),
    "lagging_result": lambda faults: faults.lagging_result(on="*"),
    "link_lifetime": lambda faults: faults.link_lifetime(1),
    "cut_stream": lambda faults: faults.cut_stream(after=10, on="*"),
    "silent_stream": lambda faults: faults.silent_stream(on="*"),
    "heartbeats": lambda faults: faults.heartbeats(on="*"),
    "duplicate_events": lambda faults: faults.duplicate_events(on="*"),
    "reorder_events": lambda faults: faults.reorder_events(on="*"),
    "conflicting_end": lambda faults: faults.conflicting_end(on="*"),
}


def test_every_fault_is_here() -> None:
    """The table has each."""
    assert {name.partition(" ")[0] for name in FAULTS} == KINDS


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@table("fault", FAULTS)
async def test_what_it_strikes(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """A stream, a list, a cancellation, an upload and a file: the client sees something, and the server no crash."""
    caplog.set_level(logging.WARNING)
    with LocalCyberun(clock="held") as server:
        async with client_with(server, server.api_key) as http:
            server.script("text-to-image", [status("running")])
            task_id = (
                await http.post("r/workflows/slug/text-to-image/run", json={"parameters": {"prompt": "x"}})
            ).json()["task_id"]
            body = {"file_name": "a", "file_size": 1, "content_type": "text/plain"}
            upload = (await http.post("r/files/presign", json=body)).json()
            await server.clock.advance(0)
            server.storage.put("a", b"0123456789")
            requests = [
                ("GET", f"r/tasks/{task_id}/events", {}, b""),
                ("GET", "r/tasks", {}, b""),
                ("POST", f"r/tasks/{task_id}/cancel", {}, b""),
                ("PUT", upload["upload_url"], {**upload["upload_headers"], "Authorization": ""}, b"x"),
                ("GET", server.storage.link("GET", "a"), {}, b""),
                ("HEAD", "r/tasks", {}, b""),
            ]
            for method, url, headers, content in requests:
                FAULTS[fault](server.faults)
                with anyio.move_on_after(0.03):
                    try:
                        async with http.stream(method, url, headers=headers, content=content) as answer:
                            async for _ in answer.aiter_raw():
                                pass
                    except httpx.TransportError:
                        pass
                server.faults.clear()
        # On a connection that was not broken.
        async with client_with(server, server.api_key) as http:
            assert (await http.get("r/tasks")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.name != "httpx"] == []
