"""Which waits there are for a task, so that whatever reports its end can wake them: bookkeeping alone. (webhook, notify)

A webhook does not say on whose behalf its task was submitted, so all views of a client share this. The waits are held
weakly: one that iterates over events may be dropped without a word.
"""

from typing import Protocol
from weakref import WeakValueDictionary, ref

MAX_EARLY_WAKES = 1000
"""Tasks without a wait whose wakes are remembered until one begins; it is a matter of moments."""


class Wakeable(Protocol):
    """A wait."""

    task_id: str

    def wake(self) -> None:
        """Poll as soon as there is time for it."""


class WaitsOfTask:
    """The waits of one task. Each of them holds this, which lives as long as one of them."""

    __slots__ = ("__weakref__", "_waits")

    def __init__(self) -> None:
        """Begin without one."""
        self._waits: list[ref[Wakeable]] = []

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<{type(self).__name__}: {len(self.alive())}>"

    def alive(self) -> list[Wakeable]:
        """Give those that somebody still uses."""
        return [wait for each in self._waits if (wait := each()) is not None]

    def add(self, wait: Wakeable) -> None:
        """Take one more."""
        self._waits = [ref(each) for each in (*self.alive(), wait)]


class Wakes:
    """The waits of a client and its views, by their tasks."""

    def __init__(self) -> None:
        """Begin without waits."""
        self._tasks: WeakValueDictionary[str, WaitsOfTask] = WeakValueDictionary()
        # It is a set that keeps the order.
        self._early: dict[str, None] = {}

    def __repr__(self) -> str:
        """Show how many tasks are waited for."""
        return f"<{type(self).__name__}: waits for {len(self._tasks)} tasks, {len(self._early)} early wakes>"

    def join(self, wait: Wakeable) -> WaitsOfTask:
        """Have a wait woken from now on, at once if its task was woken before; it has to hold what this gives."""
        waits = self._tasks.get(wait.task_id)
        if waits is None:
            waits = self._tasks[wait.task_id] = WaitsOfTask()
        waits.add(wait)
        if wait.task_id in self._early:
            del self._early[wait.task_id]
            wait.wake()
        return waits

    def wake(self, task_id: str) -> None:
        """Have each wait of a task poll: something has reported that the task ended."""
        waits = self._tasks.get(task_id)
        if waits is not None:
            for wait in waits.alive():
                wait.wake()
            return
        self._early[task_id] = None
        if len(self._early) > MAX_EARLY_WAKES:
            del self._early[next(iter(self._early))]
