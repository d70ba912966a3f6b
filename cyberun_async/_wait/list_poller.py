"""Reading the lists of unfinished tasks for many waits at once."""

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
    has_unstated,
    is_filter_ignored,
    rest_of_list,
)

__all__ = ["LIST_THRESHOLD", "ListPoller"]

log = logging.getLogger("cyberun_async.wait")

TIMEOUT = 10.0
"""Seconds for a page, retries included: all waits are held up by it, who could poll alone meanwhile."""

SLOW = 2.0
"""Seconds after which no further list is read once one has failed, since that may take as long."""

HURRY = 0.5
"""Seconds after which all lists that are left are read at once, since all waits are held up by each round trip."""


class ListPoller:
    """The lists of one client; one that cannot be read is left alone for a while."""

    def __init__(self, transport: Transport) -> None:
        """Read none yet."""
        self._transport = transport
        self._rests: dict[TaskStatus, float] = {}
        self._failed: set[TaskStatus] = set()
        self._is_filter_ignored: bool | None = None

    def sweep(self, known: Mapping[str, TaskStatus | None]) -> ListPlan:
        """Give the way through the lists in which these tasks may be, by their last known statuses."""
        now = anyio.current_time()
        return ListPlan(known, {word for word, until in self._rests.items() if until > now})

    async def read(self, sweep: ListPlan, pages: list[PageRequest], saw: Callable[[TaskSummary], object]) -> bool:
        """Read pages for as long as that is worth it, and tell of every task on them.

        Returns:
            Whether single reads may do better, where a task was on none of them.

        """
        is_whole, has_failed, began = True, False, anyio.current_time()
        while pages and not (has_failed and anyio.current_time() - began > SLOW):
            for page_of, answer in (await self._ask(pages)).items():
                if isinstance(answer, Exception):
                    is_whole &= self._leave_alone(page_of, answer)
                    has_failed = True
                    sweep.leave_list(page_of.status)
                    continue
                self._failed.discard(page_of.status)
                is_filtered = not has_unstated(answer) or await self._is_filtered(answer)
                for sighting in sweep.took(page_of, answer, is_filtered=is_filtered):
                    saw(sighting)
            pages = sweep.next_pages(at_once=anyio.current_time() - began > HURRY)
        return is_whole

    async def _is_filtered(self, page: Page[TaskSummary]) -> bool:
        """Find out, once, whether the server heeds the status that is asked for: its documents promise no more."""
        if self._is_filter_ignored is None:
            (other,) = (await self._ask([PageRequest(TaskStatus.COMPLETED, 1)])).values()
            if isinstance(other, Exception):
                return False
            self._is_filter_ignored = is_filter_ignored(page, other)
        return not self._is_filter_ignored

    async def _ask(self, pages: list[PageRequest]) -> dict[PageRequest, Page[TaskSummary] | Exception]:
        answers: dict[PageRequest, Page[TaskSummary] | Exception] = {}

        async def ask(page_of: PageRequest) -> None:
            answers[page_of] = TimeoutError(f"not done within {TIMEOUT:g} s")
            try:
                # Unlike a single poll it is worth a retry: a hundred waits depend on it, and so it must not take long.
                with anyio.move_on_after(TIMEOUT):
                    answers[page_of] = await self._transport.send(page_of.call)
            except Exception as failure:  # noqa: BLE001 - whoever polls alone meets it again, and raises it
                answers[page_of] = failure

        async with FlatTaskGroup() as group:
            for page_of in pages:
                group.start_soon(ask, page_of)
        return answers

    def _leave_alone(self, page_of: PageRequest, failure: Exception) -> bool:
        """Leave a list alone for a while, and say whether single reads may do better."""
        log.debug("tasks cannot be looked up together by the list of %s: %s", page_of.status, failure)
        rest = rest_of_list(failure, is_first=page_of.status not in self._failed)
        self._failed.add(page_of.status)
        if rest:
            self._rests[page_of.status] = anyio.current_time() + rest
        return bool(rest)
