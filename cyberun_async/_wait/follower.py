"""Following one task by its event stream and by polls: carries out what the pure machine decides.

`TaskFollower.next` asks `WaitState` for the next action, does it, and reports what happened, until there is an event to
hand out. Nothing runs between two calls of it: no task, no timer, no scope that a user's code would be inside of. What
is kept from one call to the next is the open connection and the state.

Most of the time only one thing is waited for, in the caller's own task: the stream, until a poll is due (`_listen`), or
the shared poller, where there is no stream (`_poll`). A poll that is due meanwhile, or a stream that opens, takes two at
once (`_race`): a task group with the stream as its child and the requests in its body, which begins and ends within the
step. The child sets the deadline of the group when it has an update: that is the time which a request in flight gets.

Rejected: `wait_for_result` takes the same steps. A group of two children for the whole of it, with the machine between them, would
cancel no poll, but `events()` would need the steps all the same, since no group may span a user's loop: two ways to
carry the actions out instead of one, and a task more for each wait that has a stream.

A step that is cancelled closes the stream, unless it is cancel-safe and nothing was read; the next step opens another.
"""

import logging
from collections.abc import Awaitable, Callable

import anyio

from cyberun_async._concurrency import FlatTaskGroup
from cyberun_async._errors import APIError, CyberunError, DecodeError, TokenError, TransportError
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.events import TaskEvent, read_event
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import TaskResult, is_same_task
from cyberun_async._settings import Polling
from cyberun_async._transport.sse import ServerSentEvent
from cyberun_async._transport.stream import Connection
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.inquiry import Request
from cyberun_async._wait.odd_events import OddEvents
from cyberun_async._wait.poll_request import PollRequest
from cyberun_async._wait.schedule import Question
from cyberun_async._wait.shared_poller import SharedPoller
from cyberun_async._wait.state import STREAM_LAG, Action, Stream, WaitState
from cyberun_async._wait.wakes import WaitsOfTask

log = logging.getLogger("cyberun_async.events")

FAILURES = (APIError, TransportError, DecodeError, TokenError)
"""What a request may fail with and the wait go on."""


