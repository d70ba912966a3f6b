"""Lists that come in pages, as one iterator."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

from cyberun_async._protocol.call import Call
from cyberun_async._protocol.pages import MOST_PER_PAGE, Page
from cyberun_async._transport.transport import Transport


class HasId(Protocol):
    """Anything that an id tells apart."""

    @property
    def id(self) -> str:
        """What tells it apart."""


T = TypeVar("T", bound=HasId)


async def every_item(transport: Transport, page_call: Callable[[int, int], Call[Page[T]]]) -> AsyncIterator[T]:
    """Go through all pages, and give each item once, also where the list grows meanwhile.

    The service knows pages only by number, so what is added in front of the list moves items on to the next page, where
    they are not told again. A list that repeats itself ends.
    """
    seen: set[str] = set()
    total_before: int | None = None
    number = 1
    while True:
        page = await transport.send(page_call(number, MOST_PER_PAGE))
        fresh = [item for item in page.items if item.id not in seen]
        seen.update(item.id for item in fresh)
        for item in fresh:
            yield item
        grown = (page.total or 0) - (total_before or 0)
        if page.is_last(number, MOST_PER_PAGE) or not page.items or not (fresh or grown > 0):
            return
        total_before = page.total
        number += 1
