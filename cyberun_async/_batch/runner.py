"""The runner of a batch: it opens the journal, and makes an outcome of each item. (resume, cancel)

`process(item, reservation)` can run any number of times at once, one call for each item in flight; what becomes of one
is in `item_run.py`. Here is what they share: the journal, which is opened before the first item and closed after the
last one, and the tasks in flight, which are left or cancelled when the batch ends (`on_exit`).
"""

import attrs

from cyberun_async._batch.admission import Admission, Ending, Reservation
from cyberun_async._batch.item_run import BatchContext, ItemRun
from cyberun_async._batch.journal import store_of
from cyberun_async._batch.options import BatchOptions
from cyberun_async._batch.outcome import Item, Outcome
from cyberun_async._batch.submitter import Prepare, Submitter
from cyberun_async._batch.tasks_in_flight import TasksInFlight
from cyberun_async._batch.unconfirmed import find_unconfirmed
from cyberun_async._concurrency import run_shielded
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.shared_poller import SharedPoller


class Runner:
    """Makes an outcome of each item, any number at once.

    Args:
        transport: Sends the requests.
        shared_poller: Polls for all waits of the client.
        settings: The client's.
        options: How the batch is to run.
        prepare: Gives the call that submits an item.
        admission: Whether anything may be submitted.

    Attributes:
        tasks: The tasks that are in flight.

    """

    def __init__(
        self,
        transport: Transport,
        shared_poller: SharedPoller,
        settings: Settings,
        options: BatchOptions,
        *,
        prepare: Prepare,
        admission: Admission,
    ) -> None:
        self.tasks: TasksInFlight = TasksInFlight(transport)
        self._context = BatchContext(
            transport=transport,
            shared_poller=shared_poller,
            settings=settings,
            options=options,
            journal=None if options.journal is None else store_of(options.journal),
            admission=admission,
            tasks=self.tasks,
            submitter=Submitter(transport, settings, admission, self.tasks, prepare),
        )
        self._is_journal_open = False

    def __repr__(self) -> str:
        """Show the workflow, and how many tasks are in flight."""
        return f"<{type(self).__name__} of {self._context.options.workflow!r}, {len(self.tasks)} tasks>"

    async def open(self) -> None:
        """Open the journal, and search for the tasks of submissions that got no response.

        Raises:
            ConfigurationError: The journal cannot be opened or written, or is in use.

        """
        options, journal, transport = self._context.options, self._context.journal, self._context.transport
        if journal is None:
            return
        await journal.open(for_batch=True)
        self._is_journal_open = True
        # Of this batch alone: a journal that is kept open serves one after the other.
        self._context = attrs.evolve(self._context, run=await journal.next_run())
        if "uncertain" not in options.resubmit:
            longest = self._context.settings.timeouts.call
            found = await find_unconfirmed(transport, journal, options.workflow, longest=longest)
            self._context = attrs.evolve(self._context, found=found)

    async def process(self, item: Item, reservation: Reservation) -> tuple[Outcome, Ending]:
        """Make an outcome of an item.

        Args:
            item: The item.
            reservation: The task that it may have to submit; it is released here.

        """
        return await ItemRun(self._context, item, reservation).run()

    async def aclose(self) -> None:
        """Leave or cancel the tasks in flight, as asked, and close the journal."""
        options, journal = self._context.options, self._context.journal
        if options.on_exit == "cancel" and len(self.tasks):
            # A request's clean-up has `Timeouts.cleanup`; many of them have that for each hundred.
            hundreds = 1 + len(self.tasks) // 100
            await run_shielded(self.tasks.cancel_all, within=self._context.settings.timeouts.cleanup * hundreds)
        if journal is not None and self._is_journal_open:
            self._is_journal_open = False
            await journal.leave(for_batch=True)
