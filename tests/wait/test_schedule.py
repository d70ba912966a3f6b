"""When to look at a task and when to try its stream: plain arithmetic on a clock."""

from __future__ import annotations

import pytest

from cyberun_async import Polling
from cyberun_async._wait import schedule
from cyberun_async._wait.schedule import LONGEST_RECONNECT, Pace, Question

POLLING = Polling(interval=3.0, relaxed=15.0, patience=300.0)


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the middle of each look's jitter and the longest of each reconnect's."""
    monkeypatch.setattr(schedule.random, "uniform", lambda low, high: 1.0 if low else high)


@pytest.fixture
def pace() -> Pace:
    """Give the pace of a wait that began at 100 and looked at 101."""
    pace = Pace(POLLING)
    pace.start(100.0)
    pace.looked(101.0)
    return pace


def test_the_stream_comes_first() -> None:
    """At the start the stream is due at once, and a poll only where it does not answer within half a second."""
    pace = Pace(POLLING)
    pace.start(100.0)
    pace.start(200.0)

    assert (pace.stream_due, pace.look_due) == (100.0, 100.5)


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
    pace = Pace(Polling(interval=interval))
    pace.start(100.0, is_new=is_new)

    assert pace.look_due == due


def test_looks_are_an_interval_apart(pace: Pace) -> None:
    """Without events on the stream, the next look comes after `interval`."""
    assert pace.look_due == 104.0


def test_looks_relax_while_events_arrive(pace: Pace) -> None:
    """After an event on the stream the look after the next comes after `relaxed`, and then `interval` again."""
    pace.event_came(102.0)
    pace.looked(104.0)
    assert pace.look_due == 119.0

    pace.looked(119.0)
    assert pace.look_due == 122.0


@pytest.mark.parametrize(
    ("now", "due"),
    [
        pytest.param(101.2, 102.0, id="a second after the last"),
        pytest.param(103.0, 103.0, id="at once"),
        pytest.param(105.0, 104.0, id="never later than planned"),
    ],
)
def test_an_oddity_brings_the_look_forward(pace: Pace, now: float, due: float) -> None:
    """A look that an event asks for keeps its distance from the last."""
    pace.look_soon(now)

    assert pace.look_due == due


def test_a_first_look_is_only_the_first(pace: Pace) -> None:
    """It is due at once, where there was none before."""
    fresh = Pace(POLLING)
    fresh.first_look_now()
    pace.first_look_now()

    assert fresh.look_due == float("-inf")
    assert pace.look_due == 104.0


def test_a_lagging_result_is_read_ever_later(pace: Pace) -> None:
    """The delays double, up to the interval."""
    delays = []
    for _ in range(7):
        pace.lagging(0.0)
        delays.append(pace.look_due)

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
    pace = Pace(POLLING)
    verdicts = [pace.failed(Question.TASK, began, now, late=sum(late)) for began, now, *late in failures]

    assert verdicts == [False] * (len(failures) - 1) + [is_over]


def test_each_question_has_a_patience_of_its_own(pace: Pace) -> None:
    """An answer to one resets its own failures, and no other's."""
    for now in (0.0, 299.0):
        assert not pace.failed(Question.TASK, now, now)
        assert not pace.failed(Question.RESULT, now, now)
    pace.answered(Question.TASK)

    assert not pace.failed(Question.TASK, 301.0, 301.0)
    assert pace.failed(Question.RESULT, 301.0, 301.0)


@pytest.mark.parametrize(
    ("retry_after", "due"),
    [
        pytest.param(None, 104.0, id="none"),
        pytest.param(1.0, 104.0, id="shorter than the interval"),
        pytest.param(20.0, 121.0, id="longer than the interval"),
        pytest.param(3600.0, 401.0, id="longer than the patience"),
    ],
)
def test_the_server_may_ask_to_be_left_alone(pace: Pace, retry_after: float | None, due: float) -> None:
    """A `Retry-After` delays the next poll, whatever asks for one meanwhile, and never beyond the patience."""
    pace.failed(Question.TASK, 101.0, 101.0, retry_after=retry_after)
    assert pace.look_due == due

    if due > 104.0:
        for hasten in (pace.look_now, lambda: pace.look_soon(102.0), lambda: pace.lagging(102.0)):
            hasten()
            assert pace.look_due == due
        assert pace.is_deferred(due - 1.0)
        assert not pace.is_deferred(due)


def test_a_poll_is_late_from_the_time_that_was_planned(pace: Pace) -> None:
    """So is one that something asks for at once: the stream breaks first when a stopped process wakes."""
    assert [pace.lateness(now) for now in (103.0, 104.0, 110.0)] == [0.0, 0.0, 6.0]
    pace.look_now()
    assert [pace.lateness(now) for now in (103.0, 110.0)] == [0.0, 6.0]


def test_a_poll_that_nobody_planned_is_not_late() -> None:
    """A wait may begin with the result, where something else has reported the end."""
    assert Pace(Polling()).lateness(1000.0) == 0.0


def test_an_event_in_an_outage(pace: Pace) -> None:
    """It is one that came after the first request that failed."""
    assert not pace.has_event_in_outage(Question.TASK)
    pace.event_came(101.0)
    pace.failed(Question.TASK, 102.0, 102.0)
    assert not pace.has_event_in_outage(Question.TASK)
    pace.event_came(103.0)
    assert pace.has_event_in_outage(Question.TASK)


def test_reconnects_back_off_until_there_is_news(pace: Pace) -> None:
    """Each fruitless try doubles the longest delay, up to a minute; an event on the stream begins anew."""
    delays = []
    for _ in range(9):
        pace.stream_broke(0.0)
        delays.append(pace.stream_due)
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]

    pace.event_came(0.0)
    pace.stream_broke(0.0)
    assert pace.stream_due == 0.5


@pytest.mark.parametrize(
    ("retry", "retry_after", "delay"),
    [
        pytest.param(None, None, 0.5, id="neither"),
        pytest.param(2000, None, 2.0, id="retry: is a floor"),
        pytest.param(0, None, 0.5, id="of zero"),
        pytest.param(-5, None, 0.5, id="of less than zero"),
        pytest.param(10**400, None, LONGEST_RECONNECT, id="of any size"),
        pytest.param(None, 120.0, 120.0, id="Retry-After is one, too"),
        pytest.param(2000, 1.0, 2.0, id="the longer counts"),
    ],
)
def test_the_server_may_ask_for_more(pace: Pace, retry: int | None, retry_after: float | None, delay: float) -> None:
    """What the server asks for is the least delay before the next stream."""
    pace.retry_asked(retry)
    pace.stream_broke(0.0, retry_after)

    assert pace.stream_due == delay


def test_an_event_gives_the_next_look_time(pace: Pace) -> None:
    """The first event after a look moves the next one to `relaxed` after it, and further events move it no more."""
    pace.event_came(102.0)
    assert pace.look_due == 116.0

    pace.event_came(110.0)
    assert pace.look_due == 116.0


@pytest.mark.parametrize(
    ("now", "due"),
    [
        pytest.param(101.5, 102.0, id="before its time"),
        pytest.param(103.9, 103.9, id="at once"),
        pytest.param(104.5, 104.0, id="when it was due anyhow"),
    ],
)
def test_an_event_puts_off_no_look_that_was_asked_for(pace: Pace, now: float, due: float) -> None:
    """A look that an oddity or a break of the stream asks for comes although events arrive."""
    pace.look_soon(now)
    pace.event_came(now)
    assert pace.look_due == due

    pace.look_now()
    pace.event_came(now)
    assert pace.look_due == float("-inf")
