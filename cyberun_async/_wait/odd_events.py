"""Logging what is odd on an event stream: a stream full of it must not become a log full of it."""

import logging
from collections import Counter

log = logging.getLogger("cyberun_async.events")


class OddEvents:
    """What was dropped of one stream.

    Args:
        task_id: The task.

    """

    __slots__ = ("_counts", "_task_id")

    def __init__(self, task_id: str) -> None:
        """Begin with none."""
        self._task_id = task_id
        self._counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        """Show how many there were of each kind."""
        return f"<{type(self).__name__} of task {self._task_id}: {dict(self._counts) or 'none'}>"

    def note(self, kind: str, message: str) -> None:
        """Log the first event of a kind, and count the others."""
        self._counts[kind] += 1
        if self._counts[kind] == 1:
            log.warning("task %s: %s", self._task_id, message)

    def report(self) -> None:
        """Log how many there were."""
        for kind, count in self._counts.items():
            if count > 1:
                log.warning("task %s: %d events of its stream %s", self._task_id, count, kind)
