"""Lists that come in pages, as one iterator."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from cyberun_async._protocol.call import Call
from cyberun_async._protocol.pages import MAX_PAGE_SIZE, HasId, Page, PageCursor
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import explain_misuse

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T", bound=HasId)


@explain_misuse(iterate="use 'async for', since a list is read page by page")
class AsyncPaginator(AsyncIterator[T]):
    """All items of a list, page by page, each once.

    Nothing is open between two items, so it can be left at any point. After a page that failed, or was cancelled, the
    next step asks for that page again. Several tasks may share it, and each item goes to one of them.
    """

    # Not an async generator: one that is left early has to be closed, and trio complains if it is not.

    def __init__(self, transport: Transport, page_call: Callable[[int, int], Call[Page[T]]]) -> None:
        self._transport = transport
        self._page_call = page_call
        self._cursor: PageCursor[T] = PageCursor()
        self._ready: deque[T] = deque()
        self._lock = anyio.Lock()

    def __repr__(self) -> str:
        """Show how far it is."""
        return f"<{type(self).__name__} of {self._transport.base_url}: next page {self._cursor.number}>"

    def __aiter__(self) -> "Self":
        """Give the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Give the next item, for which the next page may have to be read."""
        while not self._ready:
            async with self._lock:
                await self._read_page()
        return self._ready.popleft()

    async def _read_page(self) -> None:
        if self._ready:  # Another task has read it meanwhile.
            return
        number = self._cursor.number
        if number is None:
            raise StopAsyncIteration
        page = await self._transport.send(self._page_call(number, MAX_PAGE_SIZE))
        self._ready.extend(self._cursor.take(number, page))
