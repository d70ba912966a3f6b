"""Following one task by its stream and by looking it up, whichever brings news first."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from cyberun_async._concurrency import FlatTaskGroup
from cyberun_async._errors import APIError, CyberunError, DecodeError, TransportError
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.events import (
    ErrorEvent,
    StatusEvent,
    TaskEvent,
    UnknownEvent,
    event_from_result,
    event_from_status,
    read_event,
)
from cyberun_async._protocol.hints import says_end
from cyberun_async._protocol.status import UNSTATED, TaskStatus, may_have_ended
from cyberun_async._protocol.tasks import TaskResult, is_same_task
from cyberun_async._settings import Polling
from cyberun_async._transport.sse import ServerSentEvent
from cyberun_async._transport.stream import Connection
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.dedup import EventDeduplicator
from cyberun_async._wait.inquiry import FAILURES, Inquiry
from cyberun_async._wait.poll_errors import is_passing, may_be_early
from cyberun_async._wait.poll_request import PollDecision, PollRequest
from cyberun_async._wait.schedule import PollSchedule, Question
from cyberun_async._wait.shared_poller import SharedPoller

log = logging.getLogger("cyberun_async.events")

POLL_GRACE = 0.25
"""Seconds that a request in flight gets to be answered once the stream has an update, unless the last was cut off."""

STREAM_LAG = 1.0
"""Seconds that a stream gets to deliver what a look has seen, before it counts as not getting through."""

MAX_AHEAD = 100
"""Events that are read ahead, for the terminal one, while the first of them is held back for a request in flight."""


class TaskFollower:
    """The race between a task's stream and looking the task up, taken one step at a time.

    Nothing runs between two steps. The stream opens first and the task is looked at next, so that nothing that ends in
    between is missed. A stream can only bring news: whatever goes wrong with it, the looks decide what that means.

    What keeps it alive, whatever the stream and the API do:

    - each question (how does the task stand, what is its result) has an outage of its own, after which its failure is
      raised; nothing that is answered meanwhile resets the other's;
    - a request that the stream cut off once is let land the next time, for which the next event waits, once; a terminal
      event never does;
    - what says that the task has ended (a poll, an event of any kind, a list without it) is kept until the result was
      read, or contradicts it.

    Args:
        transport: Sends the requests.
        lookups: Shares the looks with all other waits of the client.
        task_id: The task.
        polling: How often it is looked up.
        is_new: Whether the task was submitted a moment ago, so that there is no hurry to see how it stands.

    Attributes:
        task_id: The task.
        result: The final result, where a look has already fetched it.

    """

    __slots__ = (
        "_connection",
        "_inquiry",
        "_is_new",
        "_last_event_id",
        "_news",
        "_oddities",
        "_ready",
        "_schedule",
        "_shared_poller",
        "_transport",
        "result",
        "task_id",
    )

    def __init__(
        self, transport: Transport, shared_poller: SharedPoller, task_id: str, polling: Polling, *, is_new: bool = False
    ) -> None:
        """Check the id."""
        endpoints.get_task(task_id)
        self.result: TaskResult | None = None
        self._transport = transport
        self._shared_poller = shared_poller
        self._is_new = is_new
        self.task_id: str = task_id
        self._schedule = PollSchedule(polling)
        self._inquiry = Inquiry(transport, self._schedule, task_id, transport.recent.time_of(task_id))
        self._news = EventDeduplicator()
        self._oddities: dict[str, int] | None = None
        # A deque of none takes as much memory as all the rest of a wait without a stream.
        self._ready: list[TaskEvent] = []
        self._connection: Connection | None = None
        self._last_event_id = ""

    @property
    def status(self) -> TaskStatus | None:
        """The last status seen."""
        return self._news.status

    @property
    def is_connected(self) -> bool:
        """Whether a stream is open."""
        return self._connection is not None

    async def next(self) -> TaskEvent:
        """Wait for the next event; with a terminal one the stream is closed already.

        Raises:
            APIError: A look was refused.
            TransportError: Nothing has answered for longer than `Polling.unavailable_timeout`.
            DecodeError: Likewise, with answers that are not what the API documents.

        """
        if not self._schedule.has_started:
            self._schedule.start(anyio.current_time(), is_new=self._inquiry.submitted_at is not None)
        try:
            while not self._ready:
                await self._step()
            if self._ready[0].is_terminal:
                await self.aclose()
        except BaseException:
            # Whoever was cut off may not come back, and httpcore has given up the connection already.
            await self.aclose()
            raise
        return self._ready.pop(0)

    async def settle(self) -> TaskResult:
        """Read the result of a task that is said to have ended, until the result says so, too.

        Raises:
            APIError: It was refused.
            TransportError: Nothing has answered for longer than `Polling.unavailable_timeout`.
            DecodeError: Likewise, with answers that are not what the API documents.

        """
        while (result := self.result) is None:
            self._inquiry.heard_of_end(self._news.status, anyio.current_time())
            await self._read_result()
            if self.result is None:
                await anyio.sleep_until(self._schedule.next_poll_at)
        return result

    async def aclose(self) -> None:
        """Close the stream, under cancellation too; safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._count_oddities()
            await connection.aclose()

    async def _step(self) -> None:
        """Do the next thing that is due; polling goes on beside what may take long."""
        schedule, now = self._schedule, anyio.current_time()
        if self._connection is not None:
            if schedule.next_poll_at > now:
                await self._listen(self._connection, now)
            elif self._inquiry.was_cut:
                await self._race(self._read_stream, PollDecision.POLL)
            else:
                # Ahead of the first event of a new stream, so that it is clear what the stream adds to.
                with anyio.move_on_after(STREAM_LAG):
                    await self._look()
        elif schedule.stream_due > now:
            await self._share_a_look(until=schedule.stream_due)
        elif self._transport.has_free_stream:
            await self._race(self._open_stream)
        else:
            if not self._is_new:
                schedule.first_look_now()
            await self._share_a_look(wants_stream=True)

    async def _listen(self, connection: Connection, now: float) -> None:
        """Wait for the stream, alone for as long as no look is due: that costs a fraction of a race."""
        told = None
        if connection.is_patient:
            look = PollRequest(self.task_id, self._news.status, self._schedule)
            try:
                with self._shared_poller.listen(look):
                    await self._receive(connection, leaves_in=self._schedule.next_poll_at - now)
            finally:
                self._shared_poller.listened(look)
            told = look.told
            if told is not None and self._ready:
                self._schedule.poll_now()
            if self._ready or self._connection is None:
                return
        if told is not None or not connection.is_patient or self._schedule.next_poll_at <= anyio.current_time():
            await self._race(self._read_stream, told)

    async def _race(
        self, stream_side: Callable[[], Awaitable[None]], told: TaskStatus | PollDecision | None = None
    ) -> None:
        """Wait for the stream, looking at the task whenever that is due, until one of the two has news.

        Args:
            stream_side: What to wait for.
            told: What a look of others has brought.

        """
        has_come = False
        was_connected = self.is_connected

        async def stream() -> None:
            nonlocal has_come
            await stream_side()
            has_come = True
            group.cancel_scope.deadline = anyio.current_time() + self._grace()
            while self._may_read_ahead and self._connection is not None:
                await self._receive(self._connection)
                group.cancel_scope.deadline = anyio.current_time() + self._grace()

        try:
            async with FlatTaskGroup() as group:
                # The stream is the child: what httpcore does when it is cut off does not outlive a second,
                # one-shot cancellation of the caller. Each look is a child by itself.
                group.start_soon(stream)
                await self._poll_until_update(told)
                if not was_connected and not self.is_connected and not self._is_over:
                    # A stream that is about to open would have to be opened anew.
                    await anyio.sleep(STREAM_LAG)
                group.cancel_scope.cancel()
        finally:
            if not has_come and not self._may_go_on_listening:
                await self.aclose()

    @property
    def _may_go_on_listening(self) -> bool:
        """Whether the stream takes no harm from being left; one that lets a look be first does not get through."""
        return self._connection is not None and self._connection.is_patient and not self._ready

    @property
    def _is_over(self) -> bool:
        """Whether the terminal event is there."""
        return bool(self._ready) and self._ready[-1].is_terminal

    @property
    def _may_read_ahead(self) -> bool:
        """Whether the stream is read on while a request is let land, since a terminal event does not wait for it."""
        is_patient = self._connection is not None and self._connection.is_patient
        return is_patient and self._grace() == float("inf") and len(self._ready) < MAX_AHEAD

    def _grace(self) -> float:
        """Give the seconds that a request in flight has, now that the stream has an update."""
        if self._is_over or not self._inquiry.is_asking:
            return 0.0
        return float("inf") if self._inquiry.was_cut else POLL_GRACE

    # The stream

    async def _open_stream(self) -> None:
        if not self._transport.has_free_stream:
            # Another wait was quicker.
            return
        try:
            call = endpoints.stream_task_events(self.task_id)
            self._connection = await self._transport.open_stream(call, last_event_id=self._last_event_id)
        except FAILURES as failure:
            if failure.is_final:
                raise
            self._stream_broke(failure)
        else:
            self._news.connected()
        self._schedule.poll_now()

    async def _read_stream(self) -> None:
        """Read until there is news, the stream ends, or something calls for a look before its time."""
        planned = self._schedule.next_poll_at
        while self._connection is not None and not self._ready and self._schedule.next_poll_at >= planned:
            await self._receive(self._connection)

    async def _receive(self, connection: Connection, *, leaves_in: float = float("inf")) -> None:
        """Take in what comes next on the stream, or its end."""
        why: CyberunError | str = "the server closed it"
        try:
            received = await connection.receive(leaves_in=leaves_in)
        except (TransportError, DecodeError) as failure:
            received, why = None, failure
        self._last_event_id = connection.decoder.last_event_id
        self._schedule.retry_asked(connection.decoder.retry)
        if received is None:
            await self.aclose()
            self._stream_broke(why)
            self._schedule.poll_now()
            return
        now = anyio.current_time()
        for message in received:
            if self._take(message, now):
                return

    def _take(self, message: ServerSentEvent, now: float) -> bool:
        """Take in one message, and say whether it is the last."""
        try:
            event = read_event(message.event, message.data, self.task_id, self._transport.mismatches)
        except DecodeError as error:
            self._note_oddity("could not be read", f"an event could not be read, so the task is polled: {error}")
            self._schedule.poll_soon(now)
            return False
        if event.task_id != self.task_id and not is_same_task(event.task_id, self.task_id):
            self._note_oddity("were about another task", f"an event about task {event.task_id} was dropped")
            return False
        if isinstance(event, StatusEvent) and event.status == UNSTATED:
            self._schedule.poll_soon(now)
        accept = self._news.accept(event)
        if accept:
            self._ready.append(event)
        # Progress has no status as a rule, and this is the whole price of looking for one. All else may be known already.
        if not event.is_terminal and 'status"' in message.data and says_end(event, message.data):
            self._inquiry.heard_of_end(None, now)
            self._schedule.poll_for_end(now)
        elif accept:
            if isinstance(event, ErrorEvent):
                self._schedule.poll_soon(now)
            elif not isinstance(event, UnknownEvent):
                # One that nobody knows may be a heartbeat, which proves a connection and not a task.
                self._schedule.event_came(now)
        return event.is_terminal

    def _note_oddity(self, kind: str, message: str) -> None:
        """Log the first event of a kind; a stream full of them must not become a log full of them."""
        self._oddities = self._oddities or {}
        self._oddities[kind] = self._oddities.get(kind, 0) + 1
        if self._oddities[kind] == 1:
            log.warning("task %s: %s", self.task_id, message)

    def _count_oddities(self) -> None:
        """Log how many there were on the stream that ends."""
        for kind, count in (self._oddities or {}).items():
            if count > 1:
                log.warning("task %s: %d events of its stream %s", self.task_id, count, kind)
        self._oddities = None

    def _stream_broke(self, why: CyberunError | str) -> None:
        log.debug("task %s: the stream is down: %s", self.task_id, why)
        retry_after = why.retry_after if isinstance(why, APIError) else None
        self._schedule.stream_broke(anyio.current_time(), retry_after)

    # Looks

    async def _poll_until_update(self, told: TaskStatus | PollDecision | None) -> None:
        """Look again and again; or once, where the stream can be listened to alone until the next look."""
        if told is not None:
            await self._apply_decision(told, stream_goes_first=self._connection is not None)
        while not self._ready:
            await self._share_a_look(stream_goes_first=self._connection is not None)
            if self._may_go_on_listening:
                return

    async def _share_a_look(
        self, *, until: float = float("inf"), wants_stream: bool = False, stream_goes_first: bool = False
    ) -> None:
        """Wait for the client's looks to bring news of the task, and look at it alone where they say so."""
        look, due = (
            PollRequest(self.task_id, self._news.status, self._schedule, wants_stream=wants_stream),
            self._schedule.next_poll_at,
        )
        try:
            told = await self._shared_poller.turn(look, until=until)
        except BaseException:
            # A poll of all that was not answered in time for this one counts as cut off, too.
            self._inquiry.was_cut |= due <= anyio.current_time()
            raise
        await self._apply_decision(told, stream_goes_first=stream_goes_first)

    async def _apply_decision(self, told: TaskStatus | PollDecision, *, stream_goes_first: bool) -> None:
        """Act on what came of a shared look."""
        if told is PollDecision.POLL:
            await self._look(stream_goes_first=stream_goes_first)
        elif told is PollDecision.FETCH_RESULT:
            await self._poll_for_end(stream_goes_first=stream_goes_first)
        elif not isinstance(told, PollDecision):
            await self._apply_status(told, stream_goes_first=stream_goes_first)

    async def _look(self, *, stream_goes_first: bool = False) -> None:
        """Ask once: how the task stands, or for its result where something says that it has ended."""
        if self._schedule.is_deferred(anyio.current_time()):
            self._schedule.poll_now()
        elif self._inquiry.may_have_ended:
            await self._read_result()
        else:
            status = await self._poll()
            if status is not None:
                await self._apply_status(status, stream_goes_first=stream_goes_first)

    async def _poll(self) -> TaskStatus | None:
        """Ask how the task stands.

        Where that has failed for too long although the stream brings updates, the result is asked: it has a status, too.
        """
        try:
            task = await self._inquiry.task()
        except FAILURES as failure:
            may_pass = is_passing(failure, has_answered=self._transport.has_answered)
            if may_pass and self._schedule.has_event_in_outage(Question.TASK):
                with suppress(*FAILURES):
                    result = await self._inquiry.result()
                    if result is not None:
                        self._schedule.answered(Question.TASK)
                        return result.status
            raise
        return None if task is None else task.status

    async def _poll_for_end(self, *, stream_goes_first: bool) -> None:
        """Ask for the result of a task that is in no list of unfinished ones, and how the task stands by that."""
        self._schedule.looked(anyio.current_time())
        try:
            result = await self._inquiry.result()
        except APIError as failure:
            if not may_be_early(failure):
                raise
            # Lists may lack a task that has not ended, or whose result is not there yet: the task itself knows.
            await self._look(stream_goes_first=stream_goes_first)
            return
        if result is None:
            return
        if result.status.is_terminal:
            self._finish(result)
        elif result.status != UNSTATED:
            await self._apply_status(result.status, stream_goes_first=stream_goes_first)

    async def _apply_status(self, status: TaskStatus, *, stream_goes_first: bool = False) -> None:
        """Turn a status that was polled into an event where it is news."""
        if stream_goes_first and self._is_ahead(status):
            # Either the stream is about to tell it, or the look was behind, or else the stream is mute.
            await anyio.sleep(STREAM_LAG)
            polled = await self._poll()
            if polled is None:
                return
            status = polled
        if may_have_ended(status):
            # Without a known status it is the result that tells, however often it has to be asked.
            self._inquiry.heard_of_end(status if status.is_terminal else None, anyio.current_time())
            await self._read_result()
        elif self._is_ahead(status):
            self._tell(event_from_status(self.task_id, status))
            if stream_goes_first:
                self._stream_broke("it is open, but what happens does not come through")

    def _is_ahead(self, status: TaskStatus) -> bool:
        """Whether a look knows of a status that the stream has not told."""
        return not may_have_ended(status) and status != self._news.status and not self._schedule.has_event_since_poll

    async def _read_result(self) -> None:
        """Ask for the result, and plan to ask again where it is not final."""
        result = await self._inquiry.result()
        if result is not None and result.status.is_terminal:
            self._finish(result)
        else:
            self._schedule.lagging(anyio.current_time())

    def _finish(self, result: TaskResult) -> None:
        """Keep the final result, and hand out its event."""
        self.result = result
        self._tell(event_from_result(result))

    def _tell(self, event: TaskEvent) -> None:
        """Hand out what a look knows, and have it dropped from the stream."""
        self._news.accept(event)
        self._ready.append(event)
