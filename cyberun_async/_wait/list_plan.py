"""Which pages of the task list are worth reading for those who wait.

The list is known only by status and page number; its order is not documented, other people's tasks are in it, and items
move between pages while it is read. So a sweep can only find tasks: one that it does not find has ended, or was missed,
and is read on its own. Whatever the list does, the answer is right, and only the number of requests differs.

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
from cyberun_async._protocol.status import UNSTATED, TaskStatus
from cyberun_async._protocol.tasks import Extras, Said
from cyberun_async._wait.poll_errors import is_passing

ACTIVE = (
    TaskStatus.PENDING,
    TaskStatus.WAITING,
    TaskStatus.PROVISIONING,
    TaskStatus.QUEUED,
    TaskStatus.RUNNING,
)
"""The states before the end, in the order in which a task goes through them."""

LIST_THRESHOLD = 20
"""Tasks that are read one by one: a sweep asks for five pages to learn that they are empty."""

LIST_COOLDOWN = 60.0
"""Seconds for which a list is left alone that the server failed to give."""

LONG_REST = 600.0
"""Seconds for which one is left alone that it refused."""

MAX_CONCURRENT_POLLS = 8
"""Pages of one list that are asked for at the same time."""


@attrs.frozen(eq=False)
class TaskSummary:
    """As much of a listed task as a sweep needs: decoding all of it would cost several times as much."""

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
    """One pass over the lists of unfinished tasks, decided a few pages at a time.

    A list is left as soon as the rest of it has more pages than there are tasks to find, unless its pages keep paying:
    with more than one find each they are cheaper than single reads.

    Args:
        wanted: The last known status of each task that is looked for, or `None`.
        unlisted: Statuses that the server gives no list of.

    Attributes:
        missing: The tasks that have not been found.

    """

    def __init__(self, wanted: Mapping[str, TaskStatus | None], unlisted: Container[TaskStatus] = ()) -> None:
        """Plan the lists; those of words that this version does not know come last."""
        self.missing = dict(wanted)
        self._last_seen = Counter(self.missing.values())
        strange = {word for word in self._last_seen if word is not None and word not in ACTIVE and not word.is_terminal}
        lists = (*ACTIVE, *sorted(strange - {UNSTATED}))
        self._ahead = [word for word in reversed(lists) if word not in unlisted]
        self._open: dict[TaskStatus, _List] = {}

    def next_pages(self, *, at_once: bool = False) -> list[PageRequest]:
        """Say which pages to ask for at once; none when the sweep is over.

        Args:
            at_once: Whether to begin all lists that are left, where a round trip costs more than a few requests.

        """
        while True:
            pages = [page for word, each in self._open.items() for page in each.ask(word, self._worth(word, each))]
            if pages or not self._open_next(at_once=at_once):
                return pages

    def _open_next(self, *, at_once: bool) -> bool:
        self._open = {}
        while self._ahead and (at_once or not self._open):
            word = self._ahead.pop()
            if self._candidates(word) > LIST_THRESHOLD:
                self._open[word] = _List()
        return bool(self._open)

    def _worth(self, word: TaskStatus, each: "_List") -> int:
        """Count the pages of a list to ask for next."""
        candidates = self._candidates(word)
        if each.left < candidates:
            return min(each.left, MAX_CONCURRENT_POLLS)
        if each.found > each.last_asked:
            return min(each.left, MAX_CONCURRENT_POLLS, -(-candidates // MAX_PAGE_SIZE))
        return 0

    def took(self, page_of: PageRequest, page: Page[TaskSummary], *, is_filtered: bool = True) -> list[TaskSummary]:
        """Take in a page, and give whom it shows, each with a status.

        Args:
            page_of: Which page it is.
            page: The page.
            is_filtered: Whether a task that is listed without a status has the one that was asked for.

        """
        shown = [
            each if each.status != UNSTATED else TaskSummary(each.id, page_of.status)
            for each in page.items
            if is_filtered or each.status != UNSTATED
        ]
        its = self._open[page_of.status]
        for each in shown:
            if each.id in self.missing:
                self._last_seen[self.missing.pop(each.id)] -= 1
                its.found += 1
        if page.total is None:
            # A server that does not say how many there are may repeat itself for ever: finds have to prove the next page.
            its.left = int(len(shown) >= MAX_PAGE_SIZE and its.found > 0)
        elif page_of.number == 1:
            its.left = -(-page.total // len(shown)) - 1 if shown else 0
        return shown

    def leave_list(self, word: TaskStatus) -> None:
        """Read no more of a list: it cannot be had."""
        self._open[word].left = 0

    def _candidates(self, word: TaskStatus) -> int:
        """Count who may be in a list: tasks go forward as a rule, and whoever went back is read on its own."""
        if word not in ACTIVE:
            return self._last_seen[word]
        later = ACTIVE[ACTIVE.index(word) + 1 :]
        return len(self.missing) - sum(self._last_seen[each] for each in later)


class _List:
    """How far one list has been read: its pages that were asked for, are left, were asked for last, and what those had."""

    __slots__ = ("asked", "found", "last_asked", "left")

    def __init__(self) -> None:
        self.asked = self.last_asked = self.found = 0
        self.left = 1

    def ask(self, word: TaskStatus, count: int) -> list[PageRequest]:
        if count == 0:
            return []
        pages = [PageRequest(word, self.asked + number) for number in range(1, count + 1)]
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


def rest_of_list(failure: Exception, *, is_first: bool = True) -> float:
    """Give the seconds for which a list is left alone after a failure, and tasks are read one by one.

    A server that cannot be reached gives single reads no answer either: then nobody reads, and the list is tried again,
    once. What answers single reads may still break off each list.
    """
    if (
        is_first
        and isinstance(failure, TransportError)
        and not isinstance(failure, TransportTimeout)
        and failure.retryable
    ):
        return 0.0
    if isinstance(failure, CyberunError) and not is_passing(failure):
        return LONG_REST
    return max(LIST_COOLDOWN, (failure.retry_after or 0.0) if isinstance(failure, APIError) else 0.0)
