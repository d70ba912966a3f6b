"""When to look at a task and when to try its stream: plain arithmetic on a clock."""

from __future__ import annotations

import pytest

from cyberun_async import Polling
from cyberun_async._protocol import pacing
from cyberun_async._protocol.pacing import LONGEST_RECONNECT, Pace

POLLING = Polling(interval=3.0, relaxed=15.0, patience=300.0)


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the middle of each look's jitter and the longest of each reconnect's."""
    monkeypatch.setattr(pacing.random, "uniform", lambda low, high: 1.0 if low else high)


@pytest.fixture
def pace() -> Pace:
    """Give the pace of a wait that began at 100 and looked at 101."""
    pace = Pace(POLLING)
    pace.start(100.0)
    pace.looked(101.0)
    return pace


def test_the_stream_comes_first() -> None:
    """At the start the stream is due at once, and a look only where it takes longer than an interval."""
    pace = Pace(POLLING)
    pace.start(100.0)
    pace.start(200.0)

    assert (pace.stream_due, pace.look_due) == (100.0, 103.0)


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


def test_patience_counts_from_the_first_failure(pace: Pace) -> None:
    """An answer begins it anew, and time in which nobody asks does not count."""
    assert not pace.is_out_of_patience(10_000.0)
    pace.failed(10_000.0)
    pace.failed(10_200.0)
    assert not pace.is_out_of_patience(10_300.0)
    assert pace.is_out_of_patience(10_301.0)

    pace.answered()
    pace.failed(10_301.0)
    assert not pace.is_out_of_patience(10_302.0)


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
