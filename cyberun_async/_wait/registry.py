"""Who waits for the shared poller, and for what: bookkeeping alone, which polls nothing and never waits.

A request is in one of three places: `due`, parked until it is due, or listening, where its wait reads a stream until
then. One of those that are due or parked leads. A listening one does not, since events cut its waiting short.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from cyberun_async._protocol.status import TaskStatus

if TYPE_CHECKING:
    from cyberun_async._wait.poll_request import PollRequest


class Registry:
    """The requests of all waits of one client.

    Attributes:
        leader: The one whose wait polls for all; `None` only where none waits, or one has just begun to.
        next_due: When the first of the parked ones is due.

    """

    __slots__ = ("_due", "_listening", "_parked", "leader", "next_due")

    def __init__(self) -> None:
        """Begin empty."""
        # They are sets that keep the order.
        self._due: dict[PollRequest, None] = {}
        self._parked: dict[PollRequest, None] = {}
        self._listening: dict[PollRequest, None] = {}
        self.leader: PollRequest | None = None
        self.next_due: float = float("inf")

    def __repr__(self) -> str:
        """Show how many there are."""
        places = f"{len(self._due)} due, {len(self._parked)} parked, {len(self._listening)} listening"
        return f"<{type(self).__name__}: {places}>"

    def __iter__(self) -> "Iterator[PollRequest]":
        """Go through all, those that are due first."""
        return chain(self._due, self._parked, self._listening)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._due or self._parked or self._listening)

    def __contains__(self, request: object) -> bool:
        """Whether its wait still waits."""
        return request in self._due or request in self._parked or request in self._listening

    @property
    def due(self) -> "list[PollRequest]":
        """Those that are due."""
        return list(self._due)

    def is_listening(self, request: "PollRequest") -> bool:
        """Whether its wait reads a stream meanwhile."""
        return request in self._listening

    def is_any_due(self, now: float) -> bool:
        """Whether there is something to poll for."""
        return bool(self._due) or self.next_due <= now

    def is_any_near(self, soon: float) -> bool:
        """Whether any other than those that are due is due by a time."""
        return self.next_due <= soon or any(request.due <= soon for request in self._listening)

    def add(self, request: "PollRequest", now: float) -> None:
        """Have a request wait, and wake the leader where it would sleep for too long."""
        if request.due <= now:
            self._due[request] = None
        elif request.due > self.next_due:
            self._parked[request] = None
            return
        else:
            self._park(request)
        if self.leader is not None:
            self.leader.wake()

    def add_listening(self, request: "PollRequest") -> None:
        """Have a request wait whose wait reads its stream."""
        self._listening[request] = None

    def remove(self, request: "PollRequest") -> None:
        """Forget a request; where it was the leader's, another one leads."""
        self.release(request)
        if self.leader is request:
            self.leader = self._first_without_stream() or next(chain(self._due, self._parked), None)
            if self.leader is not None:
                self.leader.wake()

    def release(self, request: "PollRequest") -> None:
        """Have a request wait no longer."""
        for place in (self._due, self._parked, self._listening):
            place.pop(request, None)

    def polled(self, request: "PollRequest") -> None:
        """Have a request wait for its next poll, unless there is a decision."""
        if request.decision is not None:
            self.release(request)
        elif request not in self._listening:
            self._due.pop(request, None)
            self._park(request)

    def _park(self, request: "PollRequest") -> None:
        self._parked[request] = None
        self.next_due = min(self.next_due, request.due)

    def count_parked(self) -> None:
        """Find out anew when the first of the parked ones is due."""
        self.next_due = min((request.due for request in self._parked), default=float("inf"))

    def first_for_slot(self) -> "PollRequest | None":
        """Give the one that gets a free stream: of a running task rather than of one that waits itself."""
        running = (
            each for each in chain(self._due, self._parked) if each.wants_slot and each.known == TaskStatus.RUNNING
        )
        return next(running, None) or self._first_without_stream()

    def _first_without_stream(self) -> "PollRequest | None":
        """Give one whose wait no event cuts short, since it is to do without a stream."""
        return next((each for each in chain(self._due, self._parked) if each.wants_slot), None)
