"""The race of stream and polls, as it is: waits are recorded against a clock that is not real, and then drawn."""

from __future__ import annotations

import json
import math
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import httpx
import trio
from trio.testing import MockClock

from cyberun_async import AsyncClient

from .svg import Drawing

TASK = "019abc12-9012-7890-abcd-ef1234567896"
END = 7.0
"""The second in which the task completes."""
ON_THE_WAY = 0.04
"""Seconds that each answer takes."""


@dataclass(frozen=True)
class Stream:
    """What one event stream delivers: an event's name at each of these seconds, until it breaks or says no more."""

    events: tuple[tuple[float, str], ...] = ()
    breaks_at: float = math.inf


RACES = {
    "The stream gets through": [Stream(((0.1, "status"), (2, "progress"), (4, "progress"), (END, "completed")))],
    "The stream breaks": [
        Stream(((0.1, "status"), (2, "progress")), breaks_at=3.5),
        Stream(((4, "status"), (5.5, "progress"), (END, "completed"))),
    ],
    "A proxy buffers the stream": [Stream()],
}
"""What happens to the streams of a task that completes after seven seconds."""

DATA = {
    "status": {"status": "running"},
    "progress": {"progress": 0.5},
    "completed": {"output": {}},
}


@dataclass(frozen=True)
class Moment:
    """What happened at a second, on the stream or by a poll."""

    second: float
    lane: str
    says: str
    kind: str = ""


@dataclass
class Server(httpx.AsyncBaseTransport):
    """A service with one task, which writes down what it is asked and what it says."""

    streams: list[Stream]
    moments: list[Moment] = field(default_factory=list)

    def note(self, lane: str, says: str, kind: str = "") -> None:
        """Write something down."""
        self.moments.append(Moment(trio.current_time(), lane, says, kind))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as the API does."""
        await anyio.sleep(ON_THE_WAY)
        place = request.url.path.rpartition("/")[2]
        status = "completed" if trio.current_time() >= END else "running"
        if place == "events":
            self.note("stream", "opens")
            headers = {"Content-Type": "text/event-stream"}
            return httpx.Response(200, headers=headers, stream=Events(self, self.streams.pop(0)))
        if place == "result":
            self.note("poll", "the result", "end")
            return httpx.Response(200, json={"id": TASK, "task_status": status})
        self.note("poll", status, "first" if status == "completed" else "")
        return httpx.Response(200, json={"id": TASK, "task_status": status})


@dataclass
class Events(httpx.AsyncByteStream):
    """The body of a stream."""

    server: Server
    stream: Stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Deliver, and then break or be silent."""
        for second, name in self.stream.events:
            if (pause := second - trio.current_time()) > 0:
                await anyio.sleep(pause)
            self.server.note("stream", name, "first" if name == "completed" else "")
            yield f"event: {name}\ndata: {json.dumps({'task_id': TASK, **DATA[name]})}\n\n".encode()
        if self.stream.breaks_at == math.inf:
            await anyio.sleep_forever()
        await anyio.sleep(self.stream.breaks_at - trio.current_time())
        self.server.note("stream", "breaks", "bad")
        raise httpx.ReadError("the connection broke")


def record(streams: list[Stream]) -> list[Moment]:
    """Wait for the task, and give what happened."""

    async def wait() -> list[Moment]:
        server = Server(list(streams))
        http = httpx.AsyncClient(transport=server)
        async with http, AsyncClient("sk-example", http_client=http) as client:
            await client.wait_for_result(TASK)
        return server.moments

    random.seed(7)  # Pauses are spread by chance; the picture is to stay the same.
    return trio.run(wait, clock=MockClock(autojump_threshold=0))


WIDTH, ROW, TOP = 264, 26, 62
LANES = {"stream": 56, "poll": 162}


def draw(title: str, moments: list[Moment]) -> str:
    """Draw one race, from the top down."""
    drawing = Drawing(WIDTH, TOP + ROW * (len(moments) + 1) - 4, title)
    drawing.text(WIDTH / 2, 18, title, "title middle")
    drawing.text(34, 44, "s", "small muted right")
    bottom = TOP + ROW * (len(moments) - 1)
    for lane, name in (("stream", "stream"), ("poll", "polls")):
        drawing.text(LANES[lane] - 6, 44, name, "lane")
    drawing.line(LANES["poll"], TOP - 8, LANES["poll"], bottom, "dotted")
    for row, moment in enumerate(moments):
        y = TOP + ROW * row
        drawing.text(34, y + 5, f"{moment.second:.1f}", "small muted right")
        if moment.lane == "stream":
            until = next((n for n, m in enumerate(moments) if n > row and m.lane == "stream"), len(moments) - 1)
            if moment.kind not in {"bad", "first"}:
                drawing.line(LANES["stream"], y, LANES["stream"], TOP + ROW * until, "thick")
        x = LANES[moment.lane]
        drawing.dot(x, y, moment.kind)
        drawing.text(x + 13, y + 5, moment.says, moment.kind)
    return str(drawing)


def races() -> str:
    """Draw all of them, side by side where there is room."""
    return "".join(draw(title, record(streams)) for title, streams in RACES.items())
