"""The statuses of a task, which of them are terminal, and how the status of a response is found. (is_terminal, has_started)

| the value | evidence beside it | status |
| --- | --- | --- |
| a known one, in any case, or `canceled` | does not count: a task that was restarted may keep an old `completed_at` | that one |
| another, or none | the event that ends a stream | what the event says |
| another, or none | `completed_at`, and an error or a value such as `timeout` | `failed` |
| another, or none | `completed_at`, and an output, a URL or a value such as `succeeded` | `completed` |
| another, or none | `completed_at`, and in a poll, which has no output, an error that is empty | `completed` |
| another, or none | `completed_at`, and nothing else | `failed`, for a reason that the server does not give |
| none, or such as `timeout` | an error, which the service documents as empty unless the task failed | `failed` |
| none, or such as `succeeded` | an output, which it documents as `null` until the task completed | `completed` |
| another, or none | none of these | itself, or `unknown`: not terminal |

Source: https://docs.cyberun.cloud/api-reference/task/get-task-result
"""

from enum import Enum

import attrs

_PREFIXES = ("task_", "status_")


class TaskStatus(str, Enum):
    """Where a task stands; a string, so `task.status == "running"` holds.

    Known values are recognised in any case. One that this version does not know stays as it is: `TaskStatus("paused")`
    is a value with `is_known` false, and it is not terminal.

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
        plain = value.strip().lower()
        if plain.startswith(_PREFIXES):  # As an enumeration is written in JSON by protobuf.
            plain = plain.removeprefix("task_").removeprefix("status_")
        known = cls._value2member_map_.get("cancelled" if plain == "canceled" else plain)
        if isinstance(known, cls):
            return known
        # Not registered as a member, so values from a server cannot pile up in memory.
        unknown = str.__new__(cls, value)
        unknown._name_ = value.upper()
        unknown._value_ = value
        return unknown

    def __reduce_ex__(self, _: object) -> "tuple[type[TaskStatus], tuple[str]]":
        # By its value: the first releases of Python 3.11 take the name, under which an unknown value is not found.
        return type(self), (self._value_,)

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended for good."""
        return self in _TERMINAL

    @property
    def has_started(self) -> bool:
        """Whether the task is out of the queue: it runs, or has ended.

        A value that this version does not know counts as started, unless it is a word for waiting, such as `scheduled`: it
        is no reason to give a task up.
        """
        return self not in _QUEUED and _plain(self) not in _WAITING

    @property
    def is_known(self) -> bool:
        """Whether this version of the SDK knows the value."""
        return self.value in TaskStatus._value2member_map_

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) if isinstance(other, str) else NotImplemented

    __hash__ = str.__hash__


_TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})

ACTIVE = (
    TaskStatus.PENDING,
    TaskStatus.WAITING,
    TaskStatus.PROVISIONING,
    TaskStatus.QUEUED,
    TaskStatus.RUNNING,
)
"""The statuses that are not terminal, in the order in which a task goes through them."""

_QUEUED = frozenset(ACTIVE[:-1])

UNSTATED = TaskStatus("unknown")
"""Stands where the server left the status out."""

_FAILURE = frozenset({"error", "errored", "failure", "timeout", "timed_out", "expired", "crashed"})
_WAITING = frozenset(
    {"accepted", "assigned", "created", "in_queue", "new", "scheduled", "scheduling", "starting", "submitted"}
    | {"waiting_to_dispatch"}
)
_SUCCESS = frozenset({"succeeded", "success", "successful", "done", "finished", "complete", "ok"})
"""Values of comparable services."""


def may_have_ended(status: TaskStatus) -> bool:
    """Whether a polled status is terminal, missing, or means an end elsewhere: then the result decides."""
    return status.is_terminal or status == UNSTATED or _plain(status) in _FAILURE | _SUCCESS


def _plain(status: TaskStatus) -> str:
    return status.strip().lower().replace("-", "_").replace(" ", "_")


@attrs.frozen(kw_only=True)
class Evidence:
    """What an answer says of a task beside its status.

    Attributes:
        event: The terminal status of the event that ended the stream.
        has_ended: Whether it gives the time at which the task reached a terminal state.
        has_error: Whether it gives an error.
        has_output: Whether it gives an output or a URL of one.
        denies_error: Whether it has no place for an output, and says that there was no error.

    """

    event: TaskStatus | None = None
    has_ended: bool = False
    has_error: bool = False
    has_output: bool = False
    denies_error: bool = False


def status_from(value: str | None, evidence: Evidence) -> TaskStatus:
    """Find a task's status by the table at the top of this module."""
    status = UNSTATED if value is None else TaskStatus(value)
    if status.is_known:
        return status
    if evidence.event is not None:
        return evidence.event
    plain = _plain(status)
    is_stated = status != UNSTATED
    says_failure, says_success = plain in _FAILURE, plain in _SUCCESS
    if evidence.has_ended:
        says_success = says_success or evidence.has_output or (evidence.denies_error and not evidence.has_error)
        is_completed = says_success and not (evidence.has_error or says_failure)
        return TaskStatus.COMPLETED if is_completed else TaskStatus.FAILED
    if evidence.has_error and (says_failure or not is_stated):
        return TaskStatus.FAILED
    if evidence.has_output and (says_success or not is_stated):
        return TaskStatus.COMPLETED
    return status
