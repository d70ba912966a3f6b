"""Lists that come in pages: all items as one iterator, or one page. (pagination, limit)"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.pages import MAX_PAGE_SIZE, HasId, Page, PageCursor
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import explain_misuse, is_whole_number

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T", bound=HasId)

PageCall = Callable[[int, int], "Call[Page[T]]"]
"""Gives the call for a page, by its number from 1 and the number of items on it."""


@explain_misuse(iterate="use 'async for', since a list is read page by page")
class AsyncPaginator(AsyncIterator[T]):
    """A list of the service: `async for` gives all of its items, each once, and `await` one page.

    ```python
    page = await client.tasks.list(limit=5)
    print(page.total, [task.id for task in page.items])
    async for task in client.tasks.list(status="running"):
        print(task.id)
    ```

    The iterator asks for a page when its first item is wanted. Nothing is open between two items, so it can be left at any
    point. After a page that failed, or was cancelled, the next step asks for that page again. Several tasks may share it,
    and each item goes to one of them.
    """

    # Not an async generator: one that is left early has to be closed, and trio complains if it is not.

    def __init__(
        self, transport: Transport, *page_calls: "PageCall[T]", limit: int | None = None, page: int = 1
    ) -> None:
        """Ask for nothing.

        Args:
            transport: Sends the calls.
            page_calls: One for each list; several are read one after the other.
            limit: How many items are given at most.
            page: The page that is awaited, or at which the iteration begins.

        """
        problems = [
            f"{name} must be a whole number above zero{or_none}, not {value!r}"
            for name, value, or_none in (("limit", limit, " or None"), ("page", page, ""))
            if not is_whole_number(value, minimum=1) and not (or_none and value is None)
        ]
        if problems:
            raise InvalidParameters(problems)
        self._transport = transport
        self._page_calls = page_calls
        self._page = page
        self._page_size = MAX_PAGE_SIZE if limit is None else min(limit, MAX_PAGE_SIZE)
        self._limit = limit
        # Unread of the limit, the lists that are left, and the ids of those that were read: an item may be in two lists.
        self._room: float = float("inf") if limit is None else limit
        self._unread: deque[tuple[PageCall[T], PageCursor[T]]] = deque((call, PageCursor(page)) for call in page_calls)
        self._seen: set[str] = set()
        self._ready: deque[T] = deque()
        self._lock = anyio.Lock()

    def __repr__(self) -> str:
        """Show how far it is."""
        number = self._unread[0][1].number if self._unread else None
        return f"<{type(self).__name__} of {self._transport.base_url}: next page {number}>"

    def __await__(self) -> Generator[Any, Any, Page[T]]:
        """Give the first page, or the one that was asked for; of several lists, that of each, one after the other."""
        return self._read_one().__await__()

    def __aiter__(self) -> "Self":
        """Give the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Give the next item, for which the next page may have to be read."""
        while not self._ready:
            async with self._lock:
                await self._read_next()
        return self._ready.popleft()

    async def _read_next(self) -> None:
        if self._ready:  # Another task has read it meanwhile.
            return
        if not self._unread or not self._room:
            raise StopAsyncIteration
        page_call, cursor = self._unread[0]
        if cursor.number is None:
            self._unread.popleft()
            return
        page = await self._transport.send(page_call(cursor.number, self._page_size))
        self._take(cursor.take(cursor.number, page))

    def _take(self, items: list[T]) -> None:
        if len(self._page_calls) > 1:
            items = [item for item in items if item.id not in self._seen]
            self._seen.update(item.id for item in items)
        if self._room < len(items):
            items = items[: int(self._room)]
        self._room -= len(items)
        self._ready.extend(items)

    async def _read_one(self) -> Page[T]:
        pages = [await self._transport.send(call(self._page, self._page_size)) for call in self._page_calls]
        items = {item.id: item for page in pages for item in page.items}
        totals = [page.total for page in pages]
        return attrs.evolve(
            pages[0],
            items=tuple(items.values())[: self._limit],
            total=None if None in totals else sum(total or 0 for total in totals),
            unreadable=sum(page.unreadable for page in pages),
            number=self._page,
        )
