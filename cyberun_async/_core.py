"""What the parts of a client share, and what its friends may use: the relay, and the conformance checks.

Batches, files, observers, token providers, containers' streams and data URIs are imported with their first use (lazy
import): with them the package would take more than 1.5 times as long to import as its five dependencies; and what draws in
a notebook, where there is one. The imports inside of functions here and in `_settings.py`, `_resources/containers.py`,
`_transport/transport.py` and `_protocol/files.py`, and the names in `cyberun_async._LAZY`, are all there is of it.
"""

import sys
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

from cyberun_async._resources.submitting import SubmissionPreparer
from cyberun_async._settings import Settings
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.recent_cache import RecentCache
from cyberun_async._transport.requests import check_own_client
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.follower import TaskFollower
from cyberun_async._wait.shared_poller import SharedPoller
from cyberun_async._wait.wait_options import EventCallback

if TYPE_CHECKING:
    import httpx

    from cyberun_async._batch import Batches
    from cyberun_async._files import FileTransfers


MAX_IDLE_VIEWS = 1000
"""Views that are kept although unused: a backend that makes one for each request finds its definitions again."""


class ClientCore:
    """The parts of one client, or of a view of it: settings and what belongs to its credential, on shared connections.

    Attributes:
        settings: Resolved and checked.
        transport: Sends calls, and opens event streams.
        shared_poller: Joins the polls of all waits.
        preparer: Checks parameters and uploads files before a submission.
        owner: The client's core, if this is that of a view.
        views: The cores of views, by their options.

    """

    __reduce__ = refuse_copies

    def __init__(
        self,
        settings: Settings,
        http_client: "httpx.AsyncClient | None" = None,
        storage_client: "httpx.AsyncClient | None" = None,
        *,
        owner: "ClientCore | None" = None,
    ) -> None:
        """Open nothing."""
        if storage_client is not None:
            check_own_client(storage_client)
        self.settings: Settings = settings
        self.owner: ClientCore | None = owner
        self.views: RecentCache[Hashable, ClientCore] = RecentCache(MAX_IDLE_VIEWS) if owner is None else owner.views
        connections = Connections(settings, http_client) if owner is None else owner.transport.connections
        self.transport: Transport = Transport(settings, connections)
        if owner is not None and settings.options == owner.settings.options:
            self.shared_poller: SharedPoller = owner.shared_poller
            self.preparer: SubmissionPreparer = owner.preparer
        else:
            wakes = None if owner is None else owner.shared_poller.wakes
            self.shared_poller = SharedPoller(self.transport, settings.polling, wakes)
            self.preparer = SubmissionPreparer(self.transport, lambda: self.files.uploads)
        self._storage_client = storage_client

    def __repr__(self) -> str:
        """Show where it talks to."""
        return f"<{type(self).__name__} of {self.settings.base_url}{' (view)' if self.is_view else ''}>"

    @property
    def is_view(self) -> bool:
        """Whether the connections are another's."""
        return self.owner is not None

    def view(self, settings: Settings) -> "ClientCore":
        """Give the core of a view with these settings: the same one for the same options."""
        owner = self.owner or self
        return self.views.get(settings.options, lambda: ClientCore(settings, owner=owner))

    @cached_property
    def batches(self) -> "Batches":
        """Many items, and submitting once by key."""
        from cyberun_async._batch import Batches

        return Batches(self.transport, self.shared_poller, self.settings)

    @cached_property
    def files(self) -> "FileTransfers":
        """Uploads and downloads."""
        from cyberun_async._files import FileTransfers

        storage = None if self.owner is None else self.owner.files.storage.view(self.settings)
        return FileTransfers(self.transport, self.settings, self._storage_client, storage=storage)

    def follow(self, task_id: str) -> TaskFollower:
        """Give a follower of a task, which begins when its first event is asked for."""
        return TaskFollower(self.transport, self.shared_poller, task_id, self.settings.polling)

    @property
    def is_open(self) -> bool:
        """Whether there may be connections of its own."""
        return not self.is_view and (self.transport.is_open or ("files" in vars(self) and self.files.is_open))

    async def aclose(self) -> None:
        """Close every connection, under cancellation too; safe to call twice. A view has none."""
        if self.is_view:
            return
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
    """Draw a wait in a notebook, unless its events are taken; elsewhere this costs a dictionary lookup.

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
