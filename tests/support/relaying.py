"""A relay at work: a server, a client and readers, which read as browsers do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import attrs

from cyberun_async import AsyncClient, Polling
from cyberun_async._relay.relayed_stream import KEEP_ALIVE
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import Step, after, complete, progress, status
from cyberun_async.relay import Relay, RelayedStream

__all__ = ["KEEP_ALIVE", "RARELY", "STEPS", "WHOLE", "Scene", "Told", "names", "read", "rest", "scene", "take", "until"]

RARELY = Polling(interval=3600, interval_while_streaming=3600)
STEPS = 4
STORY = [status("running"), *(step for n in range(STEPS) for step in (after(1), progress(n + 1, STEPS)))]
WHOLE = ["status", *["progress"] * STEPS, "completed"]


@attrs.frozen
class Told:
    """One event as a browser reads it."""

    id: str
    name: str
    data: str


def read(text: bytes) -> Told:
    """Read one event by the standard's rules, as far as the relay uses them."""
    assert text.endswith(b"\n\n")
    fields = [line.split(": ", 1) for line in text.decode().splitlines() if line]
    values = dict(fields)
    return Told(values["id"], values["event"], "\n".join(value for name, value in fields if name == "data"))


async def take(stream: RelayedStream, count: int) -> list[Told]:
    """Take so many events."""
    told = []
    while len(told) < count:
        chunk = await anext(stream)
        if chunk.startswith(b"id: "):
            told.append(read(chunk))
    return told


async def rest(stream: AsyncIterator[bytes]) -> list[Told]:
    """Take what is left."""
    return [read(chunk) async for chunk in stream if chunk.startswith(b"id: ")]


def names(told: list[Told]) -> list[str]:
    """Name the events."""
    return [each.name for each in told]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that a server in another thread does."""
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - there is nothing to wait on
            await anyio.sleep(0.002)


@attrs.frozen
class Scene:
    """A server with a held clock, a client, and a relay."""

    server: LocalCyberun
    client: AsyncClient
    relay: Relay

    async def task(self, *story: Step) -> str:
        """Submit a task that lives as told; by default it has four steps, a second each."""
        self.server.script("text-to-image", story or [*STORY, complete({})])
        task_id = await self.client.submit("text-to-image", {"prompt": "x"})
        await self.server.clock.advance(0)
        return task_id

    def upstreams_of(self, task_id: str) -> int:
        """Count the streams that were ever asked for."""
        return sum(each.operation == "tasks.events" and each.task_id == task_id for each in self.server.requests)

    def listeners(self) -> int:
        """Count the streams that are open at the server."""
        return sum(len(task.listeners) for task in self.server._scheduler.tasks.values())


@asynccontextmanager
async def scene(**options: float) -> AsyncIterator[Scene]:
    """Open all three."""
    async with (
        LocalCyberun(clock="held") as server,
        AsyncClient(server.api_key, base_url=server.base_url, polling=RARELY) as client,
        Relay(client, **options) as relay,  # type: ignore[arg-type]
    ):
        yield Scene(server, client, relay)
