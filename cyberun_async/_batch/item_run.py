"""One item of a batch from its parameters to its outcome: found in the journal or submitted, waited for, submitted again.

`decisions.py` says what is done with an item. An item holds its key in the journal (`_claimed`) while that is decided
and done, so that a batch and `submit_once()` cannot both submit it. It is written down before it is sent, and again once
its task is known; in between it is uncertain, whatever happens to the process.
"""

from contextlib import AbstractAsyncContextManager, nullcontext

import attrs

from cyberun_async._batch.admission import Admission, End, Ending, Reservation
from cyberun_async._batch.decisions import Step, next_step, unconfirmed_error, used_twice
from cyberun_async._batch.item_record import ItemRecord
from cyberun_async._batch.journal_rows import Row, check_key, dump_outcome
from cyberun_async._batch.journal_store import JournalStore
from cyberun_async._batch.options import BatchOptions
from cyberun_async._batch.outcome import Item, Outcome
from cyberun_async._batch.submitter import Submitter
from cyberun_async._batch.tasks_in_flight import TasksInFlight
from cyberun_async._batch.unconfirmed import Found
from cyberun_async._concurrency import Flight, shield_with_grace
from cyberun_async._errors import CyberunError, TaskError, TaskFailed
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.tasks import Submitted, Task, TaskResult
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.result import ensure_completed, wait_for_result
from cyberun_async._wait.shared_poller import SharedPoller
from cyberun_async._wait.submission import report_submitted


@attrs.frozen(kw_only=True, eq=False)
class BatchContext:
    """What the items of one batch share.

    Attributes:
        transport: Sends the requests of the waits.
        shared_poller: Polls for all waits of the client.
        settings: The client's.
        options: How the batch is to run.
        journal: Its journal, open.
        admission: Whether anything may be submitted.
        tasks: The tasks in flight.
        submitter: Submits.
        run: The number of this run of the journal.
        found: What the list of tasks says of uncertain items of the journal.

    """

    transport: Transport
    shared_poller: SharedPoller
    settings: Settings
    options: BatchOptions
    journal: JournalStore | None
    admission: Admission
    tasks: TasksInFlight
    submitter: Submitter
    run: int = 0
    found: Found = attrs.field(factory=Found)


