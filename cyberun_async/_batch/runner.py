"""Taking one item of a batch from its parameters to its outcome."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import anyio
import attrs

from cyberun_async._batch.decisions import Item, Outcome, Parameters, Window, unconfirmed_error
from cyberun_async._batch.journal_rows import (
    Step,
    check_key,
    dump_outcome,
    next_step,
    other_parameters,
    used_twice,
)
from cyberun_async._batch.options import Plan
from cyberun_async._batch.progress import Progress, Tally
from cyberun_async._batch.unconfirmed import Found, find_unconfirmed
from cyberun_async._concurrency import FlatTaskGroup, Flight, run_shielded, shield_with_grace
from cyberun_async._errors import CyberunError, RateLimitError, TaskError, TaskFailed
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.json_text import encode_json
from cyberun_async._protocol.tasks import Submitted, TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.poll_errors import is_passing
from cyberun_async._wait.result import ensure_completed, report_submitted, wait_for_result
from cyberun_async._wait.shared_poller import SharedPoller

log = logging.getLogger("cyberun_async.batch")

Prepare = Callable[[Parameters], Awaitable[Call[Submitted]]]
"""Gives the call that submits an item, once its parameters are known to fit."""

MAX_CONCURRENT_CANCELS = 16
"""Cancellations in the air at once when a batch is given up."""

FIRST_IN_FLIGHT = 8
"""Items in flight before the first success, where failures are to stop the batch: a broken workflow bills a handful."""


class Runner:
    """Takes items through, any number at once; each has an outcome whatever happens to it.

    Attributes:
        tasks: The tasks that are in flight.
        window: How many items there may be.
        tally: What became of the items, and what that has cost.
        is_stopped: Whether nothing more is to be submitted.
        is_given_up: Whether the tasks in flight are to be cancelled as well.
        on_room: Called when there may be room for another item.

    """

    def __init__(
        self, transport: Transport, shared_poller: SharedPoller, settings: Settings, plan: Plan, prepare: Prepare
    ) -> None:
        """Nothing is sent yet."""
        self.tasks: dict[str, None] = {}
        first = None if plan.stop_after_failures is None else max(plan.stop_after_failures, FIRST_IN_FLIGHT)
        self.window: Window = Window(plan.max_in_flight, first)
        self.tally: Tally = Tally(plan.max_tasks)
        self.is_stopped = False
        self.is_given_up = False
        self.on_room: Callable[[], None] = lambda: None
        self._transport = transport
        self._shared_poller = shared_poller
        self._settings = settings
        self._plan = plan
        self._prepare = prepare
        self._found = Found()
        self._is_journal_open = False
        self._run = 0
        # Half of the connections, so that looks and results get through while a thousand items are submitted.
        self._submitting = anyio.Semaphore(max(1, settings.limits.max_connections // 2), fast_acquire=True)

    async def open(self) -> None:
        """Open the journal, and look for the tasks of submissions that were not answered.

        Raises:
            ConfigurationError: The journal cannot be opened or written, or is in use.

        """
        journal = self._plan.journal
        if journal is None:
            return
        await journal._database.acquire(for_batch=True)
        self._is_journal_open = True
        # Of this batch alone: a journal that is kept open serves one after the other.
        self._run = await journal._next_run()
        if "uncertain" not in self._plan.resubmit:
            longest = self._settings.timeouts.call
            self._found = await find_unconfirmed(self._transport, journal, self._plan.workflow, longest=longest)

    async def aclose(self) -> None:
        """Let go of the tasks as asked, and of the journal."""
        if self._plan.on_exit == "cancel" and self.tasks:
            batches = 1 + len(self.tasks) // 100
            await run_shielded(self.cancel_tasks, within=self._settings.timeouts.cleanup * batches)
        if self._plan.journal is not None and self._is_journal_open:
            self._is_journal_open = False
            await self._plan.journal._leave(for_batch=True)

    async def outcome_of(self, item: Item) -> Outcome:
        """Take one item through; it counts as pending from when that was decided."""
        progress = Progress(item, self._plan.workflow, self._plan.journal)
        result = failure = None
        try:
            result = await self._result_of(progress)
        except Exception as error:  # noqa: BLE001 - one item's failure is that item's
            failure = error
        finally:
            self._settle(progress)
        # Not where the item was cancelled: its task may have to be cancelled as well.
        self.tasks.pop(progress.task_id or "", None)
        self.tally.end(progress, failure)
        if failure is None and not progress.is_from_journal:
            self.window.open_up()
        return progress.outcome(result, failure)

    async def cancel_tasks(self) -> None:
        """Cancel all tasks that are in flight."""
        left = iter(list(self.tasks))

        async def cancel() -> None:
            for task_id in left:
                await self._cancel(task_id)

        async with FlatTaskGroup() as group:
            for _ in range(min(MAX_CONCURRENT_CANCELS, len(self.tasks))):
                group.start_soon(cancel)

    async def _cancel(self, task_id: str) -> None:
        try:
            await self._transport.send(endpoints.cancel_task(task_id), urgent=True)
        except Exception as failure:  # noqa: BLE001 - a token provider's, too: the others are still to be cancelled
            log.warning("task %s: cancelling it failed: %s", task_id, failure)

    def _settle(self, progress: Progress) -> None:
        self.tally.settle(progress)
        self.on_room()

    # One item

    async def _result_of(self, progress: Progress) -> TaskResult:
        if (result := await self._begin(progress)) is not None:
            return ensure_completed(result)
        while True:
            self._settle(progress)
            try:
                return await self._wait(progress)
            except TaskFailed:
                if not await self._submit_again(progress):
                    raise

    async def _begin(self, progress: Progress) -> TaskResult | None:
        """Find the item's task or submit one; or give what an earlier run has come to."""
        journal, item = self._plan.journal, progress.item
        if journal is None:
            await self._submit_first(progress)
            return None
        key = check_key(item.key)
        digest = await journal._files.digest(item.parameters)
        async with self._claimed(progress):
            row = await journal._find(self._plan.workflow, key)
            if row is not None and row.run == self._run:
                raise used_twice(key)
            if (
                row is not None
                and row.digest != digest
                and not await journal._files.is_same(row.digest, item.parameters)
            ):
                raise other_parameters(key)
            progress.record.row = attrs.evolve(row or progress.record.row, digest=digest, run=self._run)
            step = next_step(row, resubmit=self._plan.resubmit, attempts=self._plan.attempts)
            if step != "submit":
                return await self._resume(progress, step)
            await self._submit_first(progress)
            return None

    def _claimed(self, progress: Progress) -> AbstractAsyncContextManager[None]:
        journal = self._plan.journal
        return nullcontext() if journal is None else journal._claim(self._plan.workflow, progress.item.key)

    async def _resume(self, progress: Progress, step: Step) -> TaskResult | None:
        """Go on from what an earlier run has left; nothing is submitted here."""
        record, key = progress.record, progress.item.key
        if step == "give back":
            assert record.row.result is not None
            progress.is_from_journal = True
            progress.task_id = record.row.task_id or record.row.result.id
            await record.note(task_id=progress.task_id)
            return record.row.result
        if step == "report" and (task_id := self._found.matched.get(key)) is not None:
            await record.note(state="submitted", task_id=task_id, matched=True)
        elif step == "report":
            progress.is_uncertain = True
            progress.candidates = self._found.candidates.get(key, ())
            await record.note()
            raise unconfirmed_error(endpoints.run_workflow(self._plan.workflow, {}).path)
        else:
            await record.note()
        progress.task_id = record.row.task_id
        return None

    async def _wait(self, progress: Progress) -> TaskResult:
        task_id = progress.task_id
        assert task_id is not None
        self.tasks[task_id] = None
        if self.is_given_up:
            await self._cancel(task_id)
        waiting = wait_for_result(
            self._transport, self._shared_poller, self._settings, task_id, self._plan.wait, is_new=progress.is_new
        )
        try:
            result = await waiting
        except TaskError as error:
            await progress.record.note(state="finished", task_id=task_id, outcome=dump_outcome(error.result))
            raise
        await progress.record.note(state="finished", task_id=task_id, outcome=dump_outcome(result))
        return result

    # Submitting

    async def _submit_first(self, progress: Progress) -> None:
        if not await self._submit(progress):
            progress.is_stopped = True
            message = "the batch was stopped before this item was submitted: run it in another batch"
            raise CyberunError(message)

    async def _submit_again(self, progress: Progress) -> bool:
        """Submit an item whose task has failed, unless it has had its attempts, and say whether that was done."""
        if progress.record.row.attempts >= self._plan.attempts or not self.tally.may_begin:
            return False
        progress.is_pending = True
        self.tally.begin()
        self.tasks.pop(progress.task_id or "", None)
        try:
            async with self._claimed(progress):
                return await self._submit(progress)
        finally:
            self._settle(progress)

    async def _submit(self, progress: Progress) -> bool:
        """Submit an item, unless the batch is stopped by then, and say whether that was done."""
        async with self._submitting:
            if self.is_stopped:
                return False
            call = await self._prepare(progress.item.parameters)
            # What cannot be sent is found out before it is written down as being sent.
            encode_json(call.body or {})
            if self.is_stopped:
                return False
            flight = Flight()
            await shield_with_grace(
                lambda: self._send(progress, call, flight), flight, within=self._settings.timeouts.cleanup
            )
        return True

    async def _send(self, progress: Progress, call: Call[Submitted], flight: Flight) -> None:
        progress.is_new = True

        async def send() -> str:
            progress.task_id = (await self._send_within_rate(call, flight)).task_id
            # Known from here on, so that it can be cancelled although the caller leaves while it is written down.
            self.tasks[progress.task_id] = None
            return progress.task_id

        attempts = progress.record.row.attempts
        try:
            task_id = await progress.record.submit(send, flight)
        except Exception:
            row = progress.record.row
            self.tally.submitted += row.attempts - attempts
            progress.task_id, progress.is_uncertain = row.task_id, next_step(row) == "report"
            raise
        self.tally.submitted += 1
        if self._plan.on_submitted is not None:
            await report_submitted(self._plan.on_submitted, progress.item.key, task_id)

    async def _send_within_rate(self, call: Call[Submitted], flight: Flight) -> Submitted:
        """Submit an item; where the server wants fewer requests, it gets fewer, and the item goes on waiting."""
        give_up = anyio.current_time() + self._settings.polling.unavailable_timeout
        while True:
            seen_in, refused_before = self.window.round, self._transport.refused_for_rate
            submitted, pause = None, 0.0
            try:
                submitted = await self._transport.send(call, flight=flight)
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
            flight.reset()
            await anyio.sleep(pause)
