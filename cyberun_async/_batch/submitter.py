"""Submitting the items of a batch: a few at a time, and fewer after a 429. (rate limit, back-off)"""

from collections.abc import Awaitable, Callable

import anyio

from cyberun_async._batch.admission import Admission
from cyberun_async._batch.outcome import Parameters
from cyberun_async._batch.tasks_in_flight import TasksInFlight
from cyberun_async._concurrency import Flight
from cyberun_async._errors import RateLimitError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.json_text import encode_json
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.poll_errors import is_passing

Prepare = Callable[[Parameters], Awaitable[Call[Submitted]]]
"""Gives the call that submits an item, once its parameters are known to fit, and its files are uploaded."""


class Submitter:
    """Submits items of one batch.

    Args:
        transport: Sends the submissions.
        settings: The client's.
        admission: Hears of each 429, and of each submission that met none.
        tasks: The tasks in flight.
        prepare: Gives the call for an item's parameters.

    Attributes:
        slots: To be held while an item is submitted.

    """

    def __init__(
        self, transport: Transport, settings: Settings, admission: Admission, tasks: TasksInFlight, prepare: Prepare
    ) -> None:
        # Half of the connections, so that polls and results get through while a thousand items are submitted.
        self.slots: anyio.Semaphore = anyio.Semaphore(max(1, settings.limits.max_connections // 2), fast_acquire=True)
        self._transport = transport
        self._settings = settings
        self._admission = admission
        self._tasks = tasks
        self._prepare = prepare

    def __repr__(self) -> str:
        """Show how many items may be submitted at once, and how many tasks are in flight."""
        return f"<{type(self).__name__}, {self.slots.value} slots free, {len(self._tasks)} tasks in flight>"

    async def prepare(self, parameters: Parameters) -> Call[Submitted]:
        """Give the call that submits an item; what cannot be sent is found out before it is written down as being sent."""
        call = await self._prepare(parameters)
        encode_json(call.body or {})
        return call

    async def send(self, call: Call[Submitted], flight: Flight) -> Submitted:
        """Send a submission; after a 429 the window is narrowed, and the item retries until `unavailable_timeout`."""
        give_up = anyio.current_time() + self._settings.polling.unavailable_timeout
        while True:
            seen_in, before = self._admission.window.round, flight.rate_limits
            submitted, pause = None, 0.0
            try:
                submitted = await self._transport.send(call, flight=flight)
            except RateLimitError as failure:
                if not is_passing(failure) or anyio.current_time() > give_up:
                    raise
                pause = failure.retry_after or self._settings.retries.maximum
            if flight.rate_limits > before:
                self._admission.rate_limited(seen_in, len(self._tasks) + 1)
            else:
                self._admission.accepted()
            if submitted is not None:
                return submitted
            flight.reset()
            await anyio.sleep(pause)
