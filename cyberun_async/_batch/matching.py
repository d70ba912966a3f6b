"""Which task belongs to a submission that got no response, by its workflow and the time that it was made at."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from cyberun_async._protocol.tasks import Task

_K = TypeVar("_K")

SKEW = timedelta(seconds=5)
"""How far the server's clock may be from ours when a task is searched for by its time."""


def candidates_for(
    began: Mapping[_K, float], tasks: Sequence[Task], *, workflow_id: str, known: Collection[str], longest: float
) -> dict[_K, tuple[Task, ...]]:
    """Find the tasks that submissions without a response may have come to.

    Args:
        began: When each was sent, by key, in seconds since 1970.
        tasks: All tasks of the team.
        workflow_id: The workflow's UUID.
        known: Tasks that belong to other items.
        longest: Seconds that a submission may have been in flight.

    """
    free = [task for task in tasks if task.workflow_id == workflow_id and task.id not in known and task.created_at]
    return {key: tuple(task for task in free if _is_in_time(task, when, longest)) for key, when in began.items()}


def match_unconfirmed(
    candidates: Mapping[str, Sequence[Task]], others: Collection[Sequence[Task]] = ()
) -> dict[str, str]:
    """Give the task's id by key, for each submission that only one task can have come from, and that task from no other.

    Args:
        candidates: The tasks that each may have come to, by key.
        others: Likewise for submissions that were made good by another one, which belong to no item any more.

    """
    claims = Counter(task.id for tasks in (*candidates.values(), *others) for task in tasks)
    return {key: tasks[0].id for key, tasks in candidates.items() if len(tasks) == 1 and claims[tasks[0].id] == 1}


def _is_in_time(task: Task, began: float, longest: float) -> bool:
    assert task.created_at is not None
    since = task.created_at.timestamp() - began
    return -SKEW.total_seconds() <= since <= longest + SKEW.total_seconds()
