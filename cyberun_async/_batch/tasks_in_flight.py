"""The tasks of a batch that are in flight, so that they can be cancelled when it is left."""

import logging

from cyberun_async._concurrency import FlatTaskGroup
from cyberun_async._protocol import endpoints
from cyberun_async._transport.transport import Transport

log = logging.getLogger("cyberun_async.batch")

MAX_CONCURRENT_CANCELS = 16
"""Cancellations in flight at once when a batch is given up."""


class TasksInFlight:
    """The tasks that a batch waits for.

    Args:
        transport: Sends the cancellations.

    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._ids: dict[str, None] = {}

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<{type(self).__name__}, {len(self)} tasks>"

    def __len__(self) -> int:
        """Count them."""
        return len(self._ids)

    def add(self, task_id: str) -> None:
        """Note a task that is waited for; safe to call twice."""
        self._ids[task_id] = None

    def discard(self, task_id: str | None) -> None:
        """Forget a task that is not waited for any more."""
        self._ids.pop(task_id or "", None)

    async def cancel(self, task_id: str) -> None:
        """Ask the server to cancel a task; a failure is logged."""
        try:
            await self._transport.send(endpoints.cancel_task(task_id), urgent=True)
        except Exception as failure:  # noqa: BLE001 - a token provider's, too: the others are still to be cancelled
            log.warning("task %s: cancelling it failed: %s", task_id, failure)

    async def cancel_all(self) -> None:
        """Cancel all that are there now."""
        left = iter(list(self._ids))

        async def cancel() -> None:
            for task_id in left:
                await self.cancel(task_id)

        async with FlatTaskGroup() as group:
            for _ in range(min(MAX_CONCURRENT_CANCELS, len(self))):
                group.start_soon(cancel)
