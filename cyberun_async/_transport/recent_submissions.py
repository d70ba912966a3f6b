"""Which tasks were submitted a moment ago: for a moment, a service may respond with 404 to them."""

LAG = 5.0
"""Seconds for which a response may lag behind something that has just happened."""

MAX_REMEMBERED = 10_000
"""Submissions that are remembered; with more than that in a few seconds, the oldest are forgotten early."""


class RecentSubmissions:
    """The submissions of one client in the last few seconds."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<{type(self).__name__}: {len(self._times)}>"

    def add(self, task_id: str, now: float) -> None:
        """Remember a submission, and forget those that are too old."""
        self._times[task_id] = now
        while len(self._times) > MAX_REMEMBERED or self._oldest() < now - LAG:
            del self._times[next(iter(self._times))]

    def _oldest(self) -> float:
        return next(iter(self._times.values()))

    def time_of(self, task_id: str) -> float | None:
        """Give the time of a submission, or `None` where it was long ago, or not by this client."""
        return self._times.get(task_id)
