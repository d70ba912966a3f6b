"""Lists that come in pages, and how to read one that changes meanwhile: decided page by page, and never waiting.

The service knows a page only by its number, and tasks come and go while a list is read. `PageCursor` remembers the ids
that it has yielded, the furthest page, and the total that the server gives, and decides from each page which comes next:

| what changed since the last page | what it shows in | next |
| --- | --- | --- |
| nothing, or items were added in front | items that were yielded before, at most as many as the total has grown by | the next page |
| items were taken away | a total that has shrunk: what moved back is on a page that was read | back by so many pages |
| the server repeats itself, whatever is asked for | more items again than the total has grown by, on the furthest page | the end |
| the list changes faster than it is read | `MAX_STALE` pages without a new item | the end |

Every item is yielded once, and every reading ends. Adding and taking away the same number between two requests cannot be
seen: that is as far as page numbers lead. The order of the list does not matter.

Source: https://docs.cyberun.cloud/api-reference
"""

from collections.abc import Mapping
from math import ceil
from typing import Generic, Protocol, TypeVar

import attrs


class HasId(Protocol):
    """Anything that has an id."""

    @property
    def id(self) -> str:
        """Unique in its list."""


T = TypeVar("T")
T_id = TypeVar("T_id", bound=HasId)

MAX_PAGE_SIZE = 100
"""The most that the server gives on one page."""

MAX_STALE = 10
"""Pages without a new item, of a list that changes faster than it is read, after which it counts as read to its end."""


@attrs.frozen(kw_only=True, eq=False)
class PageMeta:
    """What a page says of its list."""

    per_page: int | None = None
    total_count: int | None = None


@attrs.frozen
class Page(Generic[T]):
    """One page of a list, as `await` gives it.

    Source: https://docs.cyberun.cloud/api-reference

    Attributes:
        items: What is on it.
        size: How many items a full page has, or `None` where the server does not say.
        total: How many there are on all pages, or `None` where the server does not say.
        unreadable: How many more items it has, which could not be read.
        number: Which page it is, from 1.

    """

    items: tuple[T, ...] = ()
    size: int | None = None
    total: int | None = None
    unreadable: int = 0
    number: int = 1


def page_query(number: int, per_page: int, **filters: str | None) -> Mapping[str, str | int]:
    """Give the query that asks for a page, by its number from 1."""
    chosen = {name: value for name, value in filters.items() if value is not None}
    return {"current_page": number, "per_page": per_page, **chosen}


class PageCursor(Generic[T_id]):
    """The way through a list that may change meanwhile, and whose pages are known only by number.

    Args:
        first: The page to begin at, from 1.

    Attributes:
        number: The page to ask for next; `None` at the end.

    """

    def __init__(self, first: int = 1) -> None:
        self.number: int | None = first
        self._first = first
        self._furthest = 0
        self._seen: set[str] = set()
        self._total: int | None = None
        self._grown_by = 0
        self._repeated = 0
        self._stale = 0

    def __repr__(self) -> str:
        """Show how far it is."""
        return f"<{type(self).__name__}: page {self.number}, {len(self._seen)} items seen>"

    def take(self, number: int, page: Page[T_id]) -> list[T_id]:
        """Take in a page, and give what is new on it."""
        fresh = {item.id: item for item in page.items if item.id not in self._seen}
        self._seen.update(fresh)
        size = max(page.size or MAX_PAGE_SIZE, 1)
        grown_by = 0 if page.total is None or self._total is None else page.total - self._total
        self._total = page.total
        if not fresh and grown_by >= number * size:
            # Were there so many in front, this page would be full of them.
            grown_by = 0
        self._grown_by += max(grown_by, 0)
        if fresh:
            self._stale = 0
        elif not 0 <= grown_by < size:
            self._stale += 1
        if number > self._furthest:
            self._furthest = number
            self._repeated += len(page.items) - len(fresh)
        self.number = self._next(number, page, size, grown_by, is_stale=not fresh)
        return list(fresh.values())

    def _next(self, number: int, page: Page[T_id], size: int, grown_by: int, *, is_stale: bool) -> int | None:
        if self._stale > MAX_STALE:
            return None
        if grown_by < 0 and number > self._first:
            return max(self._first, number - ceil(-grown_by / size))
        # Each item that is added in front is a reason to see one item again, and there is no other.
        is_repetition = number == self._furthest and self._repeated > self._grown_by
        if is_stale and (is_repetition or not (page.items or page.unreadable)):
            return None
        # A server may put less on a page than it says, so what has been seen counts, too.
        is_short = not is_stale and page.total is not None and len(self._seen) < page.total
        return number + 1 if page.total is None or number * size < page.total or is_short else None
