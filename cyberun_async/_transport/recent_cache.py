"""Values by key that are shared for as long as somebody uses them, and a bounded number beyond that. (LRU, weak)"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentCache(Generic[K, V]):
    """Makes one value for each key: while it is in use, it is given again, and so are the ones used last.

    Args:
        maximum: How many are kept although they are not in use.

    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._in_use: WeakValueDictionary[K, V] = WeakValueDictionary()
        self._recent: dict[K, V] = {}

    def __repr__(self) -> str:
        """Show how many there are; a key may be a secret."""
        return f"<{type(self).__name__}: {len(self._in_use)} in use, {len(self._recent)} kept>"

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Give the value of a key, which is made where there is none."""
        value = self._in_use.get(key)
        if value is None:
            value = self._in_use[key] = make()
        self._recent.pop(key, None)
        self._recent[key] = value
        if len(self._recent) > self._maximum:
            del self._recent[next(iter(self._recent))]
        return value

    def values(self) -> list[V]:
        """Give those that are in use or kept."""
        return list(self._in_use.values())
