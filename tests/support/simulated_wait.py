"""A wait without a loop, a client or a server: the pure machine driven through a world by plain generators.

Each hand of a wait (its stream, its requests) is a generator that yields the time at which it goes on, so hours take
microseconds, and hypothesis shrinks a world to what matters. It stands in for `TaskFollower`, and shares no code with it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain, cycle, repeat

import attrs

from cyberun_async import CyberunError, DecodeError, Polling, ServerError, TaskResult, TaskStatus, TransportError
from cyberun_async._protocol.events import ErrorEvent, ProgressEvent, StatusEvent, TaskEvent, UnknownEvent
from cyberun_async._wait.inquiry import PollDecision, Request
from cyberun_async._wait.schedule import Question
from cyberun_async._wait.state import STREAM_LAG, Action, Stream, WaitState

TASK = "task-1"

Hand = Generator[float, None, None]


@attrs.frozen
class Streaming:
    """What one stream does.

    Attributes:
        after: Seconds until the server answers; for ever, where it withholds its headers.
        is_refused: Whether it refuses.
        retry_after: What a refusal asks for.
        is_cancel_safe: Whether reading it can be cancelled and resumed.
        items: What comes, each after so many seconds.
        is_endless: Whether that comes again and again; otherwise the stream ends, or falls silent.
        ends: Whether it ends.

    """

    after: float = 0.0
    is_refused: bool = False
    retry_after: float | None = None
    is_cancel_safe: bool = True
    items: tuple[tuple[float, str], ...] = ()
    is_endless: bool = False
    ends: bool = False

    def play(self) -> Iterator[tuple[float, str]]:
        """Give what comes, and when."""
        yield from cycle(self.items) if self.is_endless else self.items
        yield (0.0, "end") if self.ends else (float("inf"), "end")


@attrs.frozen
class World:
    """What happens around a wait.

    Attributes:
        ends_at: When the task ends.
        calm_at: From when on requests are answered.
        latencies: How long requests take, one after the other, again and again.
        failures: What becomes of requests before `calm_at`, likewise.
        broken: Of which questions.
        lag: Seconds after the end for which the result is not there yet.
        streams: The streams, the last of which serves all that follow.
        decisions: What the shared poller decides when it is due, likewise.
        has_slot: Whether there is a stream for this wait.
        wakes: When the shared poller decides something while the wait reads its stream.
        jumps: When time jumps, and by how much.

    """

    ends_at: float
    calm_at: float = 0.0
    latencies: tuple[float, ...] = (0.0,)
    failures: tuple[str, ...] = ("502",)
    broken: frozenset[Question] = frozenset(Question)
    lag: float = 0.0
    streams: tuple[Streaming, ...] = (Streaming(),)
    decisions: tuple[str, ...] = ("poll",)
    has_slot: bool = True
    wakes: tuple[float, ...] = ()
    jumps: tuple[tuple[float, float], ...] = ()


@attrs.frozen
class Sent:
    """One request, and what the server asked for before it."""

    question: Question
    at: float
    not_before: float


class Simulation:
    """A wait in a world.

    Attributes:
        state: The machine.
        now: The time.
        seen: The events that were handed out, and when.
        sent: The requests.
        error: What was raised.
        cancelled: How many requests were cancelled by events, one after the other, at most.

    """

    def __init__(self, world: World, polling: Polling, submitted_at: float | None = None) -> None:
        self.state = WaitState(TASK, polling, submitted_at)
        self.now = 0.0
        self.seen: list[tuple[float, TaskEvent]] = []
        self.sent: list[Sent] = []
        self.error: CyberunError | None = None
        self.cancelled = 0
        self._world = world
        self._jumps = list(world.jumps)
        self._wakes = list(world.wakes)
        self._latencies = cycle(world.latencies)
        self._failures = cycle(world.failures)
        self._decisions = cycle(world.decisions)
        self._streams = chain(world.streams[:-1], repeat(world.streams[-1]))
        # The stream: what comes, the next of it, and when the one before it came.
        self._items: Iterator[tuple[float, str]] = iter(())
        self._next_item: tuple[float, str] | None = None
        self._came_at = 0.0
        # A race: when it ends, whether its stream has an update, and whether it was that which ended it.
        self._deadline = float("inf")
        self._has_come = self._is_by_event = False
        self._cancelled = 0
        self._not_before = float("-inf")
        self._number = 0

    def run(self, until: float) -> None:
        """Follow the task to its end."""
        state, events = self.state, self.state.dedup.accepted
        state.start(self.now)
        try:
            while self.now < until:
                while not events and self.now < until:
                    self._carry_out(state.next_action(self.now, has_slot=self._world.has_slot))
                while events:
                    event = events.pop(0)
                    self.seen.append((self.now, event))
                    if event.is_terminal:
                        return
        except CyberunError as error:
            self.error = error

    def _carry_out(self, action: Action) -> None:
        state = self.state
        if action is Action.LISTEN:
            self._listen()
        elif action is Action.POLL_BESIDE_STREAM:
            self._race(self._read())
        elif action is Action.LAND_POLL:
            state.inquiry.poll(stream_first=True)
            self._race(self._read())
        elif action is Action.POLL:
            state.inquiry.poll()
            self._run(self._ask(), self.now + STREAM_LAG)
        elif action is Action.OPEN_STREAM:
            self._race(self._open())
        elif action is Action.WAIT:
            self._run(self._poll(state.schedule.stream_due))
        else:
            state.slots_taken()
            self._run(self._poll())

    # Time

    def _reach(self, when: float) -> None:
        self.now = max(self.now, when)
        while self._jumps and self._jumps[0][0] <= self.now:
            self.now += self._jumps.pop(0)[1]

    def _run(self, hand: Hand, deadline: float = float("inf")) -> None:
        for wakes_at in hand:
            if wakes_at > deadline:
                self._reach(deadline)
                hand.close()
                return
            self._reach(wakes_at)

    def _race(self, side: Hand) -> None:
        state, was_open = self.state, self.state.stream is not Stream.CLOSED
        self._deadline, self._has_come = float("inf"), False
        polls = self._polls(was_open=was_open)
        hands = {"stream": self._stream(side), "polls": polls}
        wakes = {"stream": self.now, "polls": self.now}
        while "polls" in hands:
            name = min(hands, key=lambda each: wakes[each])
            if wakes[name] >= self._deadline:
                self._reach(self._deadline)
                self._is_by_event = True
                break
            self._reach(wakes[name])
            try:
                wakes[name] = next(hands[name])
            except StopIteration:
                del hands[name]
        for hand in hands.values():
            hand.close()
        self._is_by_event = False
        if not self._has_come and not state.keeps_stream:
            self.state.closed()

    def _stream(self, side: Hand) -> Hand:
        yield from side
        self._has_come = True
        self._deadline = self.now + self.state.grace
        while self.state.reads_ahead:
            yield from self._receive()
            self._deadline = self.now + self.state.grace

    def _polls(self, *, was_open: bool) -> Hand:
        state = self.state
        while not state.dedup.accepted:
            yield from self._poll()
            if state.keeps_stream:
                return
        if not was_open and state.stream is Stream.CLOSED and not state.dedup.is_over:
            yield self.now + STREAM_LAG

    # Requests

    def _poll(self, until: float = float("inf")) -> Hand:
        inquiry = self.state.inquiry
        stream_first = self.state.stream is not Stream.CLOSED
        decision: PollDecision | TaskStatus | None = None
        while inquiry.planned is None and decision is None:
            due = self.state.schedule.next_poll_at
            try:
                yield min(due, until)
            except GeneratorExit:
                inquiry.missed_poll(due, self.now)
                raise
            decision = PollDecision.TRY_STREAM if due > until else self._decision()
        if decision is not None:
            inquiry.act_on(decision, self.now, stream_first=stream_first)
        yield from self._ask()

    def _decision(self) -> PollDecision | TaskStatus | None:
        """Give what the shared poller decides, or what it has seen; what is no update leads to no decision."""
        decision = next(self._decisions)
        if decision == "poll" or self.now < self._world.calm_at:
            return PollDecision.POLL
        if decision == "unlisted" or self._status.is_terminal:
            return PollDecision.FETCH_RESULT
        self.state.schedule.poll_sent(self.now)
        self.state.schedule.answered(Question.TASK)
        return None if self._status == self.state.dedup.status else self._status

    def _ask(self) -> Hand:
        inquiry = self.state.inquiry
        try:
            while (request := inquiry.next_request(self.now)) is not None:
                if request is Request.CONFIRM:
                    yield self.now + STREAM_LAG
                yield from self._send(inquiry.question)
        except GeneratorExit:
            if inquiry.is_asking and self._is_by_event:
                self._cancelled += 1
                self.cancelled = max(self.cancelled, self._cancelled)
            inquiry.cancelled()
            raise

    def _send(self, question: Question) -> Hand:
        inquiry = self.state.inquiry
        self.sent.append(Sent(question, self.now, self._not_before))
        inquiry.sent(self.now)
        yield self.now + next(self._latencies)
        self._cancelled = 0
        if self.now < self._world.calm_at and question in self._world.broken:
            failure = self._failure(next(self._failures))
            if failure is not None:
                raised = inquiry.failed(failure, self.now, has_answered=True)
                if raised is not None:
                    raise raised
                return
        if question is Question.TASK:
            inquiry.poll_answered(self._status, self.now)
        else:
            is_there = self.now >= self._world.ends_at + self._world.lag
            status = self._status if is_there else TaskStatus.RUNNING
            inquiry.result_answered(TaskResult(id=TASK, status=status), self.now)

    @property
    def _status(self) -> TaskStatus:
        return TaskStatus.COMPLETED if self.now >= self._world.ends_at else TaskStatus.RUNNING

    def _failure(self, kind: str) -> CyberunError | None:
        if kind == "none":
            return None
        if kind == "unreadable":
            return DecodeError("not JSON")
        if kind == "unreachable":
            return TransportError("no connection", method="GET", path="/", may_have_been_sent=False)
        code, _, seconds = kind.partition(" ")
        if seconds:
            self._not_before = self.now + float(seconds)
        return ServerError(int(code), "busy", method="GET", path="/", retry_after=float(seconds) if seconds else None)

    # The stream

    def _open(self) -> Hand:
        if not self._world.has_slot:
            return
        streaming = next(self._streams)
        yield self.now + streaming.after
        if streaming.is_refused:
            self.state.broke(self.now, streaming.retry_after)
            return
        self._items, self._next_item = streaming.play(), None
        self._came_at = self.now
        self.state.opened(is_cancel_safe=streaming.is_cancel_safe)

    def _listen(self) -> None:
        state = self.state
        self._run(self._receive(), min([state.schedule.next_poll_at, *self._wakes[:1]]))
        decision = None
        if self._wakes and self.now >= self._wakes[0]:
            del self._wakes[0]
            decision = self._decision()
        state.listened(decision, self.now)

    def _read(self) -> Hand:
        state, planned = self.state, self.state.schedule.next_poll_at
        while state.stream is not Stream.CLOSED and not state.dedup.accepted and state.schedule.next_poll_at >= planned:
            yield from self._receive()

    def _receive(self) -> Hand:
        """Take what comes next; where it is left, it comes again."""
        if self._next_item is None:
            gap, kind = next(self._items)
            self._next_item = self._came_at + gap, kind
        comes_at, kind = self._next_item
        yield max(comes_at, self.now)
        self._next_item, self._came_at = None, comes_at
        state = self.state
        self._number += 1
        if kind == "end":
            state.broke(self.now)
        elif kind == "unreadable":
            state.unreadable(self.now)
        elif kind == "progress":
            state.received(ProgressEvent(task_id=TASK, step_current=self._number), "", self.now)
        elif kind == "error":
            state.received(ErrorEvent(task_id=TASK, message=str(self._number)), "", self.now)
        elif kind == "unknown":
            state.received(UnknownEvent(task_id=TASK, name="beat", data=str(self._number)), "", self.now)
        else:
            status = TaskStatus(kind)
            state.received(StatusEvent(task_id=TASK, status=status), f'"status": "{kind}"', self.now)
