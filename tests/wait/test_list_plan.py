"""Which pages of the task list are asked for, whatever the server makes of its list."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async import (
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TaskStatus,
    TransportError,
    TransportTimeout,
)
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.status import UNSTATED
from cyberun_async._wait.list_plan import (
    ACTIVE,
    LIST_COOLDOWN,
    LIST_THRESHOLD,
    LONG_LIST_COOLDOWN,
    ListPlan,
    PageRequest,
    TaskSummary,
    cooldown_of,
)

RUNNING, PENDING, PAUSED = TaskStatus.RUNNING, TaskStatus.PENDING, TaskStatus("paused")


def unchanged(tasks: dict[str, TaskStatus]) -> None:
    """Let nothing happen between two pages."""


@attrs.define
class Server:
    """A list of tasks in the order of `tasks`, with its habits."""

    tasks: dict[str, TaskStatus]
    tells_total: bool = True
    tells_status: bool = True
    heeds_filter: bool = True
    heeds_number: bool = True
    size: int = 100
    refuses: frozenset[TaskStatus] = frozenset()
    between: Callable[[dict[str, TaskStatus]], object] = unchanged
    asked: list[PageRequest] = attrs.Factory(list)
    _lists: dict[TaskStatus | None, list[tuple[str, TaskStatus]]] = attrs.Factory(dict)

    def answer(self, asked: PageRequest) -> Page[TaskSummary] | None:
        self.asked.append(asked)
        if asked.status in self.refuses:
            return None
        wanted = asked.status if self.heeds_filter else None
        start = (asked.number - 1) * self.size if self.heeds_number else 0
        shown = self._listed(wanted)[start : start + self.size]
        items = tuple(TaskSummary(i, s if self.tells_status else UNSTATED) for i, s in shown)
        return Page(items=items, total=len(self._listed(wanted)) if self.tells_total else None)

    def _listed(self, wanted: TaskStatus | None) -> list[tuple[str, TaskStatus]]:
        if wanted not in self._lists:
            self._lists[wanted] = [(i, s) for i, s in self.tasks.items() if wanted in {None, s}]
        return self._lists[wanted]

    def sweep(self, sweep: ListPlan) -> dict[str, TaskStatus]:
        """Go through with it, and give whom it found."""
        found: dict[str, TaskStatus] = {}
        while pages := sweep.next_pages():
            for asked in pages:
                page = self.answer(asked)
                if page is None:
                    sweep.leave_list(asked.status)
                else:
                    found |= {each.id: each.status for each in sweep.take(asked, page)}
                if self.between is not unchanged:
                    self.between(self.tasks)
                    self._lists.clear()
        return found


def ours(count: int, status: TaskStatus = RUNNING) -> dict[str, TaskStatus]:
    return {f"ours-{number}": status for number in range(count)}


def theirs(count: int, status: TaskStatus = RUNNING) -> dict[str, TaskStatus]:
    return {f"theirs-{number}": status for number in range(count)}


def shuffled(tasks: dict[str, TaskStatus]) -> dict[str, TaskStatus]:
    return dict(random.Random(4).sample(list(tasks.items()), len(tasks)))


@table(
    ("make", "known", "requests", "singly"),
    [
        pytest.param(lambda: ours(LIST_THRESHOLD), RUNNING, 0, LIST_THRESHOLD, id="few are read one by one"),
        pytest.param(
            lambda: ours(10_000),
            RUNNING,
            101,
            0,
            id="ten thousand of one status: its pages, and the empty queue before it",
        ),
        pytest.param(lambda: ours(300, PENDING), PENDING, 3, 0, id="the lists behind are not read once all are found"),
        pytest.param(lambda: ours(300), PENDING, 7, 0, id="all have moved on since"),
        pytest.param(dict, RUNNING, 1, 300, id="all have ended"),
        pytest.param(lambda: ours(300, PENDING), RUNNING, 1, 300, id="a task that went back is read on its own"),
        pytest.param(lambda: theirs(9_000) | ours(30), RUNNING, 1, 30, id="behind a crowd of others"),
        pytest.param(lambda: ours(300) | theirs(40_000), RUNNING, 3, 0, id="in front of a crowd of others"),
        pytest.param(
            lambda: shuffled(theirs(9_700) | ours(300)),
            RUNNING,
            97 + 3,
            0,
            id="among others: still fewer pages than tasks",
        ),
        pytest.param(lambda: shuffled(theirs(9_900) | ours(30)), RUNNING, 1, 30, id="lost among others"),
        pytest.param(
            lambda: ours(300, PAUSED), PAUSED, 8, 0, id="a word that this version does not know has a list as well"
        ),
    ],
)
def test_requests(make: Callable[[], dict[str, TaskStatus]], known: TaskStatus, requests: int, singly: int) -> None:
    """A sweep asks for the pages that are worth it, and leaves the rest to single reads."""
    tasks = make()
    wanted = ours(len([each for each in tasks if each.startswith("ours")]) or 300, known)
    server, sweep = Server(tasks), ListPlan(wanted)
    server.sweep(sweep)
    assert abs(len(server.asked) - requests) <= 1
    assert len(sweep.missing) == pytest.approx(singly, abs=2)


@table(
    ("habits", "pages"),
    [
        pytest.param({"tells_status": False}, 3, id="leaves the status out of the list"),
        pytest.param({"tells_total": False}, 3, id="does not say how many there are"),
        pytest.param({"size": 20}, 15, id="gives smaller pages than were asked for"),
        pytest.param({"heeds_filter": False}, 3, id="ignores the filter"),
    ],
)
def test_habits(habits: dict[str, object], pages: int) -> None:
    """What the documentation leaves open about the list changes nothing: all are found, with their own status."""
    server = Server(ours(300), **habits)  # type: ignore[arg-type]
    sweep = ListPlan(ours(300), unlisted=ACTIVE[:-1])
    assert server.sweep(sweep) == ours(300)
    assert not sweep.missing
    assert len(server.asked) - pages in {0, 1}


def test_a_list_that_repeats_itself_ends() -> None:
    """A server that neither counts its tasks nor heeds the number of a page is left after a page without a find."""
    server = Server(ours(100) | theirs(900), tells_total=False, heeds_number=False)
    server.sweep(sweep := ListPlan(ours(300), unlisted=ACTIVE[:-1]))
    assert len(server.asked) == 2
    assert len(sweep.missing) == 200


def test_a_refused_list_is_left() -> None:
    """A status that the server has no list of costs one request, and the other lists are read."""
    server = Server(ours(300), refuses=frozenset({TaskStatus.PROVISIONING}))
    server.sweep(sweep := ListPlan(ours(300, PENDING)))
    assert [each.status for each in server.asked].count(TaskStatus.PROVISIONING) == 1
    assert not sweep.missing


STATUSES = st.sampled_from([*ACTIVE, PAUSED, TaskStatus.COMPLETED])


@st.composite
def servers(draw: st.DrawFn) -> tuple[Server, dict[str, TaskStatus | None]]:
    """Draw a server with some of our tasks and some of others, and what we last knew of ours."""
    seed = random.Random(draw(st.integers(0, 2**32)))
    words = draw(st.lists(STATUSES, min_size=1))
    tasks = shuffled(
        {
            f"{whose}-{number}": seed.choice(words)
            for whose, count in (("ours", draw(st.integers(0, 500))), ("theirs", draw(st.integers(0, 2000))))
            for number in range(count)
        }
    )
    known = {each: seed.choice([*words, None]) for each in tasks if each.startswith("ours")}

    def between(left: dict[str, TaskStatus]) -> None:
        """Let tasks come, go and change while the list is read."""
        for each in seed.sample(list(left), min(len(left), draw_changes)):
            seed.choice([left.pop, lambda e: left.update({e: seed.choice(words)})])(each)
        left.update({f"new-{seed.random()}": seed.choice(words) for _ in range(draw_changes)})

    draw_changes = draw(st.integers(0, 3))
    server = Server(
        tasks,
        tells_total=draw(st.booleans()),
        tells_status=draw(st.booleans()),
        heeds_filter=draw(st.booleans()),
        heeds_number=draw(st.booleans()),
        size=draw(st.sampled_from([1, 20, 100])),
        refuses=frozenset(draw(st.lists(STATUSES, max_size=3))),
        between=between,
    )
    return server, known


@given(servers())
def test_whatever_the_list_does(given: tuple[Server, dict[str, TaskStatus | None]]) -> None:
    """Each task is found or left to a single read, no page is asked for twice, and the cost is bounded."""
    server, known = given
    sweep = ListPlan(known)
    found = server.sweep(sweep)
    assert set(known) == {each for each in found if each in known} | set(sweep.missing)
    assert set(sweep.missing).isdisjoint(found)
    assert len(server.asked) == len(set(server.asked))
    lists = len(ACTIVE) + 1
    if known:
        assert len(server.asked) <= (lists + 1) * max(len(known), 1) + lists


CALL = {"method": "GET", "path": "/r/tasks"}


@table(
    ("failure", "rest"),
    [
        pytest.param(NotFoundError(404, "", **CALL), LONG_LIST_COOLDOWN, id="there is none"),
        pytest.param(PermissionDeniedError(403, "", **CALL), LONG_LIST_COOLDOWN, id="not allowed"),
        pytest.param(ServerError(500, "", **CALL), LIST_COOLDOWN, id="broken"),
        pytest.param(RateLimitError(429, "", **CALL), LIST_COOLDOWN, id="too often"),
        pytest.param(DecodeError("", **CALL), LIST_COOLDOWN, id="unreadable"),
        pytest.param(RuntimeError("from a token provider"), LIST_COOLDOWN, id="not ours"),
        pytest.param(TransportTimeout("", may_have_been_sent=True, **CALL), LIST_COOLDOWN, id="too slow"),
        pytest.param(TransportError("", may_have_been_sent=False, **CALL), 0.0, id="no server at all"),
        pytest.param(
            TransportError("", may_have_been_sent=False, retryable=False, **CALL),
            LONG_LIST_COOLDOWN,
            id="bad certificate",
        ),
    ],
)
def test_rest_of_list(failure: Exception, rest: float) -> None:
    """A list that fails is left alone, unless single reads would fail alike."""
    assert cooldown_of(failure) == rest


def test_lists_that_are_begun_at_once() -> None:
    """Each goes on to its own pages, and nobody is left out or asked for twice."""
    server = Server({**ours(150), **{f"p-{number}": PENDING for number in range(30)}})
    sweep = ListPlan(dict.fromkeys(server.tasks))
    pages = sweep.next_pages(at_once=True)
    assert {each.status for each in pages} == set(ACTIVE)

    while pages:
        for asked in pages:
            page = server.answer(asked)
            assert page is not None
            sweep.take(asked, page)
        pages = sweep.next_pages(at_once=True)
        assert pages in ([], [PageRequest(RUNNING, 2)])

    assert not sweep.missing
