"""When to poll a task and when to open its stream: plain arithmetic on a clock."""

from __future__ import annotations

import pytest

from cyberun_async import Polling
from cyberun_async._wait import schedule as schedule_module
from cyberun_async._wait.schedule import MAX_RECONNECT_DELAY, PollSchedule, Question

POLLING = Polling(interval=3.0, interval_while_streaming=15.0, unavailable_timeout=300.0)


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the middle of each poll's jitter and the longest of each reconnect's."""
    monkeypatch.setattr(schedule_module.random, "uniform", lambda low, high: 1.0 if low else high)


@pytest.fixture
def schedule() -> PollSchedule:
    """Give the schedule of a wait that began at 100 and polled at 101."""
    schedule = PollSchedule(POLLING)
    schedule.start(100.0)
    schedule.poll_sent(101.0)
    return schedule


def test_the_stream_comes_first() -> None:
    """At the start the stream is due at once, and a poll only where it does not answer within half a second."""
    schedule = PollSchedule(POLLING)
    schedule.start(100.0)
    schedule.start(200.0)

    assert (schedule.stream_due, schedule.next_poll_at) == (100.0, 100.5)


@pytest.mark.parametrize(
    ("interval", "is_new", "due"),
    [
        pytest.param(3.0, False, 100.5, id="half a second"),
        pytest.param(0.1, False, 100.1, id="never later than an interval"),
        pytest.param(3.0, True, 103.0, id="a task that was just submitted can hardly have ended"),
    ],
)
def test_the_first_poll_beside_a_stream_that_does_not_answer(interval: float, is_new: bool, due: float) -> None:
    """It comes soon, since a proxy may withhold the headers of a stream for as long as it likes."""
    schedule = PollSchedule(Polling(interval=interval))
    schedule.start(100.0, is_new=is_new)

    assert schedule.next_poll_at == due


def test_polls_are_an_interval_apart(schedule: PollSchedule) -> None:
    """Without events on the stream, the next poll comes after `interval`."""
    assert schedule.next_poll_at == 104.0


def test_polls_are_rarer_while_events_arrive(schedule: PollSchedule) -> None:
    """After an event on the stream the poll after the next comes after `interval_while_streaming`, and then `interval` again."""
    schedule.event_came(102.0)
    schedule.poll_sent(104.0)
    assert schedule.next_poll_at == 119.0

    schedule.poll_sent(119.0)
    assert schedule.next_poll_at == 122.0


@pytest.mark.parametrize(
    ("now", "due"),
    [
        pytest.param(101.2, 102.0, id="a second after the last"),
        pytest.param(103.0, 103.0, id="at once"),
        pytest.param(105.0, 104.0, id="never later than planned"),
    ],
)
def test_an_oddity_brings_the_poll_forward(schedule: PollSchedule, now: float, due: float) -> None:
    """A poll that an event calls for keeps its distance from the last."""
    schedule.poll_soon(now)

    assert schedule.next_poll_at == due


def test_a_first_poll_is_only_the_first(schedule: PollSchedule) -> None:
    """It is due at once, where there was none before."""
    fresh = PollSchedule(POLLING)
    fresh.first_poll_now()
    schedule.first_poll_now()

    assert fresh.next_poll_at == float("-inf")
    assert schedule.next_poll_at == 104.0


def test_a_lagging_result_is_read_ever_later(schedule: PollSchedule) -> None:
    """The delays double, up to the interval."""
    delays = []
    for _ in range(7):
        schedule.back_off(0.0)
        delays.append(schedule.next_poll_at)

    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0]


@pytest.mark.parametrize(
    ("failures", "is_over"),
    [
        pytest.param([(0, 0)], False, id="one"),
        pytest.param([(0, 1000)], False, id="one that takes longer than the patience"),
        pytest.param([(0, 0), (3, 3), (299, 299)], False, id="for less than the patience"),
        pytest.param([(0, 0), (3, 3), (300, 300)], True, id="for as long as the patience"),
        pytest.param([(0, 60), (63, 123), (126, 186), (189, 249), (252, 312)], False, id="the slowest does not count"),
        pytest.param([(0, 60), (63, 123), (126, 186), (189, 249), (252, 312), (315, 375)], True, id="but the next one"),
        pytest.param([(0, 0), (3, 3), (6, 4000)], False, id="the process stood still in the middle of a request"),
        pytest.param([(0, 0), (299, 299), (302, 4000), (4003, 4003)], True, id="and then another one fails"),
        pytest.param([(0, 0), (3, 3), (4000, 4000, 3994)], False, id="the process stood still between two"),
        pytest.param([(0, 0), (299, 299), (4000, 4000, 3698)], False, id="near the end of the patience, too"),
        pytest.param([(0, 0), (299, 299), (4000, 4000, 3698), (4003, 4003)], True, id="and then another one fails"),
        pytest.param([(0, 0), (299, 299), (400, 400, 98), (500, 500, 97)], True, id="a caller who is always late"),
    ],
)
def test_patience(failures: list[tuple[float, ...]], *, is_over: bool) -> None:
    """It is over once somebody has asked in vain for so long; each failure is when it was asked, had failed, and how late."""
    schedule = PollSchedule(POLLING)
    verdicts = [schedule.failed(Question.TASK, began, now, late=sum(late)) for began, now, *late in failures]

    assert verdicts == [False] * (len(failures) - 1) + [is_over]


def test_each_question_has_a_patience_of_its_own(schedule: PollSchedule) -> None:
    """An answer to one resets its own failures, and no other's."""
    for now in (0.0, 299.0):
        assert not schedule.failed(Question.TASK, now, now)
        assert not schedule.failed(Question.RESULT, now, now)
    schedule.answered(Question.TASK)

    assert not schedule.failed(Question.TASK, 301.0, 301.0)
    assert schedule.failed(Question.RESULT, 301.0, 301.0)


