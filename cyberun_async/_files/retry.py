"""How long a transfer is retried: a budget that starts over whenever the transfer gets further. (retry, backoff)"""

import random
from collections.abc import Callable

from cyberun_async._backoff import backoff
from cyberun_async._settings import Retries


class RetryBudget:
    """The retry budget of one transfer: how long it is retried without coming further than ever before.

    A restart from the beginning gets nowhere until it passes the furthest point that was reached, so a body that always
    breaks and cannot be resumed uses the budget up. The first failure since then is always retried (unless the budget
    is 0), however long the attempt took: one stalled read may last longer than the whole budget.
    """

    def __init__(self, retries: Retries, jitter: Callable[[], float] = random.random) -> None:
        self._retries = retries
        self._jitter = jitter
        self.furthest = 0
        self._forget()

    def __repr__(self) -> str:
        """Show how often it has failed, and how far it came."""
        return f"<{type(self).__name__}, {self._failures} failures after {self.furthest} bytes>"

    def _forget(self) -> None:
        self._failures = 0
        self._first_failed: float | None = None

    def progressed(self, done: int) -> bool:
        """Note how many bytes are there now, and say whether that is further than ever; the budget starts over then."""
        is_further = done > self.furthest
        if is_further:
            self.furthest = done
            self._forget()
        return is_further

    def start_over(self) -> None:
        """Begin a second transfer of the same bytes, which is to have the whole budget again."""
        self.furthest = 0
        self._forget()

    def delay(self, now: float, asked: float | None = None) -> float | None:
        """Give the seconds until the next attempt, or `None` where there is none.

        Args:
            now: In seconds, on any clock.
            asked: What the storage asked to wait, in seconds; it has a limit of its own, and counts once it has passed.

        """
        retries = self._retries
        if not retries.budget or (asked is not None and asked > retries.retry_after):
            return None
        own = self._jitter() * backoff(self._failures, initial=retries.initial, maximum=retries.maximum)
        self._failures += 1
        if self._first_failed is None:
            self._first_failed = now
            own = min(own, retries.budget)
        return (asked or 0.0) + own if now - self._first_failed + own <= retries.budget else None
