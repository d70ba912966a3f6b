"""Taking one item of a batch from its parameters to its outcome."""

import logging
import time
from collections.abc import Awaitable, Callable

import anyio

from cyberun_async._errors import ConfigurationError, CyberunError, RateLimitError, TaskError
from cyberun_async._flows.batch_plan import Plan
from cyberun_async._flows.journal import Journal
from cyberun_async._flows.lookups import Lookups
from cyberun_async._flows.paging import EveryItem
from cyberun_async._flows.waiting import report_submitted, verdict, wait_for_result
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.batches import (
    Entry,
    Item,
    Outcome,
    Parameters,
    Window,
    fingerprint,
    match_unheard,
    may_exist,
    recall,
    remember,
    step_for,
    unheard,
)
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.retrying import is_passing
from cyberun_async._protocol.tasks import Submitted, Task, TaskResult
from cyberun_async._protocol.workflows import get_workflow
from cyberun_async._settings import Settings
from cyberun_async._transport.exchange import finish, see_through
from cyberun_async._transport.transport import Transport

log = logging.getLogger("cyberun_async.batch")

Prepare = Callable[[Parameters], Awaitable[Call[Submitted]]]
"""Gives the call that submits an item, once its parameters are known to fit."""

MOST_LISTED = 5_000
"""Tasks that are gone through to find those whose submission was not answered."""

CANCELS_AT_ONCE = 16
"""Cancellations in the air at once when a batch is given up."""


class Progress:
    """How far one item is."""

    __slots__ = ("is_matched", "is_new", "is_uncertain", "item", "task_id")

    def __init__(self, item: Item) -> None:
        """Nothing has happened yet."""
        self.item = item
        self.task_id: str | None = None
        self.is_new = self.is_uncertain = self.is_matched = False

    def outcome(self, result: TaskResult | None, error: Exception | None) -> Outcome:
        """Give what became of it."""
        return Outcome(
            index=self.item.index,
            key=self.item.key,
            parameters=self.item.parameters,
            task_id=self.task_id,
            result=result,
            error=error,
            is_uncertain=self.is_uncertain,
            is_matched=self.is_matched,
        )


