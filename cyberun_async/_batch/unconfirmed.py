"""Finding the tasks of submissions that got no usable response, among all tasks of the team."""

import logging
from collections.abc import Mapping
from functools import partial

import attrs

from cyberun_async._batch.journal_store import JournalStore
from cyberun_async._batch.matching import candidates_for, match_unconfirmed
from cyberun_async._errors import CyberunError
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.tasks import Task
from cyberun_async._protocol.workflows import get_workflow
from cyberun_async._transport.paginator import AsyncPaginator
from cyberun_async._transport.transport import Transport

log = logging.getLogger("cyberun_async.batch")

MAX_LISTED = 5_000
"""Tasks that are listed to find those whose submission got no response."""


@attrs.frozen
class Found:
    """What the list of tasks says of the items that an earlier run left uncertain, by key.

    Attributes:
        matched: The task's id, where there is no doubt.
        candidates: The tasks that it may be.

    """

    matched: Mapping[str, str] = attrs.field(factory=dict)
    candidates: Mapping[str, tuple[Task, ...]] = attrs.field(factory=dict)


async def find_unconfirmed(transport: Transport, journal: JournalStore, workflow: str, *, longest: float) -> Found:
    """Search for the tasks of a journal's uncertain items; if the list cannot be read, all stay uncertain.

    Args:
        transport: Asks for the list.
        journal: Has the items.
        workflow: The workflow, as it was named.
        longest: Seconds that a submission may have been in flight.

    """
    began, earlier = await journal.unconfirmed(workflow)
    if not began:
        return Found()
    try:
        definition = await transport.send(get_workflow(workflow))
        tasks: list[Task] = []
        async for task in AsyncPaginator(transport, endpoints.list_tasks):
            tasks.append(task)
            if len(tasks) > MAX_LISTED:
                log.info("there are too many tasks to tell which belong to the %d uncertain items", len(began))
                return Found()
    except CyberunError as failure:
        log.warning("the tasks of %d items could not be searched for: %s", len(began), failure)
        return Found()
    known = await journal.task_ids()
    find = partial(candidates_for, tasks=tasks, workflow_id=definition.id, known=known, longest=longest)
    candidates, others = find(began), find(dict(enumerate(earlier)))
    return Found(match_unconfirmed(candidates, others.values()), candidates)
