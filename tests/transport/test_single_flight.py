"""Single flight: callers that come together share one call, and a caller that leaves hands it over."""

from __future__ import annotations

import anyio

from cyberun_async._transport.single_flight import SingleFlight


class Source:
    """A value that takes until `ready` to get; counts how often it was asked for."""

    def __init__(self, *failures: Exception) -> None:
        self.asked = 0
        self.ready = anyio.Event()
        self.failures = list(failures)

    async def __call__(self) -> int:
        self.asked += 1
        await self.ready.wait()
        if self.failures:
            raise self.failures.pop(0)
        return self.asked


class Callers:
    """Many callers of one key, and what became of each."""

    def __init__(self, source: Source) -> None:
        self.flights = SingleFlight[str, int]()
        self.source = source
        self.outcomes: list[int] = []

    async def call(self, key: str = "a") -> None:
        self.outcomes.append(await self.flights.run(key, self.source))


async def test_shared() -> None:
    """All who wait together get the result of one call; who comes later makes another."""
    callers = Callers(Source())
    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(callers.call)
        await anyio.wait_all_tasks_blocked()
        assert callers.flights.is_running("a")
        callers.source.ready.set()
    assert callers.outcomes == [1] * 200
    assert not callers.flights.is_running("a")
    await callers.call()
    assert callers.outcomes[-1] == 2


async def test_keys() -> None:
    """Each key has a call of its own."""
    callers = Callers(Source())
    async with anyio.create_task_group() as group:
        for key in "abab":
            group.start_soon(callers.call, key)
        await anyio.wait_all_tasks_blocked()
        assert callers.source.asked == 2
        callers.source.ready.set()


async def test_failure() -> None:
    """One failure is the failure of all who waited for it, at the price of one call, with a traceback that does not grow."""
    callers = Callers(Source(ValueError("no")))
    failures: list[ValueError] = []

    async def call() -> None:
        try:
            await callers.flights.run("a", callers.source)
        except ValueError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        callers.source.ready.set()
    assert (len(failures), callers.source.asked) == (200, 1)
    assert _depth(failures[-1]) < 10


async def test_hand_over() -> None:
    """When the caller that makes the call is cancelled, one that waits makes it in its place."""
    callers = Callers(Source())
    leaders: list[anyio.CancelScope] = []

    async def call() -> None:
        async def work() -> int:
            leaders.append(scope)
            return await callers.source()

        with anyio.CancelScope() as scope:
            callers.outcomes.append(await callers.flights.run("a", work))

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(call)
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            leaders[-1].cancel()
        await anyio.wait_all_tasks_blocked()
        callers.source.ready.set()
    assert callers.outcomes == [4] * 197
    assert len(leaders) == 4


async def test_all_leave() -> None:
    """When everybody leaves, nothing stays behind."""
    callers = Callers(Source())
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(callers.call)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert callers.outcomes == []
    assert not callers.flights.is_running("a")


def _depth(error: BaseException) -> int:
    depth, frame = 0, error.__traceback__
    while frame is not None:
        depth, frame = depth + 1, frame.tb_next
    return depth
