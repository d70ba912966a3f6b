"""Many waits that share their looks."""

import logging
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain

import anyio

from cyberun_async._protocol.pacing import Pace
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.sweeping import FEW, PageOf, Sighting, Sweep, rest_of_list
from cyberun_async._settings import Polling
from cyberun_async._transport.transport import Transport

log = logging.getLogger("cyberun_async.wait")

NEARLY = 0.25
"""The part of an interval by which a look may come early, so that one sweep does for all."""


MOST_HEARD_OF = 1000
"""Tasks that are remembered as heard of; it is a matter of moments until their waits look."""


class Turn(Enum):
    """What a wait is to do next by itself."""

    LOOK = "look at the task"
    GONE = "read the result: the task is in no list of unfinished tasks"
    STREAM = "try the stream"


class Look:
    """One wait's next look.

    Args:
        task_id: Whose.
        known: The status that is no news.
        pace: When the look is due; it is told of every look that brought no news.
        wants_stream: Whether it waits for one of the client's streams to become free.

    Attributes:
        told: What came of it: the new status, or what the wait is to do.

    """

    __slots__ = ("_scope", "_woken", "known", "pace", "task_id", "told", "wants_stream")

    def __init__(self, task_id: str, known: TaskStatus | None, pace: Pace, *, wants_stream: bool = False) -> None:
        """Wait to be told."""
        self.task_id: str = task_id
        self.known: TaskStatus | None = known
        self.pace: Pace = pace
        self.wants_stream: bool = wants_stream
        self.told: TaskStatus | Turn | None = None
        self._woken: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None

    def listening(self) -> "anyio.CancelScope":
        """Give the scope in which its wait listens to its stream until there is something to do."""
        self._scope = anyio.CancelScope(deadline=self.pace.look_due)
        return self._scope

    async def wait(self, until: float) -> None:
        """Wait for something to do."""
        self._woken = anyio.Event()
        if until == float("inf"):
            await self._woken.wait()
        else:
            with anyio.move_on_after(until - anyio.current_time()):
                await self._woken.wait()

    def wake(self) -> None:
        """End the waiting."""
        if self._woken is not None:
            self._woken.set()
        if self._scope is not None:
            self._scope.cancel()


