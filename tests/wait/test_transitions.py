"""The transition tables of `_wait/state.py` and `_wait/inquiry.py`, row by row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.tables import table

from cyberun_async import (
    AuthenticationError,
    CompletedEvent,
    ConflictError,
    CyberunError,
    Polling,
    ProgressEvent,
    ServerError,
    StatusEvent,
    TaskResult,
    TaskStatus,
)
from cyberun_async._protocol.status import UNSTATED
from cyberun_async._wait.dedup import EventDeduplicator
from cyberun_async._wait.inquiry import Inquiry, PollDecision, Request
from cyberun_async._wait.schedule import PollSchedule, Question
from cyberun_async._wait.state import Action, Stream, WaitState

RUNNING, COMPLETED = TaskStatus.RUNNING, TaskStatus.COMPLETED


# What comes next


def opened(*, is_cancel_safe: bool = True, now: float = 101.0) -> WaitState:
    """Give a wait that began at 100, and whose stream is open; its first poll was answered."""
    state = WaitState("T", Polling(interval=3.0))
    state.start(100.0)
    state.opened(is_cancel_safe=is_cancel_safe)
    state.inquiry.poll()
    state.inquiry.sent(now)
    state.inquiry.poll_answered(RUNNING, now)
    state.dedup.accepted.clear()
    return state


def closed(*, until: float) -> WaitState:
    """Give a wait whose stream is to be opened at a time."""
    state = WaitState("T", Polling(interval=3.0))
    state.start(100.0)
    state.schedule.stream_due = until
    return state


def listened(state: WaitState, now: float) -> WaitState:
    """Have it read its stream until a time."""
    state.listened(None, now)
    return state


def cancelled(state: WaitState) -> WaitState:
    """Have its poll cancelled."""
    state.inquiry.poll()
    state.inquiry.sent(104.0)
    state.inquiry.cancelled()
    return state


def decided(state: WaitState) -> WaitState:
    """Have the shared poller decide while it reads its stream."""
    state.listened(PollDecision.FETCH_RESULT, 102.0)
    return state


@table(
    ("state", "now", "has_slot", "action"),
    [
        pytest.param(closed(until=100.0), 100.0, True, Action.OPEN_STREAM, id="closed, and its time has come"),
        pytest.param(closed(until=100.0), 100.0, False, Action.WAIT_FOR_SLOT, id="closed, and all are taken"),
        pytest.param(closed(until=105.0), 100.0, True, Action.WAIT, id="closed, to be opened later"),
        pytest.param(opened(), 102.0, True, Action.LISTEN, id="open, and no poll is due"),
        pytest.param(
            opened(is_cancel_safe=False), 102.0, True, Action.POLL_BESIDE_STREAM, id="open, of one's own client"
        ),
        pytest.param(opened(), 109.0, True, Action.POLL, id="open, and a poll is due"),
        pytest.param(listened(opened(), 109.0), 109.0, True, Action.POLL_BESIDE_STREAM, id="while listening"),
        pytest.param(decided(opened()), 102.0, True, Action.POLL_BESIDE_STREAM, id="by the shared poller"),
        pytest.param(cancelled(opened()), 104.0, True, Action.LAND_POLL, id="since the last poll was cancelled"),
    ],
)
def test_next_action(state: WaitState, now: float, action: Action, *, has_slot: bool) -> None:
    """By the stream, the time, and what happened to the last poll."""
    assert state.next_action(now, has_slot=has_slot) is action


def test_what_an_event_does_to_a_request() -> None:
    """The first is cancelled after a moment, and the one after it lands, while the stream is read on for a terminal event."""
    state, graces = opened(), []
    for _ in range(2):
        state.inquiry.poll(stream_first=True)
        state.inquiry.sent(104.0)
        graces.append((state.grace, state.reads_ahead))
        state.inquiry.cancelled()
    state.inquiry.poll()
    state.inquiry.sent(105.0)
    state.received(CompletedEvent(task_id="T"), "", 105.0)

    assert graces == [(0.25, False), (float("inf"), True)]
    assert (state.grace, state.keeps_stream) == (0.0, False)


def test_a_stream_that_is_left() -> None:
    """It is opened again at once where this side closed it, and after a back-off where it broke."""
    left, broken = opened(), opened()
    left.closed()
    broken.broke(102.0, retry_after=7.0)

    assert (left.stream, left.next_action(102.0, has_slot=True)) == (Stream.CLOSED, Action.OPEN_STREAM)
    assert (broken.stream, broken.next_action(102.0, has_slot=True)) == (Stream.CLOSED, Action.WAIT)
    assert broken.schedule.stream_due == 109.0


# What is asked next


class Asked:
    """An inquiry at 100, with what was asked of it.

    Attributes:
        inquiry: The inquiry.
        dedup: What it emits to.
        raised: The failure that it had raised.

    """

    def __init__(self, *, known: TaskStatus | None = RUNNING) -> None:
        self.schedule = PollSchedule(Polling(interval=3.0, unavailable_timeout=10.0))
        self.dedup = EventDeduplicator()
        self.inquiry = Inquiry("T", self.schedule, self.dedup, None)
        self.raised: CyberunError | None = None
        if known is not None:
            self.dedup.accept(StatusEvent(task_id="T", status=known))
            self.dedup.accepted.clear()

    def polled(self, status: TaskStatus, *, stream_first: bool = False) -> Asked:
        """Poll, and answer."""
        self.inquiry.poll(stream_first=stream_first)
        return self.answered(status)

    def answered(self, status: TaskStatus) -> Asked:
        """Answer what is planned."""
        self.inquiry.sent(100.0)
        if self.inquiry.question is Question.TASK:
            self.inquiry.poll_answered(status, 100.0)
        else:
            self.inquiry.result_answered(TaskResult(id="T", status=status), 100.0)
        return self

    def decided(self, decision: PollDecision | TaskStatus) -> Asked:
        """Have the shared poller decide."""
        self.inquiry.act_on(decision, 100.0)
        return self

    def failed(self, failure: CyberunError, now: float = 100.0) -> Asked:
        """Have what is planned fail."""
        self.inquiry.sent(now)
        self.raised = self.inquiry.failed(failure, now)
        return self

    def failing(self, *, beside_events: bool) -> Asked:
        """Have polls fail for as long as the timeout."""
        for now in (100.0, 103.0, 106.0, 109.0, 112.0):
            self.inquiry.poll()
            self.failed(BUSY, now)
            if beside_events:
                self.schedule.event_came(now + 1.0)
        return self


BUSY = ServerError(503, "busy", method="GET", path="/")
EARLY = ConflictError(409, "not yet", method="GET", path="/")
REVOKED = AuthenticationError(401, "revoked", method="GET", path="/")


@table(
    ("make", "planned", "emitted"),
    [
        pytest.param(lambda: Asked().polled(RUNNING), None, [], id="no update"),
        pytest.param(lambda: Asked(known=None).polled(RUNNING), None, ["running"], id="an update"),
        pytest.param(
            lambda: Asked(known=None).polled(RUNNING, stream_first=True), Request.CONFIRM, [], id="ahead of the stream"
        ),
        pytest.param(
            lambda: Asked(known=None).polled(RUNNING, stream_first=True).answered(RUNNING),
            None,
            ["running"],
            id="ahead of the stream, and confirmed",
        ),
        pytest.param(lambda: Asked().polled(COMPLETED), Request.FETCH_RESULT, [], id="terminal"),
        pytest.param(lambda: Asked().polled(UNSTATED), Request.FETCH_RESULT, [], id="no status"),
        pytest.param(lambda: Asked().polled(COMPLETED).answered(COMPLETED), None, ["completed"], id="a final result"),
        pytest.param(lambda: Asked().polled(COMPLETED).answered(RUNNING), None, [], id="a result that lags behind"),
        pytest.param(lambda: Asked().decided(PollDecision.POLL), Request.POLL, [], id="decided: poll"),
        pytest.param(lambda: Asked().decided(PollDecision.TRY_STREAM), None, [], id="decided: the stream"),
        pytest.param(lambda: Asked().decided(PollDecision.FETCH_RESULT), Request.FETCH_UNLISTED, [], id="unlisted"),
        pytest.param(lambda: Asked(known=None).decided(RUNNING), None, ["running"], id="a status of the lists"),
        pytest.param(
            lambda: Asked().decided(PollDecision.FETCH_RESULT).failed(EARLY), Request.POLL, [], id="unlisted, and early"
        ),
        pytest.param(
            lambda: Asked(known=None).decided(PollDecision.FETCH_RESULT).answered(RUNNING),
            None,
            ["running"],
            id="unlisted, and running",
        ),
        pytest.param(
            lambda: Asked().decided(PollDecision.FETCH_RESULT).answered(UNSTATED), None, [], id="unlisted, no status"
        ),
        pytest.param(
            lambda: Asked().failing(beside_events=True), Request.FETCH_INSTEAD, [], id="polls fail beside events"
        ),
        pytest.param(
            lambda: Asked().failing(beside_events=True).answered(COMPLETED),
            None,
            ["completed"],
            id="and the result is final",
        ),
    ],
)
def test_next_request(make: Callable[[], Asked], planned: Request | None, emitted: list[str]) -> None:
    """By what was planned, and what came of it."""
    asked = make()

    assert asked.inquiry.planned is planned
    assert [str(getattr(event, "status", "")) for event in asked.dedup.accepted] == emitted
    assert asked.raised is None


@table(
    ("make", "raised"),
    [
        pytest.param(lambda: Asked().decided(PollDecision.POLL).failed(BUSY), None, id="it may pass"),
        pytest.param(lambda: Asked().decided(PollDecision.POLL).failed(REVOKED), REVOKED, id="it does not pass"),
        pytest.param(lambda: Asked().failing(beside_events=False), BUSY, id="it has failed for too long"),
        pytest.param(
            lambda: Asked().failing(beside_events=True).failed(REVOKED), BUSY, id="and so did the result in its place"
        ),
    ],
)
def test_what_is_raised(make: Callable[[], Asked], raised: CyberunError | None) -> None:
    """What does not pass, or has failed for longer than the timeout; the poll's failure rather than that of its stand-in."""
    assert make().raised is raised


def test_a_poll_that_was_cancelled_is_due_at_once() -> None:
    """And it lands, with what follows from it."""
    asked = Asked()
    asked.inquiry.poll()
    asked.inquiry.sent(100.0)
    asked.inquiry.cancelled()
    landing = [asked.inquiry.was_cancelled]
    asked.inquiry.poll()
    for status in (COMPLETED, RUNNING):
        asked.answered(status)
        landing.append(asked.inquiry.was_cancelled)

    assert asked.schedule.next_poll_at > 100.0
    assert landing == [True, True, False]


def test_events_make_polls_rarer() -> None:
    """One that says how the task gets on does; an unknown one is no sign of life."""
    state = opened()
    planned = state.schedule.next_poll_at
    state.received(ProgressEvent(task_id="T", progress=0.5), "", 102.0)

    assert state.schedule.next_poll_at > planned
