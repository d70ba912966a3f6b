"""How many items of a batch may start, and when no more may: decided without a clock or a server."""

from __future__ import annotations

from typing import Any

import pytest
from support.tables import table

from cyberun_async._batch.admission import FIRST_IN_FLIGHT, Admission, Ending, Window
from cyberun_async._concurrency import Flight

SUCCEEDED, FAILED = Ending(end="succeeded"), Ending(end="failed", is_failure=True)
KNOWN = Ending(end="failed", is_from_journal=True)


def admission(**options: Any) -> Admission:
    return Admission(**{"max_in_flight": 3, **options})


@table(
    ("started", "unconsumed", "may_start"),
    [
        pytest.param(0, 0, True, id="nothing in flight"),
        pytest.param(2, 2, True, id="one left of each"),
        pytest.param(3, 0, False, id="as many in flight as may be"),
        pytest.param(0, 3, False, id="as many outcomes as may wait"),
    ],
)
def test_backpressure(started: int, unconsumed: int, may_start: bool) -> None:
    """An item starts while there is capacity for it and for its outcome."""
    batch = admission()
    for _ in range(started):
        batch.start()
    assert batch.may_start(unconsumed) == may_start


def test_reservations_count_towards_the_limit_of_tasks() -> None:
    """An item counts as a task until it is known whether it is submitted, and from then on only if it was."""
    changes: list[None] = []
    batch = admission(max_tasks=2, on_change=lambda: changes.append(None))
    first, second = batch.start(), batch.start()
    assert not batch.may_start(0)
    assert batch.reserve() is None
    assert "held" in repr(first)
    first.release()
    first.release()
    assert "released" in repr(first)
    assert len(changes) == 1
    assert batch.may_start(0)
    batch.count_submitted(1)
    second.release()
    again = batch.reserve()
    assert again is not None
    again.release()
    batch.count_submitted(1)
    assert batch.is_spent
    assert batch.reserve() is None


@table(
    ("options", "endings", "reason", "may_submit", "is_cancelling"),
    [
        pytest.param({}, [FAILED, FAILED], None, True, False, id="failures are collected"),
        pytest.param({"on_error": "cancel_rest"}, [SUCCEEDED], None, True, False, id="no failure"),
        pytest.param(
            {"on_error": "cancel_rest"}, [SUCCEEDED, FAILED], "cancel_rest", False, True, id="the first cancels"
        ),
        pytest.param({"on_error": "cancel_rest"}, [FAILED, FAILED], None, False, True, id="once"),
        pytest.param({"stop_after_failures": 2}, [FAILED, SUCCEEDED], None, True, False, id="one failure of two"),
        pytest.param({"stop_after_failures": 2}, [FAILED, FAILED], "stop_after_failures", False, False, id="two"),
        pytest.param({"stop_after_failures": 1}, [KNOWN], None, True, False, id="an earlier run's does not count"),
    ],
)
def test_what_failures_stop(
    options: dict[str, Any], endings: list[Ending], reason: str | None, may_submit: bool, is_cancelling: bool
) -> None:
    """A failure of this run stops the batch as the options say, and says so once."""
    batch = admission(**options)
    for _ in endings:
        batch.start()
    *_, last = [batch.end_item(ending) for ending in endings]
    assert (last, batch.may_submit, batch.is_cancelling, batch.in_flight) == (reason, may_submit, is_cancelling, 0)


def test_the_first_reason_is_kept() -> None:
    """What stopped a batch first is what it says."""
    batch = admission()
    assert repr(batch) == "<Admission, 0 of 3 in flight>"
    batch.stop("max_tasks")
    batch.stop("stop")
    assert batch.stopped_by == "max_tasks"
    assert repr(batch) == "<Admission, 0 of 3 in flight, stopped by max_tasks>"


def test_counts() -> None:
    """The counts say how far the batch is."""
    batch = admission(max_in_flight=9)
    for _ in range(4):
        batch.start()
    for ending in (SUCCEEDED, KNOWN, Ending(end="uncertain", is_failure=True)):
        batch.end_item(ending)
    batch.count_submitted(2)
    counts = batch.counts
    assert (counts.in_flight, counts.succeeded, counts.failed, counts.uncertain) == (1, 1, 1, 1)
    assert (counts.from_journal, counts.submitted, counts.stopped) == (1, 2, 0)


def test_one_429_of_a_round_halves_the_window() -> None:
    """Of all 429s to what was sent before the window was narrowed, one counts; success widens it again."""
    batch = admission(max_in_flight=100)
    batch.rate_limited(0, 40)
    batch.rate_limited(0, 40)
    assert batch.window.size == 20
    batch.rate_limited(1, 40)
    assert batch.window.size == 10
    for _ in range(10):
        batch.accepted()
    assert batch.window.size == 10
    batch.accepted()
    assert batch.window.size == 11
    assert repr(batch.window) == "<Window, 11 of 100>"


def test_the_window_opens_with_the_first_success() -> None:
    """A batch that failures stop begins with a handful, until one item has succeeded, unless the server said 429."""
    batch = admission(max_in_flight=100, stop_after_failures=1)
    assert batch.window.size == FIRST_IN_FLIGHT
    batch.accepted()
    assert batch.window.size == FIRST_IN_FLIGHT
    batch.start()
    batch.end_item(SUCCEEDED)
    assert batch.window.size == 100
    narrowed = Window(100, 8)
    narrowed.narrow(0, 8)
    narrowed.open_up()
    assert narrowed.size == 4


def test_a_result_of_an_earlier_run_opens_nothing() -> None:
    """What an earlier run has finished says nothing of the workflow as it is."""
    batch = admission(max_in_flight=100, stop_after_failures=1)
    batch.start()
    batch.end_item(Ending(end="succeeded", is_from_journal=True))
    assert batch.window.size == FIRST_IN_FLIGHT


def test_a_flight_counts_its_own_429s() -> None:
    """A submission that is retried says how often it was rate limited, whoever retried it."""
    flight = Flight()
    flight.rate_limited()
    flight.reset()
    flight.rate_limited()
    assert flight.rate_limits == 2
