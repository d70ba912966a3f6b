"""Whatever a server does, at random: each wait ends right and within its bound, or with a named error.

The server is written by hand, down to its bytes, and shares no code with the package; neither does the account that it
keeps of what a wait may take. Its clock jumps, so that a seed of minutes takes milliseconds. The bound: once the result
is readable and the API answers, one interval (`Polling.interval_while_streaming` while events arrive) and three round trips; what a
`Retry-After` asks for comes on top, and what is cut off by an event costs a second at most.
"""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from support.sampling import seeds
from support.scripted import END, SSE_HEAD, Exchange, chunk
from support.virtual import Clock, run_virtually, served

from cyberun_async import AsyncClient, CyberunError, Limits, Polling, TaskCancelled, TaskFailed

INTERVAL, RELAXED = 3.0, 15.0
JITTER = 1.2
CUT = 1.0
"""Seconds that a request may have been in flight when an event cuts it off."""

WORDS = ["pending", "waiting", "provisioning", "queued", "running", "paused"]
PAGE = b"<!DOCTYPE html><title>Attention Required!</title>"
HTML = "Content-Type: text/html"
BUSY = "Retry-After: "

BAD: list[tuple[Any, ...] | None] = [
    None,
    (502, None),
    (503, PAGE, HTML),
    (503, {"error_message": "busy"}, f"{BUSY}1"),
    (503, {"error_message": "busy"}, f"{BUSY}9"),
    (200, b'{"id": '),
    (200, {"id": "task-of-another", "task_status": "completed", "task_output": {}}),
    (401, PAGE, HTML),
    (403, PAGE, HTML),
    (302, b"", "Location: https://login.example/"),
]
"""Bad answers; none at all is the first."""
PAGES = 3
"""So many of them, the last ones, are a proxy's only where the API has answered before."""


class Service:
    """A service with tasks that run for a while, and all that can go wrong.

    Attributes:
        asked_for: The longest `Retry-After` so far.
        woke: When the process went on after it was last stopped.

    """

    def __init__(self, seed: int, clock: Clock) -> None:
        self.random = chance = random.Random(seed)
        self.clock = clock
        self.began = anyio.current_time()
        self.woke = 0.0
        self.ends = {f"task-{n}": chance.choice([0.0, 0.3, 1.0, 5.0, 20.0, chance.uniform(0, 60)]) for n in range(40)}
        self.ending = chance.choice(["completed", "completed", "failed", "cancelled"])
        self.lag = chance.choice([0.0, 0.0, 0.5, 3.0])
        self.lag_says = chance.choice(["running", 404, 409, 400])
        self.latency = chance.choice([0.0, 0.05, 0.8, 2.5])
        self.trouble = chance.choice([0.0, 0.2, 0.6, 1.0])
        self.calm_at = chance.choice([0.0, 10.0, 70.0])
        self.has_answered = False
        self.asked_for = 0.0
        self.streams = chance.sample(STREAMS, k=chance.randint(1, 4))
        self.jumps = chance.choice([0.0, 0.0, 0.02])

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return anyio.current_time() - self.began

    def status(self, task_id: str) -> str:
        """Where a task stands."""
        part = self.now / self.ends[task_id] if self.ends[task_id] else 1.0
        return self.ending if part >= 1.0 else WORDS[min(int(part * len(WORDS)), len(WORDS) - 1)]

    def readable_at(self, task_id: str) -> float:
        """From when on an answer tells the end, and somebody may ask."""
        return max(self.ends[task_id] + self.lag, self.calm_at if self.trouble else 0.0, self.woke)

    @property
    def is_troubled(self) -> bool:
        return self.trouble > 0 and self.now < self.calm_at

    # Calls

    async def arrive(self) -> None:
        """Take as long as a round trip, in which the process may be stopped."""
        await anyio.sleep(self.random.uniform(0, self.latency))
        if self.random.random() < self.jumps and self.is_troubled:
            self.clock.jump(self.random.choice([5.0, 40.0, 200.0]))
            self.woke = self.now

    async def task(self, exchange: Exchange) -> None:
        await self.arrive()
        if not await self.fails(exchange):
            await exchange.answer(200, {"id": exchange.id, "task_status": self.status(exchange.id)})
            self.has_answered = True

    async def result(self, exchange: Exchange) -> None:
        await self.arrive()
        if await self.fails(exchange):
            return
        status = self.status(exchange.id)
        if status == self.ending and self.now < self.ends[exchange.id] + self.lag:
            if isinstance(self.lag_says, int):
                await exchange.answer(self.lag_says, {"error_message": "not yet"})
                return
            status = self.lag_says
        body: dict[str, object] = {"id": exchange.id, "task_status": status}
        if status == "completed":
            body["task_output"] = {"n": exchange.id}
        await exchange.answer(200, body)
        self.has_answered = True

    async def tasks(self, exchange: Exchange) -> None:
        await self.arrive()
        if await self.fails(exchange):
            return
        word = exchange.target.partition("status=")[2].partition("&")[0]
        items = [{"id": each, "task_status": word} for each in self.ends if self.status(each) == word]
        await exchange.answer(200, {"task_list": items[:100], "page_meta": {"total_count": len(items)}})

    async def fails(self, exchange: Exchange) -> bool:
        """Answer badly, while there is trouble."""
        if not self.is_troubled or self.random.random() >= self.trouble:
            return False
        bad = self.random.choice(BAD if self.has_answered else BAD[:-PAGES])
        if bad is not None:
            status, body, *headers = bad
            self.asked_for = max(
                [self.asked_for, *(float(each.removeprefix(BUSY)) for each in headers if BUSY in each)]
            )
            await exchange.answer(status, body, *headers)
        return True

    # Streams

    async def events(self, exchange: Exchange) -> None:
        await anyio.sleep(self.random.uniform(0, self.latency))
        await self.random.choice(self.streams)(self, exchange)

    def event(self, name: str, task_id: str, **fields: object) -> bytes:
        return chunk(f"event: {name}\ndata: {json.dumps({'task_id': task_id, **fields})}\n\n".encode())