@pytest.mark.parametrize(
    ("retry_after", "due"),
    [
        pytest.param(None, 104.0, id="none"),
        pytest.param(1.0, 104.0, id="shorter than the interval"),
        pytest.param(20.0, 121.0, id="longer than the interval"),
        pytest.param(3600.0, 401.0, id="longer than the patience"),
    ],
)
def test_the_server_may_ask_to_be_left_alone(schedule: PollSchedule, retry_after: float | None, due: float) -> None:
    """A `Retry-After` delays the next poll, whatever asks for one meanwhile, and never beyond the patience."""
    schedule.failed(Question.TASK, 101.0, 101.0, retry_after=retry_after)
    assert schedule.next_poll_at == due

    if due > 104.0:
        for hasten in (schedule.poll_now, lambda: schedule.poll_soon(102.0), lambda: schedule.back_off(102.0)):
            hasten()
            assert schedule.next_poll_at == due
        assert schedule.is_deferred(due - 1.0)
        assert not schedule.is_deferred(due)


def test_a_poll_is_late_from_the_time_that_was_planned(schedule: PollSchedule) -> None:
    """So is one that something asks for at once: the stream breaks first when a stopped process wakes."""
    assert [schedule.lateness(now) for now in (103.0, 104.0, 110.0)] == [0.0, 0.0, 6.0]
    schedule.poll_now()
    assert [schedule.lateness(now) for now in (103.0, 110.0)] == [0.0, 6.0]


def test_a_poll_that_nobody_planned_is_not_late() -> None:
    """A wait may begin with the result, where something else has reported the end."""
    assert PollSchedule(Polling()).lateness(1000.0) == 0.0


def test_an_event_in_an_outage(schedule: PollSchedule) -> None:
    """It is one that came after the first request that failed."""
    assert not schedule.has_event_in_outage(Question.TASK)
    schedule.event_came(101.0)
    schedule.failed(Question.TASK, 102.0, 102.0)
    assert not schedule.has_event_in_outage(Question.TASK)
    schedule.event_came(103.0)
    assert schedule.has_event_in_outage(Question.TASK)


def test_reconnects_back_off_until_there_is_news(schedule: PollSchedule) -> None:
    """Each fruitless try doubles the longest delay, up to a minute; an event on the stream begins anew."""
    delays = []
    for _ in range(9):
        schedule.stream_broke(0.0)
        delays.append(schedule.stream_due)
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]

    schedule.event_came(0.0)
    schedule.stream_broke(0.0)
    assert schedule.stream_due == 0.5


@pytest.mark.parametrize(
    ("retry", "retry_after", "delay"),
    [
        pytest.param(None, None, 0.5, id="neither"),
        pytest.param(2000, None, 2.0, id="retry: is a floor"),
        pytest.param(0, None, 0.5, id="of zero"),
        pytest.param(-5, None, 0.5, id="of less than zero"),
        pytest.param(10**400, None, MAX_RECONNECT_DELAY, id="of any size"),
        pytest.param(None, 120.0, 120.0, id="Retry-After is one, too"),
        pytest.param(2000, 1.0, 2.0, id="the longer counts"),
    ],
)
def test_the_server_may_ask_for_more(
    schedule: PollSchedule, retry: int | None, retry_after: float | None, delay: float
) -> None:
    """What the server asks for is the least delay before the next stream."""
    schedule.retry_asked(retry)
    schedule.stream_broke(0.0, retry_after)

    assert schedule.stream_due == delay


def test_an_event_gives_the_next_poll_time(schedule: PollSchedule) -> None:
    """The first event after a poll moves the next one to `interval_while_streaming` after it, and further events move it no more."""
    schedule.event_came(102.0)
    assert schedule.next_poll_at == 116.0

    schedule.event_came(110.0)
    assert schedule.next_poll_at == 116.0


@pytest.mark.parametrize(
    ("now", "due"),
    [
        pytest.param(101.5, 102.0, id="before its time"),
        pytest.param(103.9, 103.9, id="at once"),
        pytest.param(104.5, 104.0, id="when it was due anyhow"),
    ],
)
def test_an_event_puts_off_no_poll_that_was_called_for(schedule: PollSchedule, now: float, due: float) -> None:
    """A poll that an oddity or a break of the stream calls for comes although events arrive."""
    schedule.poll_soon(now)
    schedule.event_came(now)
    assert schedule.next_poll_at == due

    schedule.poll_now()
    schedule.event_came(now)
    assert schedule.next_poll_at == float("-inf")