class ItemRun:
    """Takes one item to its outcome, whatever happens to it.

    Args:
        batch: What it shares with the other items.
        item: The item.
        reservation: The task that it may have to submit.

    """

    __slots__ = (
        "_batch",
        "_candidates",
        "_is_from_journal",
        "_is_new",
        "_is_stopped",
        "_is_uncertain",
        "_item",
        "_record",
        "_reservation",
        "_task_id",
    )

    def __init__(self, batch: BatchContext, item: Item, reservation: Reservation) -> None:
        self._batch = batch
        self._item = item
        self._reservation = reservation
        row = Row(workflow=batch.options.workflow, key=item.key, digest="")
        self._record = ItemRecord(row, batch.journal)
        self._task_id: str | None = None
        self._candidates: tuple[Task, ...] = ()
        self._is_new = self._is_uncertain = self._is_stopped = self._is_from_journal = False

    def __repr__(self) -> str:
        """Show which item it is, and its task."""
        return f"<{type(self).__name__} of item {self._item.key!r}, task {self._task_id}>"

    async def run(self) -> tuple[Outcome, Ending]:
        """Take the item to its outcome; its reservation is released as soon as it is known whether it is submitted."""
        result = failure = None
        try:
            result = await self._result()
        except Exception as error:  # noqa: BLE001 - one item's failure is that item's
            failure = error
        finally:
            self._reservation.release()
        # Not where the item was cancelled: its task may have to be cancelled as well.
        self._batch.tasks.discard(self._task_id)
        return self._outcome(result, failure), self._ending(failure)

    def _outcome(self, result: TaskResult | None, error: Exception | None) -> Outcome:
        return Outcome(
            index=self._item.index,
            key=self._item.key,
            parameters=self._item.parameters,
            task_id=self._task_id,
            result=result,
            error=error,
            is_uncertain=self._is_uncertain,
            is_matched=self._record.row.matched,
            is_from_journal=self._is_from_journal,
            is_stopped=self._is_stopped,
            candidates=self._candidates,
        )

    def _ending(self, failure: Exception | None) -> Ending:
        is_old = self._is_from_journal or (self._is_uncertain and not self._is_new)
        return Ending(
            end=self._end(failure),
            is_from_journal=self._is_from_journal,
            is_failure=failure is not None and not is_old and not self._is_stopped,
        )

    def _end(self, failure: Exception | None) -> End:
        if failure is None:
            return "succeeded"
        if self._is_stopped:
            return "stopped"
        return "uncertain" if self._is_uncertain else "failed"

    async def _result(self) -> TaskResult:
        if (result := await self._find_or_submit()) is not None:
            return ensure_completed(result)
        while True:
            self._reservation.release()
            try:
                return await self._wait()
            except TaskFailed:
                if not await self._submit_again():
                    raise

    async def _find_or_submit(self) -> TaskResult | None:
        """Find the item's task or submit one; or give what an earlier run has come to."""
        options, journal = self._batch.options, self._batch.journal
        if journal is None:
            await self._submit_first()
            return None
        key = check_key(self._item.key)
        digest = await journal.files.digest(self._item.parameters)
        async with self._claimed():
            row = await journal.find(options.workflow, key)
            if row is not None and row.run == self._batch.run:
                raise used_twice(key)
            await journal.check_parameters(row, digest, self._item.parameters)
            self._record.start_from(attrs.evolve(row or self._record.row, digest=digest, run=self._batch.run))
            step = next_step(row, resubmit=options.resubmit, attempts=options.attempts)
            if step != "submit":
                return await self._resume(step)
            await self._submit_first()
            return None

    def _claimed(self) -> AbstractAsyncContextManager[None]:
        journal, workflow = self._batch.journal, self._batch.options.workflow
        return nullcontext() if journal is None else journal.claim(workflow, self._item.key)

    async def _resume(self, step: Step) -> TaskResult | None:
        """Resume from what an earlier run has left; nothing is submitted here."""
        record, key, found = self._record, self._item.key, self._batch.found
        if step == "give back":
            assert record.row.result is not None
            self._is_from_journal = True
            self._task_id = record.row.task_id or record.row.result.id
            await record.note(task_id=self._task_id)
            return record.row.result
        if step == "report" and (task_id := found.matched.get(key)) is not None:
            await record.note(state="submitted", task_id=task_id, matched=True)
        elif step == "report":
            self._is_uncertain = True
            self._candidates = found.candidates.get(key, ())
            await record.note()
            raise unconfirmed_error(endpoints.run_workflow(self._batch.options.workflow, {}).path)
        else:
            await record.note()
        self._task_id = record.row.task_id
        return None

    async def _wait(self) -> TaskResult:
        batch, task_id = self._batch, self._task_id
        assert task_id is not None
        batch.tasks.add(task_id)
        if batch.admission.is_cancelling:
            await batch.tasks.cancel(task_id)
        try:
            result = await wait_for_result(
                batch.transport, batch.shared_poller, batch.settings, task_id, batch.options.wait, is_new=self._is_new
            )
        except TaskError as error:
            await self._record.note(state="finished", task_id=task_id, outcome=dump_outcome(error.result))
            raise
        await self._record.note(state="finished", task_id=task_id, outcome=dump_outcome(result))
        return result

    # Submitting

    async def _submit_first(self) -> None:
        if not await self._submit():
            self._is_stopped = True
            message = "the batch was stopped before this item was submitted: run it in another batch"
            raise CyberunError(message)

    async def _submit_again(self) -> bool:
        """Submit an item whose task has failed, unless it has had its attempts, and say whether that was done."""
        if self._record.row.attempts >= self._batch.options.attempts:
            return False
        reservation = self._batch.admission.reserve()
        if reservation is None:
            return False
        self._batch.tasks.discard(self._task_id)
        try:
            async with self._claimed():
                return await self._submit()
        finally:
            reservation.release()

    async def _submit(self) -> bool:
        """Submit an item, unless the batch is stopped by then, and say whether that was done."""
        admission, submitter = self._batch.admission, self._batch.submitter
        async with submitter.slots:
            if not admission.may_submit:
                return False
            call = await submitter.prepare(self._item.parameters)
            if not admission.may_submit:
                return False
            flight = Flight()
            await shield_with_grace(
                lambda: self._send(call, flight), flight, within=self._batch.settings.timeouts.cleanup
            )
        return True

    async def _send(self, call: Call[Submitted], flight: Flight) -> None:
        self._is_new = True

        async def send() -> str:
            self._task_id = (await self._batch.submitter.send(call, flight)).task_id
            # Known from here on, so that it can be cancelled although the caller leaves while it is written down.
            self._batch.tasks.add(self._task_id)
            return self._task_id

        attempts = self._record.row.attempts
        try:
            task_id = await self._record.submit(send, flight)
        except Exception:
            row = self._record.row
            self._batch.admission.count_submitted(row.attempts - attempts)
            self._task_id, self._is_uncertain = row.task_id, next_step(row) == "report"
            raise
        self._batch.admission.count_submitted(1)
        if self._batch.options.on_submitted is not None:
            await report_submitted(self._batch.options.on_submitted, self._item.key, task_id)
