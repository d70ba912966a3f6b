"""How long one question has gone without a response that is of use: unavailability, and when to give up. (timeout)

Every question of a wait has an outage of its own, so that a poll that is answered says nothing about a result that cannot
be read. What counts is the time in which somebody asked: from failure to failure, without

- the time by which a request began later than planned, for the caller had something else to do, or the process was
  stopped by a signal or on a suspended machine;
- the slowest request, for the process may have been stopped in the middle of it.

So a single failure never ends a wait, and after such a pause a second one is needed.
"""

PAUSE = 1.0
"""Seconds by which a request begins later than planned before that counts as a pause; a busy loop is late by less."""


class Outage:
    """The failures of one question since its last answer.

    Args:
        began: When the first request that failed was sent.
        timeout: Seconds after which to give up.

    Attributes:
        began: When the first request that failed was sent.
        is_over: Whether to give up.

    """

    __slots__ = ("_counted", "_ended", "_slowest", "_timeout", "_was_paused", "began", "is_over")

    def __init__(self, began: float, timeout: float) -> None:
        """Begin with the first failure."""
        self.began: float = began
        self.is_over: bool = False
        self._timeout = timeout
        self._ended = began
        self._counted = self._slowest = 0.0
        self._was_paused: bool | None = None

    def __repr__(self) -> str:
        """Show how long it lasts."""
        return f"<{type(self).__name__} since {self.began:g}, {self.remaining:g} s left>"

    def failed(self, began: float, ended: float, *, late: float) -> None:
        """Count one failure.

        Args:
            began: When the request was sent.
            ended: When it had failed.
            late: Seconds by which it was sent later than planned.

        """
        took = ended - began
        self._counted += took + max(began - self._ended - late, 0.0)
        self._slowest = max(self._slowest, took)
        is_paused = late > PAUSE or took >= self._timeout
        is_first = self._was_paused is None
        # Two pauses in a row are a slow caller or a slow server, who must not keep a wait for ever either.
        is_confirmed = not is_first and (not is_paused or bool(self._was_paused))
        self.is_over = is_confirmed and self.remaining == 0.0
        self._was_paused = is_paused
        self._ended = ended

    @property
    def remaining(self) -> float:
        """The seconds that are left of the timeout."""
        return max(self._timeout - (self._counted - self._slowest), 0.0)
