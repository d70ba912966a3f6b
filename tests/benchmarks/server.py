"""A server that costs little: it knows a few answers by heart, and streams on command.

The local Cyberun is a real server and would be the slower side; here it is the client that is measured. The task's id says how the
server is to behave: `slow-…` answers after 100 ms, `soon-…` completes 30 ms after its stream was opened,
`ticks-1-5-…` tells an event each second and completes after five, all others run for ever, and their streams say nothing until `/go`. Every event carries the moment at which it was written, in nanoseconds of the monotonic clock,
which all processes of one machine share.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import cache
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

TASK_ID = "6f1c2b1e-8f0a-4c55-9b0e-0a4f6f0e7b11"
STAMP = "2026-02-01T14:30:05Z"
TASK = {
    "id": TASK_ID,
    "workflow_id": "0d6ad7f3-3f2b-4f0f-8d38-26dd2c5d0c0a",
    "task_status": "running",
    "created_at": STAMP,
    "started_at": "2026-02-01T14:30:07.123456789Z",
    "completed_at": None,
    "task_error": "",
    "retry_count": 0,
    "agent_id": "c0a8012e-5f52-4a33-8a53-0f8b8d5f8b0e",
    "agent_labels": ["gpu", "comfyui"],
    "gateway_id": "gw-1",
    "gpu_type": "RTX 4090",
    "dispatch_target": "agent",
    "target_pool": "team",
    "tool_type": "comfyui",
}
RESULT = {
    "id": TASK_ID,
    "task_status": "completed",
    "task_output": {"storage_key": "outputs/a.png", "format": "png"},
    "download_url": "http://127.0.0.1:9/outputs/a.png?signature=0123456789abcdef",
    "expires_at": STAMP,
    "completed_at": STAMP,
}
PREDICTION = {
    "id": TASK_ID,
    "model": "cyberun/text-to-image",
    "version": "1",
    "status": "processing",
    "input": {"prompt": "a lighthouse at dusk", "seed": 7},
    "output": None,
    "logs": "step 7 of 20",
    "error": None,
    "metrics": {},
    "created_at": STAMP,
    "started_at": STAMP,
    "completed_at": None,
    "urls": {"get": "http://127.0.0.1/get", "cancel": "http://127.0.0.1/cancel"},
}
RUNWAY = {"id": TASK_ID, "createdAt": STAMP, "status": "RUNNING", "progress": 0.35, "estimatedCost": {"credits": 5}}
FAL = {"status": "IN_QUEUE", "queue_position": 3, "request_id": TASK_ID}
COMFY = {
    "id": TASK_ID,
    "status": "running",
    "created_at": STAMP,
    "updated_at": STAMP,
    "started_at": STAMP,
    "completed_at": None,
    "expires_at": STAMP,
    "queue_position": None,
    "progress": {"value": 0.35, "nodes_done": 3, "nodes_total": 9},
    "outputs": [],
    "error": None,
    "metadata": {},
    "urls": {"self": "", "events": "", "cancel": ""},
}


def answer(body: dict[str, object]) -> bytes:
    """Write an answer once and for all."""
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(content),
        content,
    )


ANSWERS = {
    "/v1/predictions": answer(PREDICTION),
    "/v1/tasks": answer(RUNWAY),
    "/owner/app": answer(FAL),
    "/api/v2": answer(COMFY),
}
DONE = answer({})
Event = Callable[[str], bytes]


@cache
def task_answer(task_id: str) -> bytes:
    """Write how a task stands."""
    return answer({**TASK, "id": task_id})


@cache
def result_answer(task_id: str) -> bytes:
    """Write the result of a task."""
    return answer({**RESULT, "id": task_id})


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(content: str) -> bytes:
    """Frame a part of a stream."""
    return f"{len(content):x}\r\n{content}\r\n".encode()


def event(name: str, **fields: object) -> Event:
    """Write an event, and give what frames it for one task: it is written once for a thousand streams."""
    rest = json.dumps(fields)[1:]
    return lambda task_id: chunk(f'event: {name}\ndata: {{"task_id": "{task_id}", {rest}\n\n')


def progress(step: int) -> Event:
    """Write a progress event, and in it the time."""
    return event(
        "progress",
        progress=step / 1000,
        step_current=step,
        step_total=1000,
        current_node="3",
        timestamp=STAMP,
        message=str(time.monotonic_ns()),
    )


def completed(task_id: str) -> bytes:
    """Write the last event, and in it the time."""
    last = event("completed", status="completed", completed_at=STAMP, output={"written": time.monotonic_ns()})
    return last(task_id) + chunk("")


class Connection(asyncio.Protocol):
    """One connection, kept alive; requests have no body."""

    streams: ClassVar[dict[Connection, str]] = {}
    open: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with nothing received."""
        Connection.open += 1
        self.transport = transport
        self.received = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget its stream."""
        Connection.open -= 1
        self.streams.pop(self, None)

    def data_received(self, data: bytes) -> None:
        """Answer each request."""
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            self.answer(head.split(b" ", 2)[1].decode())

    def answer(self, target: str) -> None:
        """Answer one request."""
        write = self.transport.write
        if target.startswith("/api/v1/r/tasks/"):
            _, _, _, _, _, task_id, *rest = target.split("/")
            if rest == ["events"]:
                self.start_stream(task_id)
            elif rest == ["result"]:
                write(result_answer(task_id))
            elif task_id.startswith("slow-"):
                asyncio.get_running_loop().call_later(0.1, write, task_answer(task_id))
            else:
                write(task_answer(task_id))
        elif target.startswith("/api/v1/r/tasks?"):
            write(answer(self.page(**query_of(target))))
        elif target.startswith("/go"):
            query = {key: float(value) for key, value in query_of(target).items()}
            asyncio.get_running_loop().create_task(go(**query))
            write(DONE)
        elif target.startswith("/open"):
            write(answer({"connections": Connection.open, "streams": len(self.streams)}))
        else:
            write(next(body for prefix, body in ANSWERS.items() if target.startswith(prefix)))

    def page(self, current_page: str, per_page: str, status: str = "running") -> dict[str, object]:
        """Give one page of the tasks, which are those that have a stream and run."""
        ids = list(self.streams.values()) if status == "running" else []
        end = int(current_page) * int(per_page)
        tasks = [{**TASK, "id": task_id} for task_id in ids[end - int(per_page) : end]]
        return {"tasks": tasks, "page_meta": {"total_count": len(ids)}}

    def start_stream(self, task_id: str) -> None:
        """Open a stream, with one event so that its reader knows that it is there."""
        self.streams[self] = task_id
        self.transport.write(STREAM_HEAD + event("status", status="running", timestamp=STAMP)(task_id))
        if task_id.startswith("ticks-"):
            _, interval, count, _ = task_id.split("-")
            asyncio.get_running_loop().create_task(follow([self], float(interval), int(count)))
        elif task_id.startswith("soon-"):
            asyncio.get_running_loop().call_later(0.03, self.end_stream)

    def end_stream(self) -> None:
        """Complete a stream's task."""
        self.transport.write(completed(self.streams.pop(self, TASK_ID)))


def query_of(target: str) -> dict[str, str]:
    """Read a query; each name comes once."""
    return dict(parse_qsl(urlsplit(target).query))


async def go(interval: float, count: float) -> None:
    """Write `count` events to each open stream, to all of them at once, one each `interval`, and end them."""
    await follow(list(Connection.streams), interval, int(count))


async def follow(streams: list[Connection], interval: float, count: int) -> None:
    """Write to the same streams each time."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for step in range(1, count + 1):
        await asyncio.sleep(start + step * interval - loop.time())
        written = progress(step)
        for stream in streams:
            stream.transport.write(written(Connection.streams.get(stream, TASK_ID)))
    await asyncio.sleep(interval)
    for stream in streams:
        stream.end_stream()


async def main() -> None:
    """Print the address, and serve until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
