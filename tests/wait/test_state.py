"""The machine that decides what a wait does: whatever happens, and whenever, what keeps a wait alive and what ends it holds."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sampling import count
from support.simulated_wait import Simulation, Streaming, World

from cyberun_async import Polling
from cyberun_async._wait.schedule import Question
from cyberun_async._wait.state import STREAM_LAG

INTERVAL, WHILE_STREAMING, JITTER = 3.0, 15.0, 1.2
FOR_EVER = 100_000.0

SECONDS = st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.5, 7.0])
LATENCIES = st.lists(st.sampled_from([0.0, 0.05, 0.3, 0.9, 2.0]), min_size=1, max_size=3).map(tuple)
KINDS = [
    "progress",
    "progress",
    "running",
    "queued",
    "paused",
    "unknown",
    "error",
    "unreadable",
    "completed",
    "unknown",
]
ITEMS = st.lists(st.tuples(SECONDS, st.sampled_from(KINDS)), max_size=4).map(tuple)
FAILURES = st.lists(
    st.sampled_from(["none", "502", "503 1", "503 9", "unreadable", "unreachable"]), min_size=1, max_size=4
).map(tuple)

STREAMING = st.builds(
    Streaming,
    after=st.sampled_from([0.0, 0.0, 0.7, 30.0, float("inf")]),
    is_refused=st.booleans(),
    retry_after=st.sampled_from([None, 2.0]),
    is_cancel_safe=st.booleans(),
    # An endless stream whose events take no time would be a test without end.
    items=ITEMS.filter(lambda items: not items or sum(gap for gap, _ in items) > 0),
    is_endless=st.booleans(),
    ends=st.booleans(),
)
STREAMS = st.lists(STREAMING, min_size=1, max_size=3).map(tuple)
ENDS = st.sampled_from([0.0, 0.2, 1.0, 5.0, 20.0, 61.5])
JUMPS = st.lists(
    st.tuples(st.sampled_from([0.1, 3.0, 10.0, 40.0]), st.sampled_from([5.0, 40.0, 600.0])), max_size=2
).map(lambda jumps: tuple(sorted(jumps)))

WORLDS = st.builds(
    World,
    ends_at=ENDS,
    calm_at=st.sampled_from([0.0, 0.0, 10.0, 45.0]),
    latencies=LATENCIES,
    failures=FAILURES,
    broken=st.sampled_from([frozenset(Question), frozenset({Question.TASK}), frozenset({Question.RESULT})]),
    lag=st.sampled_from([0.0, 0.0, 0.4, 3.0]),
    streams=STREAMS,
    decisions=st.lists(st.sampled_from(["poll", "poll", "listed", "unlisted"]), min_size=1, max_size=3).map(tuple),
    has_slot=st.booleans(),
    wakes=st.lists(st.sampled_from([0.5, 2.0, 5.1, 12.0, 33.0]), max_size=3, unique=True).map(sorted).map(tuple),
    jumps=JUMPS,
)
SEEDS = st.integers(0, 3)


def simulate(
    world: World, seed: int = 0, *, until: float = 4000.0, unavailable_timeout: float = FOR_EVER
) -> Simulation:
    """Follow a task in a world."""
    random.seed(seed)
    polling = Polling(
        interval=INTERVAL, interval_while_streaming=WHILE_STREAMING, unavailable_timeout=unavailable_timeout
    )
    simulation = Simulation(world, polling)
    simulation.run(until)
    return simulation


@pytest.mark.soak
@settings(max_examples=count(sample=150, soak=4_000))
@given(world=WORLDS, seed=SEEDS)
def test_a_result_that_can_be_read_is_reported_in_time(world: World, seed: int) -> None:
    """Within one interval and three round trips, whatever the stream does; what was cancelled costs its time on top."""
    simulation = simulate(world, seed)

    assert simulation.error is None
    at, last = simulation.seen[-1]
    assert last.is_terminal
    readable_at = max(world.ends_at + world.lag, world.calm_at, *(at + by for at, by in world.jumps), 0.0)
    asked_for = max((float(kind.partition(" ")[2] or 0) for kind in world.failures), default=0.0)
    slack = 2 * STREAM_LAG + asked_for + sum(by for _, by in world.jumps)
    assert at <= readable_at + WHILE_STREAMING * JITTER + 3 * max(world.latencies) + slack


@pytest.mark.soak
@settings(max_examples=count(sample=100, soak=4_000))
@given(world=WORLDS, seed=SEEDS)
def test_what_always_holds(world: World, seed: int) -> None:
    """One terminal event, and it is the last; no two requests cancelled by events in a row; none before a `Retry-After` is over."""
    simulation = simulate(world, seed)

    assert [event.is_terminal for _, event in simulation.seen] == [False] * (len(simulation.seen) - 1) + [True]
    assert simulation.cancelled <= 1
    assert all(each.at >= each.not_before for each in simulation.sent)
    assert "stream" in repr(simulation.state)


@pytest.mark.soak
@settings(max_examples=count(sample=100, soak=4_000))
@given(
    world=WORLDS,
    seed=SEEDS,
    broken=st.sampled_from(Question),
    timeout=st.sampled_from([1.5, 20.0]),
)
def test_what_keeps_failing_is_given_up(world: World, seed: int, broken: Question, timeout: float) -> None:
    """Within the timeout and three polls, whatever else is answered and whatever events come meanwhile."""
    failures = tuple(each for each in world.failures if each != "none") or ("502",)
    if broken is Question.TASK:
        world = attrs.evolve(world, broken=frozenset(Question))
    else:
        world = attrs.evolve(world, broken=frozenset({Question.RESULT}))
    simulation = simulate(
        attrs.evolve(world, calm_at=FOR_EVER, failures=failures, jumps=()), seed, unavailable_timeout=timeout
    )

    assert simulation.error is not None
    slack = 3 * (WHILE_STREAMING * JITTER + max(world.latencies) + STREAM_LAG) + 9
    assert simulation.now <= world.ends_at + world.lag + 2 * timeout + slack


@settings(max_examples=count(sample=60, soak=5_000))
@given(ends_at=st.sampled_from([60.0, 300.0]), latencies=LATENCIES, seed=SEEDS, is_cancel_safe=st.booleans())
def test_polls_are_an_interval_apart(
    ends_at: float, latencies: tuple[float, ...], seed: int, is_cancel_safe: bool
) -> None:
    """Where nothing asks for more, there is at most one poll an interval."""
    quiet = Streaming(is_cancel_safe=is_cancel_safe)
    simulation = simulate(World(ends_at=ends_at, latencies=latencies, streams=(quiet,)), seed)

    polls = [each.at for each in simulation.sent if each.question is Question.TASK]
    # At first one is cancelled, another lands, a third confirms it, and a stream that did not deliver that is opened anew.
    assert len(polls) <= 8 + ends_at / INTERVAL
