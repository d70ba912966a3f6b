"""Which pages of the task lists are worth reading for many waits: decided a few pages at a time, and never waiting.

The list is known only by status and page number; its order is not documented, other people's tasks are in it, and items
move between pages while it is read. So a plan can only find tasks: one that it does not find has ended, or was missed,
and its wait asks for it alone. Whatever the list does, the outcome is right, and only the number of requests differs.

The lists are read in the order in which a task goes through their statuses, so that one which moves on meanwhile is found
in a later list. For each, `ListPlan` knows how many of the tasks may be in it: those that were last seen in that status
or before. A list is begun only for more than `LIST_THRESHOLD` of them, and left as soon as the rest of it has more pages
than there are tasks to find, unless its pages keep paying: with more than one find each they are cheaper than single polls.

Source: https://docs.cyberun.cloud/api-reference/task/list-tasks
"""

from collections import Counter
from collections.abc import Container, Mapping
from datetime import datetime

import attrs

from cyberun_async._errors import APIError, CyberunError, TransportError, TransportTimeout
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.endpoints import list_tasks
from cyberun_async._protocol.fields import on_wire, wire
from cyberun_async._protocol.pages import MAX_PAGE_SIZE, Page
from cyberun_async._protocol.status import ACTIVE, UNSTATED, TaskStatus
from cyberun_async._protocol.tasks import Extras, Said
from cyberun_async._wait.poll_errors import is_passing

LIST_THRESHOLD = 20
"""Tasks that are polled one by one: five pages are to be read to learn that all lists are empty."""

LIST_COOLDOWN = 60.0
"""Seconds for which a list is left alone that the server failed to give."""

LONG_LIST_COOLDOWN = 600.0
"""Seconds for which one is left alone that it refused."""

MAX_CONCURRENT_PAGES = 8
"""Pages of one list that are asked for at the same time."""


@attrs.frozen(eq=False)
class TaskSummary:
    """As much of a listed task as a wait needs: decoding all of it would cost several times as much."""

    id: str = attrs.field(metadata=on_wire(aliases=("task_id",)))
    status: TaskStatus = wire("task_status", aliases=("status",), default=UNSTATED)
    completed_at: datetime | None = None

    @staticmethod
    def _settle(said: Said, extra: Extras, _: Mapping[str, object]) -> Extras:
        """Take a task that has ended for one, whatever its status is called; its result says how."""
        status = said.get("status")
        if "completed_at" in said and not (isinstance(status, TaskStatus) and status.is_known):
            said["status"] = TaskStatus.COMPLETED
        return extra


@attrs.frozen
class PageRequest:
    """One page of the list of one status."""

    status: TaskStatus
    number: int

    @property
    def call(self) -> Call[Page[TaskSummary]]:
        """What to send for it."""
        whole = list_tasks(self.number, MAX_PAGE_SIZE, status=self.status)
        return Call(whole.method, whole.path, Page[TaskSummary], query=whole.query)


