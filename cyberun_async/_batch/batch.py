"""Many items through one workflow, as many at once as there is capacity for.

`Batch` feeds items and hands out outcomes; between the two stand `admission.py`, which decides whether one more item
may start, and `runner.py`, which makes an outcome of each item:

    items -> _feed: waits while admission says no -> Runner.process, one child task for each item -> outcomes -> __anext__

**Backpressure.** No item is read before there is capacity for it: neither more than the window in flight, nor
`max_in_flight` outcomes that wait to be consumed. So an endless iterable is fine, and memory is bounded.

**One event for all changes.** The feeder waits for capacity, and the consumer for an outcome; both wait for `_change`, and
then read the state again. It is set by an outcome, by an outcome that was consumed, and by admission.

**The end.** The iteration ends once the feeder has ended and nothing is in flight; what reading the items has raised is
raised after the last outcome. `async with` cancels the feeder and the items in flight when it is left, and then leaves or
cancels their tasks.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from cyberun_async._batch.admission import Admission, Reservation, StoppedBy
from cyberun_async._batch.options import BatchOptions
from cyberun_async._batch.outcome import BatchCounts, Item, Keyed, Outcome, Parameters, read_item
from cyberun_async._batch.runner import Runner
from cyberun_async._batch.submitter import Prepare
from cyberun_async._concurrency import FlatTaskGroup, run_shielded
from cyberun_async._errors import ConfigurationError
from cyberun_async._settings import Settings
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import explain_misuse
from cyberun_async._wait.shared_poller import SharedPoller

if TYPE_CHECKING:
    from typing_extensions import Self

Items = Iterable[Parameters | Keyed] | AsyncIterable[Parameters | Keyed]
"""The items of a batch: parameters, or keys and parameters; may be endless."""

CLEANUP = 5.0
"""Seconds that a generator of items gets to close."""


@explain_misuse(
    iterate="use 'async for outcome in batch' inside of 'async with client.map(...) as batch:'",
    enter="use 'async with client.map(...) as batch:'",
    await_it="a batch is not awaited: use 'await client.map(...).gather()', or 'async with client.map(...) as batch:'",
)
class Batch(AsyncIterator[Outcome]):
    """A running batch: an async context manager, and an async iterator of the outcomes of its items.

    `AsyncClient.map` makes one. Outcomes come in the order in which the items end; `gather()` gives them in the order of
    the items. Leaving `async with` starts no more items, and leaves or cancels the tasks in flight (`on_exit`).
    Outcomes that are not consumed count towards `max_in_flight` (backpressure).

    ```python
    async with client.map("text-to-image", [{"prompt": "a lake"}, {"prompt": "a hill"}]) as batch:
        async for outcome in batch:
            print(outcome.key, outcome.task_id, outcome.error)
    ```

    Raises:
        ConfigurationError: `items` is neither an iterable nor an async iterable of parameters.

    """

    __reduce__ = refuse_copies

    def __init__(
        self,
        transport: Transport,
        shared_poller: SharedPoller,
        settings: Settings,
        options: BatchOptions,
        *,
        prepare: Prepare,
        items: Items,
    ) -> None:
        if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, (Iterable, AsyncIterable)):
            message = (
                f"items must be a list or other iterable of parameters, or an async one, not {type(items).__name__}"
            )
            raise ConfigurationError(message)
        self._admission = Admission(
            max_in_flight=options.max_in_flight,
            max_tasks=options.max_tasks,
            stop_after_failures=options.stop_after_failures,
            on_error=options.on_error,
            on_change=self._changed,
        )
        self._runner = Runner(transport, shared_poller, settings, options, prepare=prepare, admission=self._admission)
        self._workflow = options.workflow
        self._items = items
        self._group: FlatTaskGroup | None = None
        self._feeding: anyio.CancelScope | None = None  # Made in the event loop, which is not there yet.
        self._is_fed = False
        self._is_over = False
        self._failure: Exception | None = None
        self._ready: deque[Outcome] = deque()
        self._change = anyio.Event()

    def __repr__(self) -> str:
        """Show what it runs, and how much of it."""
        return f"<{type(self).__name__} of {self._workflow!r}, {self.in_flight} in flight>"

    @property
    def in_flight(self) -> int:
        """The number of items that have been started and have no outcome yet."""
        return self._admission.in_flight

    @property
    def counts(self) -> BatchCounts:
        """The number of items in flight, and of those that have ended, by how they ended; also after the batch."""
        return self._admission.counts

    @property
    def stopped_by(self) -> "StoppedBy | None":
        """Why the batch starts no more items: `"stop"` (the method), or the name of an option; `None` if it still does."""
        return self._admission.stopped_by

    async def __aenter__(self) -> "Self":
        """Start to submit.

        Raises:
            ConfigurationError: The batch has run already, or its journal cannot be opened.
            JournalInUse: Another process has the journal.

        """
        if self._group is not None or self._is_over:
            message = "a batch runs once: call map() again"
            raise ConfigurationError(message)
        try:
            await self._runner.open()
            group = FlatTaskGroup()
            await group.__aenter__()
        except BaseException:
            self._is_over = True
            await self._runner.aclose()
            raise
        self._group = group
        self._feeding = anyio.CancelScope()
        group.start_soon(self._feed, self._feeding)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Start no more items, and leave or cancel the tasks in flight, as `on_exit` says."""
        group, self._group = self._group, None
        self._is_over = True
        assert group is not None
        try:
            group.cancel_scope.cancel()
            # Without the body's exception, which the group would wrap in a group of its own.
            await group.__aexit__(None, None, None)
        finally:
            await self._runner.aclose()

    def __aiter__(self) -> "Self":
        """Give the batch itself."""
        self._check_running()
        return self

    async def __anext__(self) -> Outcome:
        """Wait for the next outcome.

        Raises:
            ConfigurationError: The batch is not running: it is used outside of `async with`.

        """
        self._check_running()
        while not self._ready:
            if self._is_fed and not self.in_flight:
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                raise StopAsyncIteration
            await self._change.wait()
        outcome = self._ready.popleft()
        self._changed()
        return outcome

    def stop(self) -> None:
        """Start no more items; the iteration ends after the outcomes of those in flight.

        Raises:
            ConfigurationError: The batch is not running.

        """
        self._check_running()
        self._stop("stop")

    async def gather(self) -> list[Outcome]:
        """Wait for all outcomes that are left, and return them in the order of the items.

        Outside of `async with` it runs the complete batch.

        Raises:
            ConfigurationError: The batch has ended already.
            Exception: What reading the items raised.

        """
        if self._group is None and not self._is_over:
            async with self:
                return await self.gather()
        outcomes = [outcome async for outcome in self]
        return sorted(outcomes, key=lambda outcome: outcome.index)

    def _check_running(self) -> None:
        if self._group is None:
            state = "has ended" if self._is_over else "is not running"
            message = f"the batch {state}: use 'async with client.map(...) as batch:' and iterate inside of it"
            raise ConfigurationError(message)

    def _changed(self) -> None:
        """Wake the feeder, which waits for capacity, and the consumer, which waits for an outcome."""
        self._change.set()
        self._change = anyio.Event()

    # What runs in the background

    async def _feed(self, scope: anyio.CancelScope) -> None:
        """Start items as long as there is capacity, and read none before."""
        source = _ItemSource(self._items)
        try:
            with scope:
                index = 0
                while True:
                    await self._wait_for_capacity()
                    item = read_item(index, await source.next())
                    index += 1
                    self._start(item)
        except StopAsyncIteration:
            pass
        except Exception as failure:  # noqa: BLE001 - raised by the iteration, after the last outcome
            self._failure = failure
        finally:
            self._is_fed = True
            self._changed()
            await run_shielded(source.aclose, within=CLEANUP)

    async def _wait_for_capacity(self) -> None:
        """Wait until one more item may start; cancelled where none may any more."""
        while not self._admission.may_start(len(self._ready)):
            if self._admission.is_spent:
                self._stop("max_tasks")
            await self._change.wait()
        await checkpoint()

    def _stop(self, reason: "StoppedBy") -> None:
        self._admission.stop(reason)
        assert self._feeding is not None
        self._feeding.cancel()

    def _start(self, item: Item) -> None:
        assert self._group is not None
        self._group.start_soon(self._process, item, self._admission.start())

    async def _process(self, item: Item, reservation: Reservation) -> None:
        outcome, ending = await self._runner.process(item, reservation)
        self._ready.append(outcome)
        reason = self._admission.end_item(ending)
        self._changed()
        if reason is not None:
            self._stop(reason)
        if reason == "cancel_rest":
            await self._runner.tasks.cancel_all()


class _ItemSource:
    """The items, one by one, whatever they come from."""

    def __init__(self, items: Items) -> None:
        self._async = items.__aiter__() if isinstance(items, AsyncIterable) else None
        self._sync = iter(()) if isinstance(items, AsyncIterable) else iter(items)

    async def next(self) -> object:
        if self._async is not None:
            return await self._async.__anext__()
        for item in self._sync:
            return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End an async generator that was not read to its end: its clean-up cannot wait for the collector."""
        if isinstance(self._async, AsyncGenerator):
            await self._async.aclose()
