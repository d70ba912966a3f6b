"""Submitting once by key: any number of callers, in one process or several, and after a crash, get one task."""

from collections.abc import Awaitable, Callable

import attrs

from cyberun_async._batch.decisions import next_step, unconfirmed_error
from cyberun_async._batch.item_record import ItemRecord
from cyberun_async._batch.journal import Journal, store_of
from cyberun_async._batch.journal_entry import entry_of
from cyberun_async._batch.journal_rows import Row, check_key
from cyberun_async._batch.options import check_journal
from cyberun_async._batch.outcome import Parameters
from cyberun_async._concurrency import Flight, shield_with_grace
from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.json_text import encode_json
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport

LOCK_TIMEOUT = 10.0
"""Seconds that a submission waits for another process to close the journal."""


async def submit_once(
    transport: Transport,
    settings: Settings,
    journal: Journal,
    *,
    workflow: str,
    key: str,
    parameters: Parameters,
    prepare: Callable[[], Awaitable[Call[Submitted]]],
) -> str:
    """Give the id of the task that a key stands for; see `AsyncClient.submit_once`."""
    if not isinstance(key, str):
        raise InvalidParameters([f"the key must be a string, not {type(key).__name__}"])
    check_journal(journal)
    path = endpoints.run_workflow(workflow, parameters).path
    store = store_of(journal)
    digest = await store.files.digest(parameters)
    async with store.open_for_submission(LOCK_TIMEOUT), store.claim(workflow, check_key(key)):
        row = await store.find(workflow, key)
        await store.check_parameters(row, digest, parameters)
        step = next_step(row)
        if step == "report":
            raise unconfirmed_error(path)
        row = attrs.evolve(row or Row(workflow=workflow, key=key, digest=digest), digest=digest)
        record = ItemRecord(row, store)
        if step == "submit":
            call = await prepare()
            encode_json(call.body or {})

            flight = Flight()

            async def send() -> str:
                return (await transport.send(call, flight=flight)).task_id

            await shield_with_grace(lambda: record.submit(send, flight), flight, within=settings.timeouts.cleanup)
        task_id = entry_of(record.row).task_id
        assert task_id is not None
        return task_id