class ListPlan:
    """The way through the lists of unfinished tasks, once.

    Args:
        wanted: The last known status of each task that is to be found, or `None`.
        unlisted: Statuses that the server gives no list of.

    Attributes:
        missing: The tasks that have not been found.

    """

    def __init__(self, wanted: Mapping[str, TaskStatus | None], unlisted: Container[TaskStatus] = ()) -> None:
        """Plan the lists; those of statuses that this version does not know come last."""
        self.missing = dict(wanted)
        self._last_seen = Counter(self.missing.values())
        unknown = {each for each in self._last_seen if each is not None and each not in ACTIVE and not each.is_terminal}
        lists = (*ACTIVE, *sorted(unknown - {UNSTATED}))
        self._ahead = [status for status in reversed(lists) if status not in unlisted]
        self._open: dict[TaskStatus, _List] = {}

    def __repr__(self) -> str:
        """Show how far it is."""
        lists = ", ".join(f"{status}: {each!r}" for status, each in self._open.items())
        return f"<{type(self).__name__}: {len(self.missing)} missing, {len(self._ahead)} lists ahead; {lists or 'none open'}>"

    def next_pages(self, *, at_once: bool = False) -> list[PageRequest]:
        """Say which pages to ask for at the same time; none at the end.

        Args:
            at_once: Whether to begin all lists that are left, where a round trip costs more than a few requests.

        """
        while True:
            pages = [
                page for status, each in self._open.items() for page in each.ask(status, self._worth(status, each))
            ]
            if pages or not self._open_next(at_once=at_once):
                return pages

    def _open_next(self, *, at_once: bool) -> bool:
        self._open = {}
        while self._ahead and (at_once or not self._open):
            status = self._ahead.pop()
            if self._candidates(status) > LIST_THRESHOLD:
                self._open[status] = _List()
        return bool(self._open)

    def _worth(self, status: TaskStatus, each: "_List") -> int:
        """Count the pages of a list to ask for next."""
        candidates = self._candidates(status)
        if each.left < candidates:
            return min(each.left, MAX_CONCURRENT_PAGES)
        if each.found > each.last_asked:
            return min(each.left, MAX_CONCURRENT_PAGES, -(-candidates // MAX_PAGE_SIZE))
        return 0

    def take(self, request: PageRequest, page: Page[TaskSummary], *, is_filtered: bool = True) -> list[TaskSummary]:
        """Take a page, and give the tasks that it shows, each with a status.

        Args:
            request: Which page it is.
            page: The page.
            is_filtered: Whether a task that is listed without a status has the one that was asked for.

        """
        shown = [
            each if each.status != UNSTATED else TaskSummary(each.id, request.status)
            for each in page.items
            if is_filtered or each.status != UNSTATED
        ]
        its = self._open[request.status]
        for each in shown:
            if each.id in self.missing:
                self._last_seen[self.missing.pop(each.id)] -= 1
                its.found += 1
        if page.total is None:
            # A server that does not say how many there are may repeat itself for ever: finds have to prove the next page.
            its.left = int(len(shown) >= MAX_PAGE_SIZE and its.found > 0)
        elif request.number == 1:
            its.left = -(-page.total // len(shown)) - 1 if shown else 0
        return shown

    def leave_list(self, status: TaskStatus) -> None:
        """Read no more of a list: it cannot be had."""
        self._open[status].left = 0

    def _candidates(self, status: TaskStatus) -> int:
        """Count the tasks that may be in a list: they go forward as a rule, and one that went back is asked for alone."""
        if status not in ACTIVE:
            return self._last_seen[status]
        later = ACTIVE[ACTIVE.index(status) + 1 :]
        return len(self.missing) - sum(self._last_seen[each] for each in later)


class _List:
    """How far one list has been read: its pages that were asked for, are left, were asked for last, and what those had."""

    __slots__ = ("asked", "found", "last_asked", "left")

    def __init__(self) -> None:
        self.asked = self.last_asked = self.found = 0
        self.left = 1

    def __repr__(self) -> str:
        return f"{self.asked} pages asked for, {self.left} left"

    def ask(self, status: TaskStatus, count: int) -> list[PageRequest]:
        if count == 0:
            return []
        pages = [PageRequest(status, self.asked + number) for number in range(1, count + 1)]
        self.asked += count
        self.left -= count
        self.last_asked, self.found = count, 0
        return pages


def has_unstated(page: Page[TaskSummary]) -> bool:
    """Whether a page lists tasks without a status."""
    return any(each.status == UNSTATED for each in page.items)


def is_filter_ignored(page: Page[TaskSummary], other: Page[TaskSummary]) -> bool:
    """Whether the lists of two statuses show the same tasks; one that moves on meanwhile may be on both."""
    ids = {each.id for each in page.items}
    return 2 * len(ids & {each.id for each in other.items}) >= len(ids)


def cooldown_of(failure: Exception, *, is_first: bool = True) -> float:
    """Give the seconds for which a list is left alone after a failure, and tasks are polled one by one.

    A server that cannot be reached does not answer single polls either: then no wait polls, and the list is read again,
    once. What answers single polls may still break off each list.
    """
    if (
        is_first
        and isinstance(failure, TransportError)
        and not isinstance(failure, TransportTimeout)
        and failure.retryable
    ):
        return 0.0
    if isinstance(failure, CyberunError) and not is_passing(failure):
        return LONG_LIST_COOLDOWN
    return max(LIST_COOLDOWN, (failure.retry_after or 0.0) if isinstance(failure, APIError) else 0.0)
