"""Who waits for the shared poller: each request in one place, a leader wherever one is needed, and none forgotten."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sampling import count
from support.tables import table

from cyberun_async import Polling, TaskStatus
from cyberun_async._protocol.pages import PageCursor
from cyberun_async._transport.recent_submissions import RecentSubmissions
from cyberun_async._wait.dedup import EventDeduplicator
from cyberun_async._wait.follower import TaskFollower
from cyberun_async._wait.inquiry import Inquiry, PollDecision
from cyberun_async._wait.list_plan import ListPlan
from cyberun_async._wait.list_poller import ListPoller
from cyberun_async._wait.odd_events import OddEvents
from cyberun_async._wait.outage import Outage
from cyberun_async._wait.poll_request import PollRequest
from cyberun_async._wait.registry import Registry
from cyberun_async._wait.schedule import PollSchedule
from cyberun_async._wait.shared_poller import SharedPoller
from cyberun_async._wait.state import WaitState
from cyberun_async._wait.submission import Submission


@attrs.define(eq=False)
class Waiting:
    """A request, as far as the registry is concerned."""

    due: float
    wants_slot: bool = False
    known: TaskStatus | None = None
    decision: object = None
    wakes: int = 0

    def wake(self) -> None:
        self.wakes += 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "listen", "remove", "polled", "decided", "lead"]),
        st.integers(0, 5),
        st.sampled_from([0.0, 1.0, 5.0]),
    ),
    max_size=40,
)


@settings(max_examples=count(sample=60, soak=5_000))
@given(steps=STEPS, wants_slot=st.booleans())
def test_no_request_is_forgotten(steps: list[tuple[str, int, float]], wants_slot: bool) -> None:
    """Whatever comes and goes: all that wait are there once, and the leader sleeps no longer than until the first is due."""
    registry, here, listening = Registry(), {}, set()
    for step, number, due in steps:
        request: Any = here.get(number)
        if step in {"add", "listen"} and request is None:
            request = here[number] = Waiting(due, wants_slot=wants_slot)
            if step == "add":
                registry.add(request, 0.0)
            else:
                registry.add_listening(request)
                listening.add(number)
        elif request is None:
            continue
        elif step == "lead" and number not in listening and registry.leader is None:
            registry.leader = request
        elif step == "remove":
            registry.remove(here.pop(number))
            listening.discard(number)
        elif step in {"polled", "decided"}:
            request.due, request.decision = due + 1.0, "x" if step == "decided" else None
            registry.polled(request)
            if step == "decided":
                registry.remove(here.pop(number))
                listening.discard(number)
        registry.count_parked()
        assert sorted(map(id, registry)) == sorted(map(id, here.values()))
        assert {n for n, each in here.items() if registry.is_listening(each)} == listening
        asleep = [each for n, each in here.items() if n not in listening]
        assert registry.leader is None or registry.leader in asleep
        assert all(registry.is_any_due(each.due) for each in asleep)


@table(
    ("due", "is_woken"),
    [
        pytest.param(0.0, True, id="one that is due"),
        pytest.param(3.0, True, id="one that is due before all others"),
        pytest.param(7.0, False, id="one that is due later"),
    ],
)
def test_who_wakes_the_leader(due: float, *, is_woken: bool) -> None:
    """It sleeps until the first request is due."""
    registry, leader = Registry(), Waiting(5.0)
    registry.add(leader, 0.0)
    registry.leader = leader
    leader.wakes = 0
    registry.add(Waiting(due), 0.0)

    assert bool(leader.wakes) is is_woken


def test_lists_that_cannot_be_read() -> None:
    """They count as polls that fail; after the timeout the wait polls for itself, and raises what that fails with."""
    schedule = PollSchedule(Polling(interval=3.0, unavailable_timeout=10.0))
    request = PollRequest("T", None, schedule)
    decisions = []
    for began in (100.0, 103.0, 106.0, 109.0, 112.0):
        request.list_failed(began, began)
        decisions.append(request.decision)

    assert decisions == [None] * 4 + [PollDecision.POLL]
    assert 112.0 <= request.due <= 109.0 + 3.6


def test_what_is_shown() -> None:
    """Each part of a wait says in a test or a debugger where it stands."""
    polling, transport = Polling(), type("Transport", (), {"on_free_stream": None})()
    schedule, dedup = PollSchedule(polling), EventDeduplicator()
    schedule.start(100.0)
    request = PollRequest("T", None, schedule)
    inquiry = Inquiry("T", schedule, dedup, None)
    registry = Registry()
    registry.add(request, 0.0)
    outage, odd = Outage(100.0, 20.0), OddEvents("T")

    assert repr(schedule) == "<PollSchedule: poll at 100.5, stream at 100>"
    assert repr(request) == "<PollRequest for task T: due at 100.5>"
    request.decide(PollDecision.POLL)
    assert repr(request) == "<PollRequest for task T: PollDecision.POLL>"
    assert repr(inquiry) == "<Inquiry about task T: nothing planned>"
    inquiry.end_reported(TaskStatus.FAILED, 1.0)
    inquiry.poll()
    assert repr(inquiry) == "<Inquiry about task T: FETCH_RESULT planned, said to have failed>"
    assert repr(registry) == "<Registry: 0 due, 1 parked, 0 listening>"
    assert repr(SharedPoller(transport, polling)) == "<SharedPoller: <Registry: 0 due, 0 parked, 0 listening>>"
    assert repr(ListPoller(transport)) == "<ListPoller: no list is left alone>"
    assert repr(outage) == "<Outage since 100, 20 s left>"
    assert repr(odd) == "<OddEvents of task T: none>"
    assert repr(dedup) == "<EventDeduplicator: None, 0 to hand out>"
    follower = TaskFollower(
        type("Transport", (), {"recent": RecentSubmissions()})(), SharedPoller(transport, polling), "T", polling
    )
    assert repr(follower).startswith("<TaskFollower of task T: <WaitState: stream closed")
    assert repr(WaitState("T", polling)).startswith("<WaitState: stream closed, <Inquiry about task T: nothing")
    assert repr(PageCursor()) == "<PageCursor: page 1, 0 items seen>"
    assert repr(Submission("T")) == "<Submission of T>"
    plan = ListPlan({f"T{number}": None for number in range(30)})
    assert repr(plan) == "<ListPlan: 30 missing, 5 lists ahead; none open>"
    plan.next_pages()
    assert repr(plan) == "<ListPlan: 30 missing, 4 lists ahead; pending: 1 pages asked for, 0 left>"
