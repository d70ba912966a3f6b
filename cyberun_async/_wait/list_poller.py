"""Reading the lists of unfinished tasks for many waits at once, and leaving alone for a while what cannot be read.

`ListPlan` decides which pages are worth it, a few at a time; this module asks for those, concurrently, and reports each
task that they show. All waits are held up meanwhile, who could poll alone, so it takes seconds at most:

- a page has `TIMEOUT` with its retries; once one has failed, no other list is begun after `SLOW`;
- after `HURRY` all lists that are left are read at once;
- a list that failed has a cooldown, in which its tasks are polled one by one: `cooldown_of` says for how long.

The server is believed as little as possible. A list may ignore the status that it is asked for; whether it does shows in
the statuses of its tasks, and where it gives none, in the list of another status, which is asked for once (`_is_filtered`).
"""

import logging
from collections.abc import Callable, Mapping

import anyio

from cyberun_async._concurrency import FlatTaskGroup
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.list_plan import (
    LIST_THRESHOLD,
    ListPlan,
    PageRequest,
    TaskSummary,
    cooldown_of,
    has_unstated,
    is_filter_ignored,
)

__all__ = ["LIST_THRESHOLD", "ListPoller"]

log = logging.getLogger("cyberun_async.wait")

TIMEOUT = 10.0
"""Seconds for a page, retries included: all waits are held up by it, which could poll alone meanwhile."""

SLOW = 2.0
"""Seconds after which no further list is read once one has failed, since that may take as long."""

HURRY = 0.5
"""Seconds after which all lists that are left are read at once, since all waits are held up by each round trip."""


class ListPoller:
    """The lists of one client.

    Args:
        transport: Sends the requests.

    """

    def __init__(self, transport: Transport) -> None:
        """Know nothing of the lists."""
        self._transport = transport
        self._cooldowns: dict[TaskStatus, float] = {}
        self._failed: set[TaskStatus] = set()
        self._is_filter_ignored: bool | None = None

    def __repr__(self) -> str:
        """Show which lists are left alone."""
        alone = ", ".join(f"{status} until {until:g}" for status, until in self._cooldowns.items())
        return f"<{type(self).__name__}: {alone or 'no list'} is left alone>"

    def plan(self, known: Mapping[str, TaskStatus | None]) -> ListPlan:
        """Plan the way through the lists in which these tasks may be, by their last known statuses."""
        now = anyio.current_time()
        return ListPlan(known, {status for status, until in self._cooldowns.items() if until > now})

    async def read(self, plan: ListPlan, pages: list[PageRequest], report: Callable[[TaskSummary], object]) -> bool:
        """Read pages for as long as that is worth it, and report every task on them.

        Args:
            plan: Says which pages come next.
            pages: The first pages.
            report: Called with each task.

        Returns:
            Whether requests for single tasks may do better, where a task was on none of them.

        """
        may_poll_singly, has_failed, began = True, False, anyio.current_time()
        while pages and not (has_failed and anyio.current_time() - began > SLOW):
            for request, response in (await self._fetch(pages)).items():
                if isinstance(response, Exception):
                    may_poll_singly &= self._begin_cooldown(request, response)
                    has_failed = True
                    plan.leave_list(request.status)
                    continue
                self._failed.discard(request.status)
                is_filtered = not has_unstated(response) or await self._is_filtered(response)
                for task in plan.take(request, response, is_filtered=is_filtered):
                    report(task)
            pages = plan.next_pages(at_once=anyio.current_time() - began > HURRY)
        return may_poll_singly

    async def _is_filtered(self, page: Page[TaskSummary]) -> bool:
        """Find out, once, whether the server filters by the requested status, which its responses do not say."""
        if self._is_filter_ignored is None:
            (other,) = (await self._fetch([PageRequest(TaskStatus.COMPLETED, 1)])).values()
            if isinstance(other, Exception):
                return False
            self._is_filter_ignored = is_filter_ignored(page, other)
        return not self._is_filter_ignored

    async def _fetch(self, pages: list[PageRequest]) -> dict[PageRequest, Page[TaskSummary] | Exception]:
        """Ask for pages at the same time, and give what came of each."""
        responses: dict[PageRequest, Page[TaskSummary] | Exception] = {}

        async def fetch(request: PageRequest) -> None:
            responses[request] = TimeoutError(f"not done within {TIMEOUT:g} s")
            try:
                # Unlike a single poll it is worth a retry: a hundred waits depend on it, and so it must not take long.
                with anyio.move_on_after(TIMEOUT):
                    responses[request] = await self._transport.send(request.call)
            except Exception as failure:  # noqa: BLE001 - a wait that polls alone meets it again, and raises it
                responses[request] = failure

        async with FlatTaskGroup() as group:
            for request in pages:
                group.start_soon(fetch, request)
        return responses

    def _begin_cooldown(self, request: PageRequest, failure: Exception) -> bool:
        """Leave a list alone for a while, and say whether requests for single tasks may do better."""
        log.debug("tasks cannot be polled together by the list of %s: %s", request.status, failure)
        cooldown = cooldown_of(failure, is_first=request.status not in self._failed)
        self._failed.add(request.status)
        if cooldown:
            self._cooldowns[request.status] = anyio.current_time() + cooldown
        return bool(cooldown)
