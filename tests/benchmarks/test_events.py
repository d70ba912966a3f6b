"""Events: what one costs, from a stream in memory.

In chunks of 64 KiB, so that neither the network nor the event loop has a part in it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
from benchmarks.contestants import HTTPX, sdk
from benchmarks.harness import OURS, Figures, at_most, cpu_of, in_turn
from benchmarks.server import TASK, TASK_ID
from httpx_sse import EventSource

from cyberun_async import decode_event
from cyberun_async._transport.sse import EventDecoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmarks.harness import Contestant, Table

COUNT = 5000
CHUNK = 64 * 1024
PARTS = f"{HTTPX}-sse and `json.loads`"


def progress(step: int) -> dict[str, object]:
    """Give the data of a progress event, as documented."""
    return {
        "task_id": TASK_ID,
        "progress": step / COUNT,
        "current_node": "3",
        "step_current": step,
        "step_total": COUNT,
        "timestamp": "2026-02-01T14:30:10Z",
    }


def stream_of(name: str, write: Callable[[int], str], last: str = "") -> bytes:
    """Write a stream of one kind of event."""
    return ("".join(f"event: {name}\ndata: {write(step)}\n\n" for step in range(1, COUNT + 1)) + last).encode()


CYBERUN = stream_of(
    "progress",
    lambda step: json.dumps(progress(step)),
    f'event: completed\ndata: {{"task_id": "{TASK_ID}", "status": "completed"}}\n\n',
)
COMFY = stream_of("progress", lambda step: json.dumps({"value": step / COUNT, "step": step, "steps": COUNT}))
REPLICATE = stream_of("output", lambda step: f"token {step}\nid: {step}")


class InMemory(httpx.AsyncByteStream):
    """A stream that is there at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), CHUNK):
            yield self._content[start : start + CHUNK]


def response(content: bytes) -> httpx.Response:
    """Give the stream as a response."""
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=InMemory(content))


async def by_hand() -> None:
    """Decode by the bare parts."""
    async for event in EventSource(response(CYBERUN)).aiter_sse():
        json.loads(event.data)


async def decoding_alone() -> None:
    """Decode by the SDK's own decoder, without a client around it."""
    decoder = EventDecoder(1024 * 1024)
    async for chunk in response(CYBERUN).stream:
        for event in decoder.feed(chunk):
            decode_event(event.event, event.data, task_id=TASK_ID)


async def by_client() -> None:
    """Follow the task as a user does."""

    def answer(request: httpx.Request) -> httpx.Response:
        return response(CYBERUN) if request.url.path.endswith("/events") else httpx.Response(200, json=TASK)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client:
        async with sdk("http://127.0.0.1", http_client=http_client) as client, client.events(TASK_ID) as events:
            async for _ in events:
                pass


async def by_comfy() -> None:
    """Decode as comfy-sdk does between its connection and its user."""
    from comfy_low import SSEDecoder
    from comfy_sdk.events import event_from_raw

    decoder = SSEDecoder()
    async for line in response(COMFY).aiter_lines():
        for raw in decoder.push(line):
            event_from_raw(raw, None)


async def by_replicate() -> None:
    """Decode as replicate does; its events are no JSON."""
    from replicate.stream import EventSource as Events

    async for _ in Events(None, response(REPLICATE)):
        pass


def microseconds(work: Callable[[], Awaitable[None]]) -> Contestant:
    """Give the CPU time of one event."""

    async def run() -> float:
        return 1000 * await cpu_of(work, COUNT)

    return run


def test_decoding(table: Table) -> None:
    """A typed event costs little more than a dict."""

    async def measure() -> Figures:
        works = {
            OURS: decoding_alone,
            PARTS: by_hand,
            f"{OURS} through `client.events()`": by_client,
            "comfy-sdk": by_comfy,
            "replicate": by_replicate,
        }
        return await in_turn({name: microseconds(work) for name, work in works.items()}, rounds=15, unit="µs")

    measure_name = f"CPU of a typed event, against {PARTS} to a dict"
    table.compare(measure_name, asyncio.run(measure()), to=PARTS, goal=at_most(1.3))