class TaskFollower:
    """Follows a task, one step at a time.

    Args:
        transport: Sends the requests.
        shared_poller: Shares the polls with all other waits of the client.
        task_id: The task.
        polling: How often it is polled.
        is_new: Whether the task was submitted a moment ago, so that there is no hurry to see how it stands.

    Attributes:
        task_id: The task.

    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_last_event_id",
        "_odd",
        "_request",
        "_shared_poller",
        "_state",
        "_transport",
        "_waits",
        "task_id",
    )

    def __init__(
        self, transport: Transport, shared_poller: SharedPoller, task_id: str, polling: Polling, *, is_new: bool = False
    ) -> None:
        # Raises where it is no id.
        endpoints.get_task(task_id)
        self.task_id: str = task_id
        self._transport = transport
        self._shared_poller = shared_poller
        self._state = WaitState(task_id, polling, transport.recent.time_of(task_id), is_new=is_new)
        self._odd: OddEvents | None = None
        self._connection: Connection | None = None
        self._last_event_id = ""
        # What the shared poller has, while this waits for it.
        self._request: PollRequest | None = None
        self._waits: WaitsOfTask | None = None

    def __repr__(self) -> str:
        """Show where it stands."""
        return f"<{type(self).__name__} of task {self.task_id}: {self._state!r}>"

    @property
    def status(self) -> TaskStatus | None:
        """The last status seen."""
        return self._state.dedup.status

    @property
    def is_connected(self) -> bool:
        """Whether a stream is open."""
        return self._connection is not None

    async def next(self) -> TaskEvent:
        """Wait for the next event; with a terminal one the stream is closed already.

        Raises:
            APIError: A poll was refused.
            TransportError: Nothing has answered for longer than `Polling.unavailable_timeout`.
            DecodeError: Likewise, with responses that are not what the API documents.
            TokenError: Likewise, with failures of the token provider.

        """
        state, events = self._state, self._state.dedup.accepted
        try:
            while not events:
                now = anyio.current_time()
                state.start(now)
                # After the start, which plans the first poll.
                self._waits = self._waits or self._shared_poller.wakes.join(self)
                await self._carry_out(state.next_action(now, has_slot=self._transport.has_free_stream))
            if events[0].is_terminal:
                await self.aclose()
        except BaseException:
            # A caller who was cancelled may not come back, and httpcore has given up the connection already.
            await self.aclose()
            raise
        return events.pop(0)

    def wake(self) -> None:
        """Poll, now or as soon as a request in flight or the caller's callback is done: something has reported the end."""
        # The schedule keeps it, in case that the waiting is cancelled just now.
        self._state.schedule.poll_now()
        if self._request is not None:
            self._shared_poller.wake(self._request)

    async def settle(self) -> TaskResult:
        """Fetch the result of a task whose terminal event is there, until the result is final, too.

        Raises:
            APIError: It was refused.
            TransportError: Nothing has answered for longer than `Polling.unavailable_timeout`.
            DecodeError: Likewise, with responses that are not what the API documents.

        """
        inquiry = self._state.inquiry
        while (result := inquiry.result) is None:
            inquiry.settle(anyio.current_time())
            await self._ask()
            if inquiry.result is None:
                await anyio.sleep_until(self._state.schedule.next_poll_at)
        return result

    async def aclose(self) -> None:
        """Close the stream, under cancellation too; safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._state.closed()
            if self._odd is not None:
                self._odd.report()
                self._odd = None
            await connection.aclose()

    async def _carry_out(self, action: Action) -> None:
        """Do one thing, until it has brought an event or something else is to be done."""
        state = self._state
        match action:
            case Action.LISTEN:
                await self._listen()
            case Action.POLL_BESIDE_STREAM:
                await self._race(self._read_stream)
            case Action.LAND_POLL:
                state.inquiry.poll(stream_first=True)
                await self._race(self._read_stream)
            case Action.POLL:
                state.inquiry.poll()
                # The stream may have brought the end.
                with anyio.move_on_after(STREAM_LAG):
                    await self._ask()
            case Action.OPEN_STREAM:
                await self._race(self._open_stream)
            case Action.WAIT:
                await self._poll(until=state.schedule.stream_due)
            case _:
                # `WAIT_FOR_SLOT`.
                state.slots_taken()
                await self._poll(wants_slot=True)

    async def _race(self, stream_side: Callable[[], Awaitable[None]]) -> None:
        """Poll beside the stream until there is an event, or the polls are done and the stream can be read alone."""
        state, was_open, has_come = self._state, self.is_connected, False

        async def stream() -> None:
            nonlocal has_come
            await stream_side()
            has_come = True
            group.cancel_scope.deadline = anyio.current_time() + state.grace
            while state.reads_ahead:
                await self._receive()
                group.cancel_scope.deadline = anyio.current_time() + state.grace

        try:
            async with FlatTaskGroup() as group:
                # The stream is the child: what httpcore does when it is cancelled does not outlive a second,
                # one-shot cancellation of the caller. Each request is a child by itself.
                group.start_soon(stream)
                while not state.dedup.accepted:
                    await self._poll()
                    if state.keeps_stream:
                        break
                if not was_open and state.stream is Stream.CLOSED and not state.dedup.is_over:
                    # The polls are done before the stream is open: it gets a moment, as cancelling it means opening another.
                    await anyio.sleep(STREAM_LAG)
                group.cancel_scope.cancel()
        finally:
            if not has_come and not state.keeps_stream:
                await self.aclose()

    # The stream

    async def _open_stream(self) -> None:
        if not self._transport.has_free_stream:
            # Another wait was quicker.
            return
        call = endpoints.stream_task_events(self.task_id)
        try:
            connection = await self._transport.open_stream(call, last_event_id=self._last_event_id)
        except FAILURES as failure:
            if failure.is_final:
                raise
            self._broke(failure)
        else:
            self._connection = connection
            self._state.opened(is_cancel_safe=connection.is_cancel_safe)

    async def _listen(self) -> None:
        """Read the stream alone, which costs a fraction of a race."""
        schedule = self._state.schedule
        self._request = request = PollRequest(self.task_id, self.status, schedule)
        try:
            with self._shared_poller.listen(request):
                await self._receive(timeout=schedule.next_poll_at - anyio.current_time())
        finally:
            self._request = None
            self._shared_poller.listened(request)
        self._state.listened(request.decision, anyio.current_time())

    async def _read_stream(self) -> None:
        """Read until there is an update, the stream ends, or something calls for a poll before its time."""
        state, planned = self._state, self._state.schedule.next_poll_at
        while self.is_connected and not state.dedup.accepted and state.schedule.next_poll_at >= planned:
            await self._receive()

    async def _receive(self, *, timeout: float = float("inf")) -> None:
        """Take what comes next on the stream, or its end."""
        connection = self._connection
        if connection is None:
            raise AssertionError("unreachable")
        why: CyberunError | str = "the server closed it"
        try:
            received = await connection.receive(caller_timeout=timeout)
        except (TransportError, DecodeError) as failure:
            received, why = None, failure
        self._last_event_id = connection.decoder.last_event_id
        self._state.schedule.retry_asked(connection.decoder.retry)
        if received is None:
            await self.aclose()
            self._broke(why)
            return
        now = anyio.current_time()
        for message in received:
            if self._take(message, now):
                return

    def _take(self, message: ServerSentEvent, now: float) -> bool:
        """Take one message, and say whether it is the last."""
        try:
            event = read_event(message.event, message.data, self.task_id, self._transport.mismatches)
        except DecodeError as error:
            self._note_odd("could not be read", f"an event could not be read, so the task is polled: {error}")
            self._state.unreadable(now)
            return False
        if event.task_id != self.task_id and not is_same_task(event.task_id, self.task_id):
            self._note_odd("were about another task", f"an event about task {event.task_id} was dropped")
            return False
        self._state.received(event, message.data, now)
        return event.is_terminal

    def _note_odd(self, kind: str, message: str) -> None:
        self._odd = self._odd or OddEvents(self.task_id)
        self._odd.note(kind, message)

    def _broke(self, why: CyberunError | str) -> None:
        log.debug("task %s: the stream is down: %s", self.task_id, why)
        self._state.broke(anyio.current_time(), why.retry_after if isinstance(why, APIError) else None)

    # Requests

    async def _poll(self, *, until: float = float("inf"), wants_slot: bool = False) -> None:
        """Send what is planned, or what the shared poller decides."""
        inquiry, due, stream_first = self._state.inquiry, self._state.schedule.next_poll_at, self.is_connected
        if inquiry.planned is None:
            self._request = PollRequest(self.task_id, self.status, self._state.schedule, wants_slot=wants_slot)
            try:
                decision = await self._shared_poller.decide(self._request, until=until)
            except BaseException:
                inquiry.missed_poll(due, anyio.current_time())
                raise
            finally:
                self._request = None
            inquiry.act_on(decision, anyio.current_time(), stream_first=stream_first)
        await self._ask()

    async def _ask(self) -> None:
        """Send what is planned, and what the responses call for, until nothing is planned."""
        inquiry = self._state.inquiry
        try:
            while (request := inquiry.next_request(anyio.current_time())) is not None:
                if request is Request.CONFIRM:
                    await anyio.sleep(STREAM_LAG)
                failure = await self._send()
                if failure is not None:
                    raise failure
        except BaseException:
            inquiry.cancelled()
            raise

    async def _send(self) -> CyberunError | None:
        """Send one request, and give the failure that the wait has to raise, if there is one."""
        inquiry, transport, question = self._state.inquiry, self._transport, self._state.inquiry.question
        inquiry.sent(anyio.current_time())
        try:
            if question is Question.TASK:
                task = await transport.send_once(endpoints.get_task(self.task_id))
                inquiry.poll_answered(task.status, anyio.current_time())
            else:
                result = await transport.send_once(endpoints.get_task_result(self.task_id))
                inquiry.result_answered(result, anyio.current_time())
        except FAILURES as failure:
            log.debug("task %s: asking %s failed: %s", self.task_id, question.value, failure)
            return inquiry.failed(failure, anyio.current_time(), has_answered=transport.has_answered)
        return None
