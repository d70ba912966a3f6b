"""The rate limit of a credential: one 429 slows down all of its calls, for as long as `Retry-After` says. (throttling)

`RoundTrip` reports each 429 here. Calls, event streams and container streams wait for the pause before they take a slot; only
an urgent call, which cancels a task, does not.
"""

import anyio

_NEVER = float("-inf")


class RateLimitPause:
    """Until when the server wants to hear nothing more from one credential.

    Attributes:
        refused: How often the server has said 429 so far.

    """

    __slots__ = ("_not_before", "refused")

    def __init__(self) -> None:
        self.refused: int = 0
        self._not_before = _NEVER

    def __repr__(self) -> str:
        """Show until when, on the clock of the event loop."""
        return f"<{type(self).__name__}: {self.refused} times 429, until {self._not_before:.3f}>"

    def limited(self, retry_after: float | None, *, longest: float) -> None:
        """Note a 429.

        Args:
            retry_after: Seconds that it asks for.
            longest: Seconds beyond which that is no pause but an error, which the caller gets.

        """
        self.refused += 1
        if retry_after is not None and retry_after <= longest:
            self.begin(retry_after)

    def begin(self, seconds: float) -> None:
        """Pause from now on, unless a longer pause is going on."""
        self._not_before = max(self._not_before, anyio.current_time() + seconds)

    @property
    def is_on(self) -> bool:
        """Whether nothing may be sent now."""
        # Mostly there was none, and to ask for the time costs each call more.
        return self._not_before != _NEVER and anyio.current_time() < self._not_before

    async def wait(self) -> None:
        """Wait for its end, which another 429 may put off meanwhile."""
        while self.is_on:  # noqa: ASYNC110 - it is a moment, and no event
            await anyio.sleep_until(self._not_before)
