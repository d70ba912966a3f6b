"""Lists of tasks that say nothing of their status: what they prove, and what they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from support.tables import table

from cyberun_async import TaskStatus
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.status import UNSTATED
from cyberun_async._wait.list_plan import LIST_THRESHOLD, ListPlan, TaskSummary, has_unstated, is_filter_ignored
from cyberun_async._wait.list_poller import ListPoller

if TYPE_CHECKING:
    from cyberun_async._transport.transport import Transport

RUNNING = TaskStatus.RUNNING
TIME = "2025-02-10T14:01:30Z"


def page(*ids: str, status: TaskStatus = UNSTATED) -> Page[TaskSummary]:
    return Page(tuple(TaskSummary(each, status) for each in ids))


@table(
    ("answer", "status"),
    [
        pytest.param({"task_status": "running", "completed_at": TIME}, "running", id="a known status"),
        pytest.param({"task_status": "archived", "completed_at": TIME}, "completed", id="an unknown one that ended"),
        pytest.param({"completed_at": TIME}, "completed", id="none, ended"),
        pytest.param({"task_status": "hibernating"}, "hibernating", id="an unknown one"),
        pytest.param({"status": "RUNNING"}, "running", id="another name"),
        pytest.param({}, "unknown", id="nothing"),
    ],
)
def test_a_listed_task(answer: dict[str, object], status: str) -> None:
    """A task that has ended is seen as such, so that its result is read; which end it was, the result says."""
    assert structure({"id": "a", **answer}, TaskSummary).status == status


def test_what_is_listed_without_a_status() -> None:
    """It has the status that was asked for, unless the server does not heed that."""
    wanted = {"a": RUNNING, "b": RUNNING} | {str(number): RUNNING for number in range(LIST_THRESHOLD)}
    heeded, ignored = ListPlan(wanted), ListPlan(wanted)
    ((asked,), _) = (each.next_pages() for each in (heeded, ignored))

    assert [each.status for each in heeded.take(asked, page("a", "b"))] == [RUNNING, RUNNING]
    assert ignored.take(asked, page("a", "b"), is_filtered=False) == []
    assert wanted.keys() - heeded.missing.keys() == {"a", "b"}
    assert ignored.missing == wanted


@table(
    ("other", "is_ignored"),
    [
        pytest.param(page(), False, id="nothing has completed"),
        pytest.param(page("c", "d"), False, id="others have completed"),
        pytest.param(page("a", "c"), False, id="one has moved on meanwhile"),
        pytest.param(page("a", "b", "x"), True, id="the same have"),
    ],
)
def test_whether_a_filter_is_ignored(other: Page[TaskSummary], is_ignored: bool) -> None:
    """The list of another status that shows the same tasks is no list of that status."""
    assert is_filter_ignored(page("a", "b", "x"), other) == is_ignored


def test_whether_there_is_anything_to_find_out() -> None:
    """Only a list without statuses raises the question."""
    assert has_unstated(page("a"))
    assert not has_unstated(page("a", status=RUNNING))
    assert not has_unstated(page())


class Unreliable:
    """A transport whose first request fails."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, call: object) -> Page[TaskSummary]:
        self.sent += 1
        if self.sent == 1:
            raise TimeoutError
        return page("c")


async def test_a_filter_that_cannot_be_tried() -> None:
    """Where the other list cannot be read, nothing is concluded from this one, and the next page has it read again."""
    transport = Unreliable()
    lists = ListPoller(cast("Transport", transport))

    assert [await lists._is_filtered(page("a")) for _ in range(3)] == [False, True, True]
    assert transport.sent == 2
