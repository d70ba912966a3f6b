"""The states of a task, and which of them are final."""

from enum import Enum


class TaskStatus(str, Enum):
    """Where a task stands; a string, so `task.status == "running"` holds.

    A word that this version does not know survives as itself: `TaskStatus("paused")` is a value
    with `is_known` false, and it is not final.

    Source: https://docs.cyberun.cloud/api-reference/task/get-task-result; `provisioning` from
    https://docs.cyberun.cloud/cloud/concepts/tasks.
    """

    PENDING = "pending"
    """Accepted; the scheduler has not taken it."""
    WAITING = "waiting"
    """The scheduler has it; no agent with the right labels is free."""
    PROVISIONING = "provisioning"
    """An agent is being prepared."""
    QUEUED = "queued"
    """Given to an agent that has not confirmed it."""
    RUNNING = "running"
    """An agent works on it."""
    COMPLETED = "completed"
    """Done; its outputs are there."""
    FAILED = "failed"
    """Ended by an error, a time limit, or a lost agent."""
    CANCELLED = "cancelled"
    """Ended by a request to cancel it."""

    # The mixed-in str would otherwise format as `TaskStatus.RUNNING` on some Python versions.
    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]

    @classmethod
    def _missing_(cls, value: object) -> "TaskStatus | None":
        if not isinstance(value, str):
            return None
        # Not registered as a member, so words from a server cannot pile up in memory.
        word = str.__new__(cls, value)
        word._name_ = value.upper()
        word._value_ = value
        return word

    def __reduce_ex__(self, _: object) -> "tuple[type[TaskStatus], tuple[str]]":
        # By its value: the first releases of Python 3.11 take the name, under which an unknown word is not found.
        return type(self), (self._value_,)

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended for good."""
        return self in _TERMINAL

    @property
    def is_known(self) -> bool:
        """Whether this version of the SDK knows the word."""
        return self.value in TaskStatus._value2member_map_

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) if isinstance(other, str) else NotImplemented

    __hash__ = str.__hash__


_TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})

UNSTATED = TaskStatus("unknown")
"""Stands where the server left the status out."""
