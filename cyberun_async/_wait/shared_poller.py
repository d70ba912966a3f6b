"""Many waits that share their looks."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import anyio

from cyberun_async._protocol.status import TaskStatus
from cyberun_async._settings import Polling
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.inquiry import PollDecision
from cyberun_async._wait.poll_request import PollRequest
from cyberun_async._wait.schedule import Question

if TYPE_CHECKING:
    from cyberun_async._wait.list_plan import TaskSummary
    from cyberun_async._wait.list_poller import ListPoller

COALESCE_FRACTION = 0.25
"""The part of an interval by which a look may come early, so that one sweep does for all."""

MAX_KNOWN = 1000
"""Tasks that are remembered as heard of; it is a matter of moments until their waits look."""


class SharedPoller:
    """The looks of all waits of one client.

    One of the waits leads: it sleeps until the first look is due, and then sweeps the lists for everybody. When it
    leaves, for whatever reason, another takes over, and with the last one everything is gone: nothing runs in the
    background. Where few are due each reads its task itself, and so does whoever is found in no list.
    """

    def __init__(self, transport: Transport, polling: Polling, heard_of: dict[str, None] | None = None) -> None:
        """Begin with nobody."""
        self._transport = transport
        self._polling = polling
        self._urgent: dict[PollRequest, None] = {}
        self._parked: dict[PollRequest, None] = {}
        self._listening: dict[PollRequest, None] = {}
        self._next_due = float("inf")
        self._leader: PollRequest | None = None
        self._alarm: anyio.Event | None = None
        self._lists: ListPoller | None = None
        # Views of one client share it: a webhook does not say whose task has ended.
        self._heard_of: dict[str, None] = {} if heard_of is None else heard_of
        transport.on_free_stream = self.offer_stream

    async def turn(self, look: PollRequest, *, until: float = float("inf")) -> TaskStatus | PollDecision:
        """Wait until there is news of a task, or something for the wait to do itself.

        Args:
            look: Whose, and when.
            until: When to leave off, for the stream.

        """
        if self._was_heard_of(look):
            return PollDecision.POLL
        self._add(look)
        try:
            while look.told is None and until > anyio.current_time():
                if self._leader in {None, look}:
                    self._leader = look
                    await self._lead(look, until)
                else:
                    await look.wait(until)
        finally:
            self._remove(look)
        return look.told or PollDecision.TRY_STREAM

    def listen(self, look: PollRequest) -> "anyio.CancelScope":
        """Give the scope in which a wait listens to its stream until its look is due, or others have news of the task.

        Whoever listens takes no part in the looks, but is taken along by those of others, until it says `listened`.
        """
        scope = look.listening()
        self._listening[look] = None
        if self._was_heard_of(look):
            scope.cancel()
        return scope

    def listened(self, look: PollRequest) -> None:
        """End what `listen` began."""
        self._listening.pop(look, None)

    def _was_heard_of(self, look: PollRequest) -> bool:
        """Whether somebody has heard that the task ended before its wait had time for that."""
        if look.task_id not in self._heard_of:
            return False
        del self._heard_of[look.task_id]
        look.told = PollDecision.POLL
        return True

    def wake(self, task_id: str) -> None:
        """Have a task looked at now: somebody has heard that it ended.

        A wait that is just about something else looks as soon as it is done; word of a task nobody waits for is forgotten.
        """
        for look in [each for each in self._everybody() if each.task_id == task_id]:
            self._tell(look, PollDecision.POLL)
        self._heard_of[task_id] = None
        if len(self._heard_of) > MAX_KNOWN:
            del self._heard_of[next(iter(self._heard_of))]

    def offer_stream(self) -> bool:
        """Give a free stream to one of the waits without, if there is: to a running task rather than to one that waits itself."""
        if not self._transport.has_free_stream:
            return False
        chosen = None
        for look in chain(self._urgent, self._parked):
            if look.wants_stream and look.known == TaskStatus.RUNNING:
                chosen = look
                break
            if look.wants_stream and chosen is None:
                chosen = look
        if chosen is not None:
            self._tell(chosen, PollDecision.TRY_STREAM)
        return chosen is not None

    # Who is there

    @property
    def has_waits(self) -> bool:
        """Whether there are waits."""
        return bool(self._urgent or self._parked or self._listening)

    def _add(self, look: PollRequest) -> None:
        if look.wants_stream:
            self._transport.want_stream()
        if look.schedule.next_poll_at <= anyio.current_time():
            self._urgent[look] = None
        else:
            self._park(look)
        if self._alarm is not None and (look in self._urgent or look.schedule.next_poll_at <= self._next_due):
            self._alarm.set()

    def _park(self, look: PollRequest) -> None:
        self._parked[look] = None
        self._next_due = min(self._next_due, look.schedule.next_poll_at)

    def _remove(self, look: PollRequest) -> None:
        self._urgent.pop(look, None)
        self._parked.pop(look, None)
        if self._leader is look:
            everybody = chain(self._urgent, self._parked)
            # One without a stream, if there is: its wait is not cut short by events.
            self._leader = next((each for each in everybody if each.wants_stream), None) or next(
                chain(self._urgent, self._parked), None
            )
            if self._leader is not None:
                self._leader.wake()

    def _everybody(self) -> Iterator[PollRequest]:
        return chain(self._urgent, self._parked, self._listening)

    def _tell(self, look: PollRequest, told: TaskStatus | PollDecision) -> None:
        self._urgent.pop(look, None)
        self._parked.pop(look, None)
        self._listening.pop(look, None)
        look.told = told
        look.wake()
        if look is self._leader and self._alarm is not None:
            self._alarm.set()

    # What the leader does

    async def _lead(self, look: PollRequest, until: float) -> None:
        """Look for everybody until there is something for the leader itself, or until it is time to leave off."""
        while look.told is None and until > (now := anyio.current_time()):
            if self._urgent or self._next_due <= now:
                # Whoever starts to wait at the same moment is in time for the same look.
                await anyio.sleep(0)  # noqa: ASYNC115 - anyio.lowlevel would have to be imported for it
                await self._poll_for_all(now)
            else:
                self._alarm = anyio.Event()
                with anyio.move_on_after(min(self._next_due, until) - now):
                    await self._alarm.wait()
                self._alarm = None

    async def _poll_for_all(self, now: float) -> None:
        """Have everybody looked for whose look is due, or nearly."""
        from cyberun_async._wait.list_poller import LIST_THRESHOLD, ListPoller

        soon = now + COALESCE_FRACTION * self._polling.interval
        is_near = self._next_due <= soon or any(look.schedule.next_poll_at <= soon for look in self._listening)
        if not is_near and len(self._urgent) <= LIST_THRESHOLD:
            self._let_look(self._urgent)
            return
        wanted = [look for look in self._everybody() if look.schedule.next_poll_at <= soon]
        self._lists = self._lists or ListPoller(self._transport)
        sweep = self._lists.sweep({look.task_id: look.known for look in wanted})
        if pages := sweep.next_pages():
            is_whole = await self._lists.read(sweep, pages, self._seer(now))
            for look in wanted:
                if look.task_id in sweep.missing and self._is_here(look):
                    self._missed(look, now, may_be_gone=is_whole)
        else:
            self._let_look(
                [look for look in wanted if look.schedule.next_poll_at <= now and look not in self._listening]
            )
        self._next_due = min((look.schedule.next_poll_at for look in self._parked), default=float("inf"))
        self.offer_stream()

    def _let_look(self, looks: Iterable[PollRequest]) -> None:
        for look in list(looks):
            self._tell(look, PollDecision.POLL)

    def _seer(self, when: float) -> "Callable[[TaskSummary], None]":
        """Give what tells everybody who waits for a task that it was seen."""
        everybody: dict[str, list[PollRequest]] = {}
        for look in self._everybody():
            everybody.setdefault(look.task_id, []).append(look)

        def saw(sighting: "TaskSummary") -> None:
            for look in everybody.get(sighting.id, ()):
                self._saw(look, sighting.status, when)

        return saw

    def _is_here(self, look: PollRequest) -> bool:
        return look in self._urgent or look in self._parked or look in self._listening

    def _go_on_waiting(self, look: PollRequest) -> None:
        """Have a look wait for its next time."""
        if look not in self._listening:
            self._urgent.pop(look, None)
            self._park(look)

    def _saw(self, look: PollRequest, status: TaskStatus, when: float) -> None:
        if not self._is_here(look):
            return
        look.schedule.poll_sent(when)
        look.schedule.answered(Question.TASK)
        if status == look.known:
            self._go_on_waiting(look)
        else:
            self._tell(look, status)

    def _missed(self, look: PollRequest, when: float, *, may_be_gone: bool) -> None:
        if may_be_gone:
            self._tell(look, PollDecision.FETCH_RESULT)
            return
        late = look.schedule.lateness(when)
        if look.schedule.failed(Question.TASK, when, anyio.current_time(), late=late):
            # Its own poll fails as well, and says how.
            self._tell(look, PollDecision.POLL)
        else:
            look.schedule.poll_sent(when)
            self._go_on_waiting(look)