class Lookups:
    """The looks of all waits of one client.

    One of the waits leads: it sleeps until the first look is due, and then sweeps the lists for everybody. When it
    leaves, for whatever reason, another takes over, and with the last one everything is gone: nothing runs in the
    background. Where few are due each reads its task itself, and so does whoever is found in no list.
    """

    def __init__(self, transport: Transport, polling: Polling) -> None:
        """Begin with nobody."""
        self._transport = transport
        self._polling = polling
        self._urgent: dict[Look, None] = {}
        self._parked: dict[Look, None] = {}
        self._listening: dict[Look, None] = {}
        self._next_due = float("inf")
        self._leader: Look | None = None
        self._alarm: anyio.Event | None = None
        self._rests: dict[TaskStatus, float] = {}
        self._heard_of: dict[str, None] = {}
        transport.on_free_stream = self.offer_stream

    async def turn(self, look: Look, *, until: float = float("inf")) -> TaskStatus | Turn:
        """Wait until there is news of a task, or something for the wait to do itself.

        Args:
            look: Whose, and when.
            until: When to leave off, for the stream.

        """
        if self._was_heard_of(look):
            return Turn.LOOK
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
        return look.told or Turn.STREAM

    def listen(self, look: Look) -> "anyio.CancelScope":
        """Give the scope in which a wait listens to its stream until its look is due, or others have news of the task.

        Whoever listens takes no part in the looks, but is taken along by those of others, until it says `listened`.
        """
        scope = look.listening()
        self._listening[look] = None
        if self._was_heard_of(look):
            scope.cancel()
        return scope

    def listened(self, look: Look) -> None:
        """End what `listen` began."""
        self._listening.pop(look, None)

    def _was_heard_of(self, look: Look) -> bool:
        """Whether somebody has heard that the task ended before its wait had time for that."""
        if look.task_id not in self._heard_of:
            return False
        del self._heard_of[look.task_id]
        look.told = Turn.LOOK
        return True

    def notify(self, task_id: str) -> None:
        """Have a task looked at now: somebody has heard that it ended.

        A wait that is just about something else looks as soon as it is done; word of a task nobody waits for is forgotten.
        """
        for look in [each for each in self._everybody() if each.task_id == task_id]:
            self._tell(look, Turn.LOOK)
        self._heard_of[task_id] = None
        if len(self._heard_of) > MOST_HEARD_OF:
            del self._heard_of[next(iter(self._heard_of))]

    def offer_stream(self) -> None:
        """Give a free stream to one of the waits without: to a running task rather than to one that waits itself."""
        if not self._transport.has_free_stream:
            return
        chosen = None
        for look in chain(self._urgent, self._parked):
            if look.wants_stream and look.known == TaskStatus.RUNNING:
                chosen = look
                break
            if look.wants_stream and chosen is None:
                chosen = look
        if chosen is not None:
            self._tell(chosen, Turn.STREAM)

    # Who is there

    def _add(self, look: Look) -> None:
        if look.pace.look_due <= anyio.current_time():
            self._urgent[look] = None
        else:
            self._park(look)
        if self._alarm is not None and (look in self._urgent or look.pace.look_due <= self._next_due):
            self._alarm.set()

    def _park(self, look: Look) -> None:
        self._parked[look] = None
        self._next_due = min(self._next_due, look.pace.look_due)

    def _remove(self, look: Look) -> None:
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

    def _everybody(self) -> Iterator[Look]:
        return chain(self._urgent, self._parked, self._listening)

    def _tell(self, look: Look, told: TaskStatus | Turn) -> None:
        self._urgent.pop(look, None)
        self._parked.pop(look, None)
        self._listening.pop(look, None)
        look.told = told
        look.wake()
        if look is self._leader and self._alarm is not None:
            self._alarm.set()

    # What the leader does

    async def _lead(self, look: Look, until: float) -> None:
        """Look for everybody until there is something for the leader itself, or until it is time to leave off."""
        while look.told is None and until > (now := anyio.current_time()):
            if self._urgent or self._next_due <= now:
                # Whoever starts to wait at the same moment is in time for the same look.
                await anyio.sleep(0)  # noqa: ASYNC115 - anyio.lowlevel would have to be imported for it
                await self._look_for_all(now)
            else:
                self._alarm = anyio.Event()
                with anyio.move_on_after(min(self._next_due, until) - now):
                    await self._alarm.wait()
                self._alarm = None

    async def _look_for_all(self, now: float) -> None:
        """Have everybody looked for whose look is due, or nearly."""
        soon = now + NEARLY * self._polling.interval
        is_near = self._next_due <= soon or any(look.pace.look_due <= soon for look in self._listening)
        if not is_near and len(self._urgent) <= FEW:
            self._let_look(self._urgent)
            return
        wanted = [look for look in self._everybody() if look.pace.look_due <= soon]
        sweep = Sweep(
            {look.task_id: look.known for look in wanted}, {word for word in self._rests if self._rests[word] > now}
        )
        if pages := sweep.next_pages():
            await self._sweep(sweep, pages, wanted)
        else:
            self._let_look([look for look in wanted if look.pace.look_due <= now and look not in self._listening])
        self._next_due = min((look.pace.look_due for look in self._parked), default=float("inf"))
        self.offer_stream()

    def _let_look(self, looks: Iterable[Look]) -> None:
        for look in list(looks):
            self._tell(look, Turn.LOOK)

    async def _sweep(self, sweep: Sweep, pages: list[PageOf], wanted: list[Look]) -> None:
        """Read pages for as long as that is worth it, and tell everybody what they show."""
        began = anyio.current_time()
        everybody: dict[str, list[Look]] = {}
        for look in self._everybody():
            everybody.setdefault(look.task_id, []).append(look)
        is_whole = True
        while pages:
            for page_of, answer in (await self._read(pages)).items():
                if isinstance(answer, Exception):
                    is_whole &= self._failed(page_of, answer)
                    sweep.leave_list()
                    continue
                for sighting in sweep.took(page_of, answer):
                    for look in everybody.get(sighting.id, ()):
                        self._saw(look, sighting.status, began)
            pages = sweep.next_pages()
        for look in wanted:
            if look.task_id in sweep.missing and self._is_here(look):
                self._missed(look, began, may_be_gone=is_whole)

    async def _read(self, pages: list[PageOf]) -> dict[PageOf, Page[Sighting] | Exception]:
        answers: dict[PageOf, Page[Sighting] | Exception] = {}

        async def read(page_of: PageOf) -> None:
            try:
                # Unlike a single look it is worth repeating: a hundred waits depend on it.
                answers[page_of] = await self._transport.send(page_of.call)
            except Exception as failure:  # noqa: BLE001 - whoever looks alone meets it again, and raises it
                answers[page_of] = failure

        async with anyio.create_task_group() as group:
            for page_of in pages:
                group.start_soon(read, page_of)
        return answers

    def _failed(self, page_of: PageOf, failure: Exception) -> bool:
        """Leave a list alone for a while, and say whether single reads may do better."""
        log.debug("tasks cannot be looked up together by the list of %s: %s", page_of.status, failure)
        rest = rest_of_list(failure)
        if rest:
            self._rests[page_of.status] = anyio.current_time() + rest
        return bool(rest)

    def _is_here(self, look: Look) -> bool:
        return look in self._urgent or look in self._parked or look in self._listening

    def _go_on_waiting(self, look: Look) -> None:
        """Have a look wait for its next time."""
        if look not in self._listening:
            self._urgent.pop(look, None)
            self._park(look)

    def _saw(self, look: Look, status: TaskStatus, when: float) -> None:
        if not self._is_here(look):
            return
        look.pace.looked(when)
        look.pace.answered()
        if status == look.known:
            self._go_on_waiting(look)
        else:
            self._tell(look, status)

    def _missed(self, look: Look, when: float, *, may_be_gone: bool) -> None:
        if not may_be_gone:
            look.pace.failed(when)
        if may_be_gone or look.pace.is_out_of_patience(anyio.current_time()):
            self._tell(look, Turn.GONE)
        else:
            look.pace.looked(when)
            self._go_on_waiting(look)
