"""What the parts of a client share, and what its friends may use: the relay, and the conformance checks.

Batches and files are imported with their first use (lazy import): with them the package would take more than 1.5 times as
long to import as its five dependencies; and what draws in a notebook, where there is one. The three imports here, and the
names in `cyberun_async._LAZY`, are all there is of it.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

from cyberun_async._resources.submitting import SubmissionPreparer
from cyberun_async._settings import Settings
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.requests import check_own_client
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.follower import TaskFollower
from cyberun_async._wait.result import EventCallback
from cyberun_async._wait.shared_poller import SharedPoller

if TYPE_CHECKING:
    import httpx

    from cyberun_async._batch import Batches
    from cyberun_async._files import FileTransfers


class ClientCore:
    """The parts of one client.

    Attributes:
        settings: Resolved and checked.
        transport: Sends calls, and opens event streams.
        shared_poller: Joins the polls of all waits.
        preparer: Checks parameters and uploads files before a submission.

    """

    __reduce__ = refuse_copies

    def __init__(
        self,
        settings: Settings,
        http_client: "httpx.AsyncClient | None" = None,
        storage_client: "httpx.AsyncClient | None" = None,
    ) -> None:
        """Open nothing."""
        if storage_client is not None:
            check_own_client(storage_client)
        self.settings: Settings = settings
        self.transport: Transport = Transport(settings, http_client)
        self.shared_poller: SharedPoller = SharedPoller(self.transport, settings.polling)
        self.preparer: SubmissionPreparer = SubmissionPreparer(self.transport, lambda: self.files.uploads)
        self._storage_client = storage_client

    def __repr__(self) -> str:
        """Show where it talks to."""
        return f"<{type(self).__name__} of {self.settings.base_url}>"

    @cached_property
    def batches(self) -> "Batches":
        """Many items, and submitting once by key."""
        from cyberun_async._batch import Batches

        return Batches(self.transport, self.shared_poller, self.settings)

    @cached_property
    def files(self) -> "FileTransfers":
        """Uploads and downloads."""
        from cyberun_async._files import FileTransfers

        return FileTransfers(self.transport, self.settings, self._storage_client)

    def follow(self, task_id: str) -> TaskFollower:
        """Give a follower of a task, which begins when its first event is asked for."""
        return TaskFollower(self.transport, self.shared_poller, task_id, self.settings.polling)

    @property
    def is_open(self) -> bool:
        """Whether there may be connections."""
        return self.transport.is_open or ("files" in vars(self) and self.files.is_open)

    async def aclose(self) -> None:
        """Close every connection, under cancellation too; safe to call twice."""
        try:
            await self.transport.aclose()
        finally:
            if "files" in vars(self):
                await self.files.aclose()


def show_wait(
    title: str,
    on_event: EventCallback | None,
    on_submitted: Callable[[str], object] | None = None,
    *,
    task_id: str | None = None,
    on_cancel: str,
) -> "AbstractContextManager[tuple[EventCallback | None, Callable[[str], object] | None]]":
    """Draw a wait in a notebook, unless its events are taken; elsewhere this costs a look into a dictionary.

    Args:
        title: What is waited for.
        on_event: What the caller wants to be called with each event.
        on_submitted: What the caller wants to be called with the id.
        task_id: The id, where it is known already.
        on_cancel: What becomes of the task when the wait is stopped.

    Returns:
        What to call with each event, and with the id.

    """
    if on_event is None and "IPython" in sys.modules:
        from cyberun_async._notebook import shown

        return shown(title, on_submitted, task_id=task_id, on_cancel=on_cancel)
    return nullcontext((on_event, on_submitted))