async def refused(service: Service, exchange: Exchange) -> None:
    status = service.random.choice([401, 403, 404, 429, 500, 503])
    await exchange.answer(status, {"error_message": "no"}, *service.random.choice([[], ["Retry-After: 2"]]))


async def withheld(_: Service, exchange: Exchange) -> None:
    await exchange.gone()


async def mute(_: Service, exchange: Exchange) -> None:
    await exchange.send(SSE_HEAD)
    await exchange.gone()


async def closed(service: Service, exchange: Exchange) -> None:
    await exchange.send(SSE_HEAD)
    await anyio.sleep(service.random.choice([0.0, 0.1, 5.0]))
    await exchange.send(END)


async def alive(_: Service, exchange: Exchange) -> None:
    await exchange.send(SSE_HEAD)
    while True:
        await exchange.send(chunk(b": alive\n\n"))
        await anyio.sleep(1.0)


async def honest(service: Service, exchange: Exchange) -> None:
    """Say what happens as it happens."""
    await exchange.send(SSE_HEAD)
    last = ""
    while (status := service.status(exchange.id)) != service.ending:
        if status != last:
            await exchange.send(service.event("status", exchange.id, status=status))
        last = status
        await anyio.sleep(0.2)
    await exchange.send(service.event(service.ending, exchange.id, status=service.ending))
    await exchange.send(END)


async def endless(service: Service, exchange: Exchange) -> None:
    """Say for ever that it goes on."""
    await exchange.send(SSE_HEAD)
    every, step = service.random.choice([0.05, 0.4, 2.0]), 0
    while True:
        step += 1
        await exchange.send(service.event("progress", exchange.id, step_current=step))
        await anyio.sleep(every)


async def by_status(service: Service, exchange: Exchange) -> None:
    """Say the end by a status event, and stay open."""
    await exchange.send(SSE_HEAD)
    await anyio.sleep(max(service.ends[exchange.id] - service.now, 0.0))
    await exchange.send(service.event("status", exchange.id, status=service.ending))
    await exchange.gone()


async def mistaken(service: Service, exchange: Exchange) -> None:
    """Say the end too early, by a status event, and of another task."""
    await exchange.send(SSE_HEAD + service.event("completed", "task-of-another", status="completed"))
    await exchange.send(service.event("status", exchange.id, status="completed"))
    await anyio.sleep(1.0)
    await exchange.send(service.event("status", exchange.id, status="running"))
    await exchange.gone()


