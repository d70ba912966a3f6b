"""Single flight: concurrent callers who want the same value share one call for it (request coalescing)."""

from collections.abc import Awaitable, Callable, Hashable
from types import TracebackType
from typing import Generic, TypeVar

import anyio

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Runs one call for each key at a time; callers that come meanwhile wait for its outcome.

    A result or an error is the outcome of all who wait. A caller that is cancelled while it runs the call has
    no outcome to share: the next in line runs it in its place. Nothing is kept once a call has ended.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}

    def __repr__(self) -> str:
        """Show how many calls are in flight; a key may be anything, so none is shown."""
        return f"<{type(self).__name__}: {len(self._flights)} in flight>"

    def is_running(self, key: K) -> bool:
        """Whether a call for the key is in flight."""
        return key in self._flights

    async def run(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Give what `work` gives, or what the call that is in flight for the key gives."""
        while (flight := self._flights.get(key)) is not None:
            await flight.ended.wait()
            if flight.failure is not None:
                # As asyncio's futures do it, so that the traceback does not grow with each caller that raises it.
                raise flight.failure.with_traceback(flight.traceback)
            if flight.results:
                return flight.results[0]
        return await self._fly(key, work)

    async def _fly(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        flight = self._flights[key] = _Flight[T]()
        try:
            result = await work()
        except Exception as error:
            flight.failure, flight.traceback = error, error.__traceback__
            raise
        else:
            flight.results.append(result)
            return result
        finally:
            del self._flights[key]
            flight.ended.set()


class _Flight(Generic[T]):
    """One call in flight, and its outcome once it has ended; none where it was cancelled."""

    __slots__ = ("ended", "failure", "results", "traceback")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.failure: Exception | None = None
        self.traceback: TracebackType | None = None
        self.results: list[T] = []
