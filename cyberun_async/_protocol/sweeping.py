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
from cyberun_async._protocol.pages import MOST_PER_PAGE, Page
from cyberun_async._protocol.retrying import is_passing
from cyberun_async._protocol.status import UNSTATED, TaskStatus
from cyberun_async._protocol.tasks import Extras, Said

ACTIVE = (
    TaskStatus.PENDING,
    TaskStatus.WAITING,
    TaskStatus.PROVISIONING,
    TaskStatus.QUEUED,
    TaskStatus.RUNNING,
)
"""The states before the end, in the order in which a task goes through them."""

FEW = 20
"""Tasks that are read one by one: a sweep asks for five pages to learn that they are empty."""

REST = 60.0
"""Seconds for which a list is left alone that the server failed to give."""

LONG_REST = 600.0
"""Seconds for which one is left alone that it refused."""

AT_ONCE = 8
"""Pages of one list that are asked for at the same time."""


@attrs.frozen(eq=False)
class Sighting:
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
class PageOf:
    """One page of the list of one status."""

    status: TaskStatus
    number: int

    @property
    def call(self) -> Call[Page[Sighting]]:
        """What to send for it."""
        whole = list_tasks(self.number, MOST_PER_PAGE, status=self.status)
        return Call(whole.method, whole.path, Page[Sighting], query=whole.query)


class Sweep:
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
        self._list: TaskStatus | None = None
        self._asked = self._left = self._last_asked = self._found = 0

    def next_pages(self) -> list[PageOf]:
        """Say which pages to ask for at once; none when the sweep is over."""
        while True:
            if self._list is None:
                if not self._ahead:
                    return []
                if self._candidates(self._ahead[-1]) <= FEW:
                    self._ahead.pop()
                    continue
                self._list, self._asked, self._left = self._ahead.pop(), 0, 1
            if pages := self._worth(self._candidates(self._list)):
                return self._ask(self._list, pages)
            self._list = None

    def _worth(self, candidates: int) -> int:
        """Count the pages of this list to ask for next."""
        if self._left < candidates:
            return min(self._left, AT_ONCE)
        if self._found > self._last_asked:
            return min(self._left, AT_ONCE, -(-candidates // MOST_PER_PAGE))
        return 0

    def took(self, page_of: PageOf, page: Page[Sighting], *, is_filtered: bool = True) -> list[Sighting]:
        """Take in a page, and give whom it shows, each with a status.

        Args:
            page_of: Which page it is.
            page: The page.
            is_filtered: Whether a task that is listed without a status has the one that was asked for.

        """
        shown = [
            each if each.status != UNSTATED else Sighting(each.id, page_of.status)
            for each in page.items
            if is_filtered or each.status != UNSTATED
        ]
        for each in shown:
            if each.id in self.missing:
                self._last_seen[self.missing.pop(each.id)] -= 1
                self._found += 1
        if page.total is None:
            # A server that does not say how many there are may repeat itself for ever: finds have to prove the next page.
            self._left = int(len(shown) >= MOST_PER_PAGE and self._found > 0)
        elif page_of.number == 1:
            self._left = -(-page.total // len(shown)) - 1 if shown else 0
        return shown

    def leave_list(self) -> None:
        """Read no more of the present list: it cannot be had."""
        self._left = 0

    def _ask(self, word: TaskStatus, count: int) -> list[PageOf]:
        pages = [PageOf(word, self._asked + number) for number in range(1, count + 1)]
        self._asked += count
        self._left -= count
        self._last_asked, self._found = count, 0
        return pages

    def _candidates(self, word: TaskStatus) -> int:
        """Count who may be in a list: tasks go forward as a rule, and whoever went back is read on its own."""
        if word not in ACTIVE:
            return self._last_seen[word]
        later = ACTIVE[ACTIVE.index(word) + 1 :]
        return len(self.missing) - sum(self._last_seen[each] for each in later)


def has_unstated(page: Page[Sighting]) -> bool:
    """Whether a page lists tasks without a status."""
    return any(each.status == UNSTATED for each in page.items)


def is_filter_ignored(page: Page[Sighting], other: Page[Sighting]) -> bool:
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
    return max(REST, (failure.retry_after or 0.0) if isinstance(failure, APIError) else 0.0)