async def garbled(service: Service, exchange: Exchange) -> None:
    await exchange.send(SSE_HEAD)
    while True:
        junk = [
            b"event: status\ndata: {oops\n\n",
            b"data: []\n\n",
            b"event: error\ndata: {}\n\n",
            b"\xff\xfe\n\n",
            b"x" * 99,
        ]
        await exchange.send(chunk(service.random.choice(junk)))
        await anyio.sleep(service.random.choice([0.01, 0.5]))


async def reset(service: Service, exchange: Exchange) -> None:
    await exchange.send(SSE_HEAD + service.event("status", exchange.id, status=service.status(exchange.id)) + b"what?")


STREAMS: list[Callable[[Service, Exchange], Awaitable[None]]] = [
    refused,
    withheld,
    mute,
    closed,
    alive,
    honest,
    endless,
    by_status,
    mistaken,
    garbled,
    reset,
]


async def try_one(seed: int, clock: Clock) -> None:
    """Wait for one task or many, and hold what comes of it against the account."""
    chance = random.Random(seed)
    limits = Limits(max_streams=chance.choice([0, 1, 9]))
    polling = Polling(interval=INTERVAL, interval_while_streaming=RELAXED, unavailable_timeout=100_000.0)
    async with served(polling=polling, limits=limits) as (server, client):
        service = Service(seed, clock)
        server.on("task", service.task)
        server.on("result", service.result)
        server.on("tasks", service.tasks)
        server.on("events", service.events)
        count = chance.choice([1, 1, 1, 3, 30])
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(wait, service, client, f"task-{number}")


async def wait(service: Service, client: AsyncClient, task_id: str) -> None:
    seen: list[object] = []
    try:
        result = await client.wait_for_result(task_id, on_event=seen.append)
        assert result.output == {"n": task_id}
    except (TaskFailed, TaskCancelled) as error:
        result = error.result
    assert (result.id, result.status) == (task_id, service.ending)
    assert [each.is_terminal for each in seen] == [False] * (len(seen) - 1) + [True]  # type: ignore[attr-defined]
    assert {each.task_id for each in seen} == {task_id}  # type: ignore[attr-defined]
    # Events that are known, and new, make the polls rarer.
    interval = RELAXED if {endless, honest, reset, mistaken}.intersection(service.streams) else INTERVAL
    bound = interval * JITTER + 3 * service.latency + 2 * CUT + service.asked_for
    assert service.now <= service.readable_at(task_id) + bound, (service.now, service.readable_at(task_id), bound)


@pytest.mark.soak
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", seeds(sample=10, soak=500))
def test_each_wait_ends_right(seed: int, loop: str) -> None:
    """With the result, within the bound, however the stream and the API behave until then."""
    random.seed(seed)
    run_virtually(loop, lambda clock: try_one(seed, clock))


async def try_in_vain(seed: int, clock: Clock) -> None:
    """Wait where one of the questions is never answered."""
    chance = random.Random(seed)
    limits = Limits(max_streams=chance.choice([0, 1, 9]))
    patience = chance.choice([1.5, 20.0])
    async with served(polling=Polling(unavailable_timeout=patience), limits=limits) as (server, client):
        service = Service(seed, clock)
        service.trouble, service.jumps = 0.0, 0.0
        service.streams = [each for each in service.streams if each != honest] or [mute]
        failing = Service(seed, clock)
        failing.trouble, failing.calm_at, failing.jumps = 1.0, 1e9, 0.0
        broken = chance.choice(["task", "result"])
        server.on("task", (failing if broken == "task" else service).task)
        server.on("result", failing.result)
        server.on("tasks", service.tasks)
        server.on("events", service.events)
        with pytest.raises(CyberunError):
            await client.wait_for_result("task-0")
        # Two requests beyond the patience, each after an interval, and each may have to be let land.
        slack = 3 * (RELAXED * JITTER + service.latency + CUT) + 9
        assert service.now <= service.ends["task-0"] + service.lag + 2 * patience + slack


@pytest.mark.soak
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", seeds(sample=4, soak=200))
def test_each_wait_ends(seed: int, loop: str) -> None:
    """Where the result can never be read, with a named error, whatever else is answered meanwhile."""
    random.seed(seed)
    run_virtually(loop, lambda clock: try_in_vain(seed, clock))
