"""Lists that come in pages.

Source: https://docs.cyberun.cloud/api-reference
"""

from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

MOST_PER_PAGE = 100
"""The most that the server gives on one page."""


@attrs.frozen
class Page(Generic[T]):
    """One page of a list.

    Attributes:
        items: What is on it.
        total: How many there are on all pages, or `None` where the server does not say.

    """

    items: tuple[T, ...] = ()
    total: int | None = None

    def is_last(self, number: int, per_page: int) -> bool:
        """Whether the list ends here; pages count from 1."""
        if self.total is None:
            return len(self.items) < per_page
        return number * per_page >= self.total