class Runner:
    """Takes items through, any number at once; each has an outcome whatever happens to it.

    Attributes:
        tasks: The tasks that are in flight.
        window: How many items there may be.
        is_stopped: Whether nothing more is to be submitted.
        on_room: Called when the window has grown.

    """

    def __init__(
        self, transport: Transport, lookups: Lookups, settings: Settings, plan: Plan, prepare: Prepare
    ) -> None:
        """Nothing is sent yet."""
        self.tasks: dict[str, None] = {}
        self.window: Window = Window(plan.max_in_flight)
        self.is_stopped = False
        self.on_room: Callable[[], None] = lambda: None
        self._transport = transport
        self._lookups = lookups
        self._settings = settings
        self._plan = plan
        self._prepare = prepare
        self._matched: dict[str, str] = {}
        self._is_journal_open = False
        # Half of the connections, so that looks and results get through while a thousand items are submitted.
        self._submitting = anyio.Semaphore(max(1, settings.limits.max_connections // 2), fast_acquire=True)

    async def open(self) -> None:
        """Open the journal, and look for the tasks of submissions that were not answered.

        Raises:
            ConfigurationError: The journal cannot be opened, or is in use.

        """
        journal = self._plan.journal
        if journal is None:
            return
        await journal.open()
        self._is_journal_open = True
        began = await journal.unheard(self._plan.workflow)
        if began and "uncertain" not in self._plan.resubmit:
            try:
                self._matched = await self._match(journal, began)
            except CyberunError as failure:
                log.warning("the tasks of %d items could not be looked for: %s", len(began), failure)

    async def aclose(self) -> None:
        """Let go of the tasks as asked, and of the journal."""
        if self._plan.on_exit == "cancel" and self.tasks:
            batches = 1 + len(self.tasks) // 100
            await finish(self.cancel_tasks, within=self._settings.timeouts.cleanup * batches)
        if self._plan.journal is not None and self._is_journal_open:
            await finish(self._plan.journal.aclose, within=self._settings.timeouts.cleanup)

    async def outcome_of(self, item: Item) -> Outcome:
        """Take one item through."""
        progress = Progress(item)
        result = failure = None
        try:
            result = await self._result_of(progress)
        except Exception as error:  # noqa: BLE001 - one item's failure is that item's
            failure = error
        # Not where the item was cancelled: its task may have to be cancelled as well.
        self.tasks.pop(progress.task_id or "", None)
        return progress.outcome(result, failure)

    async def cancel_tasks(self) -> None:
        """Cancel all tasks that are in flight."""
        left = iter(list(self.tasks))

        async def cancel() -> None:
            for task_id in left:
                await self._cancel(task_id)

        async with anyio.create_task_group() as group:
            for _ in range(min(CANCELS_AT_ONCE, len(self.tasks))):
                group.start_soon(cancel)

    async def _cancel(self, task_id: str) -> None:
        try:
            await self._transport.send(endpoints.cancel_task(task_id), urgent=True)
        except Exception as failure:  # noqa: BLE001 - a token provider's, too: the others are still to be cancelled
            log.warning("task %s: cancelling it failed: %s", task_id, failure)

    # One item

    async def _result_of(self, progress: Progress) -> TaskResult:
        entry = await self._earlier(progress)
        if progress.task_id is None:
            await self._submit(progress)
        elif entry is not None and (result := recall(entry)) is not None:
            return verdict(result)
        assert progress.task_id is not None
        self.tasks[progress.task_id] = None
        if self.is_stopped:
            await self._cancel(progress.task_id)
        waiting = wait_for_result(
            self._transport,
            self._lookups,
            self._settings,
            progress.task_id,
            self._plan.wait,
            is_new=progress.is_new,
        )
        try:
            result = await waiting
        except TaskError as error:
            await self._note(progress, state="finished", outcome=remember(error.result))
            raise
        await self._note(progress, state="finished", outcome=remember(result))
        return result

    async def _earlier(self, progress: Progress) -> Entry | None:
        """Find what an earlier run has done for the item: there may be a task already."""
        item, journal = progress.item, self._plan.journal
        if journal is None:
            return None
        digest = fingerprint(item.parameters)
        entry = await journal.take(self._plan.workflow, item.key, digest)
        step = step_for(item, digest, entry, journal.run, self._plan.resubmit)
        if step == "submit" or entry is None:
            return None
        progress.task_id, progress.is_matched = entry.task_id, entry.matched
        if step == "report":
            progress.task_id = self._matched.get(item.key)
            progress.is_matched = progress.task_id is not None
            progress.is_uncertain = not progress.is_matched
            if progress.is_uncertain:
                raise unheard(endpoints.run_workflow(self._plan.workflow, {}).path)
            await self._note(progress, state="submitted", task_id=progress.task_id, matched=1)
        return entry

    async def _submit(self, progress: Progress) -> None:
        async with self._submitting:
            if self.is_stopped:
                message = "the batch was stopped before this item was submitted: run it in another batch"
                raise CyberunError(message)
            call = await self._prepare(progress.item.parameters)
            await see_through(lambda: self._send(progress, call), within=self._settings.timeouts.cleanup)
        progress.is_new = True

    async def _send(self, progress: Progress, call: Call[Submitted]) -> None:
        """Submit an item between two notes, so that whoever reads them later knows what may have happened."""
        if self._plan.journal is not None:
            place = (self._plan.workflow, progress.item.key)
            await self._plan.journal.write(
                *place, state="submitting", began=time.time(), task_id=None, matched=0, outcome=None
            )
        try:
            progress.task_id = (await self._send_within_rate(call)).task_id
        except Exception as failure:
            progress.is_uncertain = may_exist(failure)
            await self._note(progress, state="uncertain" if progress.is_uncertain else "new")
            raise
        self.tasks[progress.task_id] = None
        await self._note(progress, state="submitted", task_id=progress.task_id)
        if self._plan.on_submitted is not None:
            await report_submitted(self._plan.on_submitted, progress.item.key, progress.task_id)

    async def _send_within_rate(self, call: Call[Submitted]) -> Submitted:
        """Submit an item; where the server wants fewer requests, it gets fewer, and the item goes on waiting."""
        give_up = anyio.current_time() + self._settings.polling.patience
        while True:
            seen_in, refused_before = self.window.round, self._transport.refused_for_rate
            submitted, pause = None, 0.0
            try:
                submitted = await self._transport.send(call)
            except RateLimitError as failure:
                if not is_passing(failure) or anyio.current_time() > give_up:
                    raise
                pause = failure.retry_after or self._settings.retries.maximum
            if self._transport.refused_for_rate > refused_before:
                self.window.narrow(seen_in, len(self.tasks) + 1)
            else:
                self.window.widen()
                self.on_room()
            if submitted is not None:
                return submitted
            await anyio.sleep(pause)

    async def _note(self, progress: Progress, **columns: str | float | None) -> None:
        """Write down what has happened; if that fails the item goes on, and a later run finds it less far."""
        if self._plan.journal is None:
            return
        try:
            await self._plan.journal.write(self._plan.workflow, progress.item.key, **columns)
        except ConfigurationError as failure:
            log.warning("item %s: %s", progress.item.key, failure)

    # What an earlier run left open

    async def _match(self, journal: Journal, began: dict[str, float]) -> dict[str, str]:
        workflow = await self._transport.send(get_workflow(self._plan.workflow))
        tasks: list[Task] = []
        async for task in EveryItem(self._transport, endpoints.list_tasks):
            tasks.append(task)
            if len(tasks) > MOST_LISTED:
                log.info("there are too many tasks to tell which belong to the %d uncertain items", len(began))
                return {}
        return match_unheard(
            began,
            tasks,
            workflow_id=workflow.id,
            known=await journal.task_ids(),
            longest=self._settings.timeouts.call,
        )
