"""Starting a batch, and submitting once by key, with the parts of one client."""

from collections.abc import Awaitable, Callable
from typing import Any

from cyberun_async._batch.batch import Batch, Items
from cyberun_async._batch.journal import Journal
from cyberun_async._batch.options import BatchOptions
from cyberun_async._batch.outcome import Parameters
from cyberun_async._batch.submit_once import submit_once
from cyberun_async._batch.submitter import Prepare
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.shared_poller import SharedPoller


class Batches:
    """Starts batches, and submits once by key.

    Args:
        transport: Sends the calls.
        shared_poller: Joins the polls of all waits.
        settings: The client's.

    """

    def __init__(self, transport: Transport, shared_poller: SharedPoller, settings: Settings) -> None:
        """Start none."""
        self._transport = transport
        self._shared_poller = shared_poller
        self._settings = settings

    def __repr__(self) -> str:
        """Show where batches go."""
        return f"<{type(self).__name__} of {self._transport.base_url}>"

    def map(self, items: Items, prepare: Prepare, **options: Any) -> Batch:
        """Give a batch with these `BatchOptions`; see `AsyncClient.map`."""
        return Batch(
            self._transport,
            self._shared_poller,
            self._settings,
            BatchOptions(**options),
            prepare=prepare,
            items=items,
        )

    async def submit_once(
        self,
        key: str,
        workflow: str,
        parameters: Parameters,
        journal: Journal,
        prepare: Callable[[], Awaitable[Call[Submitted]]],
    ) -> str:
        """Give the id of the task that a key stands for; see `AsyncClient.submit_once`."""
        return await submit_once(
            self._transport,
            self._settings,
            journal,
            workflow=workflow,
            key=key,
            parameters=parameters,
            prepare=prepare,
        )
