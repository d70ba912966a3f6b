"""Time that is not real, on both loops, and a network that is memory: hours of waiting are tried in milliseconds.

A test that carries `virtual` runs on asyncio and on trio, and its clock jumps to the next deadline whenever nothing
else is left to do. What is sent goes through all of the package, httpx, httpcore and h11, as bytes, and arrives at the
handlers of a `Scripted` server, which may take their time by `anyio.sleep`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

import anyio
import anyio.to_thread
import attrs
import httpcore
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from httpcore._backends.auto import AutoBackend
from support.scripted import Scripted
from support.tables import table
from trio.testing import MockClock
from typing_extensions import Self

from cyberun_async import AsyncClient, Limits, Polling, Retries, Timeouts
from cyberun_async._transport.tls import without_tls

STUCK = 5.0
"""Real seconds after which a loop counts as stuck: it waits for nothing that will ever happen."""


LONGEST = 2000.0
"""Seconds of the test's own clock after which a test fails: it waits for ever."""


class _Selector(selectors.DefaultSelector):
    """Looks for what is ready, and lets the clock jump instead of waiting."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(STUCK if timeout is None else 0)
        if not ready and timeout is None:
            message = "nothing is left that could happen"
            raise RuntimeError(message)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a clock that jumps."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class Clock:
    """The clock of a test that carries `virtual`."""

    def __init__(self, trio_clock: MockClock | None) -> None:
        self._trio_clock = trio_clock

    def jump(self, seconds: float) -> None:
        """Let time pass in which this process does nothing at all, as when it is stopped by a signal."""
        if self._trio_clock is not None:
            self._trio_clock.jump(seconds)
        else:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop._virtual.now += seconds


def run_virtually(loop: str, main: Callable[[Clock], Awaitable[None]]) -> None:
    """Run on one loop, by a clock that is not real."""
    _make_context()
    if loop == "trio":
        trio_clock = MockClock(autojump_threshold=0)
        anyio.run(main, Clock(trio_clock), backend="trio", backend_options={"clock": trio_clock})
    else:
        anyio.run(main, Clock(None), backend="asyncio", backend_options={"loop_factory": VirtualLoop})


@functools.cache
def _make_context() -> None:
    """Make the context of connections without TLS beforehand: that takes a thread, for which a clock that jumps does not wait."""
    anyio.run(without_tls)


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on asyncio and then on trio, by a clock that is not real; it may ask for the `clock`."""
    parameters = dict(inspect.signature(test).parameters)
    wants_clock = parameters.pop("clock", None) is not None

    @functools.wraps(test)
    def run(loop: str, **given: Any) -> None:
        async def main(clock: Clock) -> None:
            with anyio.fail_after(LONGEST):
                await test(**given, **({"clock": clock} if wants_clock else {}))

        # Pauses are spread by chance; a test that fails is to fail again.
        random.seed(0)
        run_virtually(loop, main)

    loop = inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([loop, *parameters.values()])  # type: ignore[attr-defined]
    return table("loop", ["asyncio", "trio"])(run)


@contextmanager
def no_threads() -> Iterator[None]:
    """Do in the loop what blocks: the clock would jump while a thread is still at work."""

    async def run_sync(work: Callable[..., object], *arguments: object, **_: object) -> object:
        await checkpoint()
        return work(*arguments)

    with mock.patch.object(anyio.to_thread, "run_sync", run_sync):
        yield


# The network


@attrs.define(eq=False)
class _End:
    """The server's end of a connection, as `Scripted` uses the stream of a socket."""

    _incoming: MemoryObjectReceiveStream[bytes]
    _outgoing: MemoryObjectSendStream[bytes]
    is_reset: bool = False

    async def receive(self) -> bytes:
        return await self._incoming.receive()

    async def send(self, data: bytes) -> None:
        if data:  # To read no bytes is to read the end.
            await self._outgoing.send(data)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self._incoming.close()
        self._outgoing.close()


class _ClientEnd(httpcore.AsyncNetworkStream):
    """The client's end, as httpcore uses it."""

    def __init__(self, incoming: MemoryObjectReceiveStream[bytes], outgoing: MemoryObjectSendStream[bytes]) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._rest = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._rest:
            try:
                with anyio.fail_after(timeout):
                    self._rest = await self._incoming.receive()
            except TimeoutError:
                raise httpcore.ReadTimeout from None
            except anyio.EndOfStream:
                return b""
            except anyio.ClosedResourceError:
                raise httpcore.ReadError from None
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            if buffer:
                await self._outgoing.send(buffer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise httpcore.WriteError from None

    async def aclose(self) -> None:
        self._incoming.close()
        self._outgoing.close()

    def get_extra_info(self, info: str) -> object:
        # Whether an idle connection was closed by the server.
        return self._incoming.statistics().open_send_streams == 0 if info == "is_readable" else None


async def all_closed(server: Scripted, kind: str | None = None) -> None:
    """Wait until the client has closed every connection, of which a handler that sleeps hears late."""
    for peer in list(server._peers):
        if kind is None or (peer.last is not None and peer.last.kind == kind):
            await peer.closed.wait()


@asynccontextmanager
async def connections_to(serve: Callable[[Any], Awaitable[None]]) -> AsyncIterator[None]:
    """Have every connection of httpcore served by a function, which gets its other end."""
    async with anyio.create_task_group() as group:

        async def connect_tcp(*_: object, **__: object) -> _ClientEnd:
            await anyio.lowlevel.checkpoint()
            there, from_client = anyio.create_memory_object_stream[bytes](float("inf"))
            here, from_server = anyio.create_memory_object_stream[bytes](float("inf"))
            group.start_soon(serve, _End(from_client, here))
            return _ClientEnd(from_server, there)

        with mock.patch.object(AutoBackend, "connect_tcp", connect_tcp):
            yield
        group.cancel_scope.cancel()


@asynccontextmanager
async def network(server: Scripted) -> AsyncIterator[None]:
    """Have every connection of httpcore lead to a server."""
    server.base_url = "http://localhost/api/v1"
    async with connections_to(server.serve):
        yield
        await all_closed(server)


@asynccontextmanager
async def simulated() -> AsyncIterator[Scripted]:
    """Start a server as `scripted()` does, in memory."""
    server = Scripted()
    async with network(server):
        yield server


@asynccontextmanager
async def served(
    *,
    api_key: Any = "sk-test",
    polling: Polling = Polling(),
    timeouts: Timeouts = Timeouts(),
    limits: Limits = Limits(),
    retries: Retries = Retries(budget=0),
) -> AsyncIterator[tuple[Scripted, AsyncClient]]:
    """Open a server and a client of it, and see at the end that no connection is left open."""
    server = Scripted()
    team = {"team_id": "019abc12-4567-7890-abcd-ef1234567891"} if callable(api_key) else {}
    async with network(server):
        async with AsyncClient(
            api_key,
            base_url=server.base_url,
            polling=polling,
            timeouts=timeouts,
            limits=limits,
            retries=retries,
            **team,
        ) as client:
            yield server, client
            await all_closed(server, "events")
