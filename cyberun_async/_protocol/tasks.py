"""Tasks and their results."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from cyberun_async._protocol.codec import wire
from cyberun_async._protocol.hiding import hide
from cyberun_async._protocol.status import UNSTATED, TaskStatus


def reason_of(error: str | None) -> str | None:
    """Give the words that an error's message repeats, without keys and signatures; `""` is how the wire says none."""
    return hide(error) if error else None


def _implied_status(result: "TaskResult") -> TaskStatus:
    """Give the status that follows from what the documentation says of a result's other fields."""
    if result.error:
        return TaskStatus.FAILED
    return UNSTATED if result.output is None else TaskStatus.COMPLETED


@attrs.frozen
class Submitted:
    """The server's answer to a submitted task."""

    task_id: str


@attrs.frozen(kw_only=True)
class Task:
    """A task as the server sees it now; its output is in its result, its progress only in its events.

    Every field but `id` is `None`, empty or zero where the server leaves it out.

    Source: https://docs.cyberun.cloud/api-reference/task/get-task-status

    Attributes:
        id: The task's UUID.
        workflow_id: The UUID of the workflow that it runs.
        status: Where it stands; `unknown` where the server leaves it out.
        error: Why it failed.
        created_at: When it was submitted.
        started_at: When an agent began to work on it.
        completed_at: When it ended.
        retry_count: How often the server has started it again.
        agent_id: The agent that has it.
        agent_labels: The labels of that agent.
        gateway_id: The gateway that the agent is connected to.
        gpu_type: The GPU that it runs on.
        dispatch_target: Where it was sent to.
        target_pool: The pool of agents that it was sent to.
        tool_type: `comfyui` or `nerfstudio`.

    """

    id: str
    workflow_id: str | None = None
    status: TaskStatus = wire("task_status", default=UNSTATED)
    error: str | None = wire("task_error", default=None, converter=reason_of)
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    retry_count: int = 0
    agent_id: str | None = None
    agent_labels: tuple[str, ...] = ()
    gateway_id: str | None = None
    gpu_type: str | None = None
    dispatch_target: str | None = None
    target_pool: str | None = None
    tool_type: str | None = None


@attrs.frozen(kw_only=True)
class OutputFile:
    """One file of a result.

    Attributes:
        key: What the server calls the output (`9.images.0`), or its storage key.
        name: A file name that is safe on every system and differs from those of the result's other files.
        url: A signed link, valid for an hour; whoever has it can fetch the file, so it is never shown.
        expires_at: When the link expires, where the server says so.
        task_id: The task that made it, which can be asked for a fresh link.

    """

    key: str
    name: str
    url: str = attrs.field(repr=False)
    expires_at: datetime | None = None
    task_id: str


@attrs.frozen(kw_only=True)
class TaskResult:
    """What became of a task.

    Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

    Attributes:
        id: The task's UUID.
        output: The agent's metadata about the outputs; `None` unless it completed.
        error: Why it failed; `None` unless it did.
        status: Where it stands; the server answers for a task that has not ended, too. Where it leaves the status out,
            as in the documented sample, an error means `failed` and an output means `completed`.
        download_url: The signed link of the primary output; never shown.
        download_urls: Signed links by output key, where a task has several outputs; never shown.
        expires_at: When `download_url` expires.
        completed_at: When it ended.

    """

    id: str
    output: Mapping[str, object] | None = wire("task_output", default=None)
    error: str | None = wire("task_error", default=None, converter=reason_of)
    status: TaskStatus = wire("task_status", default=attrs.Factory(_implied_status, takes_self=True))
    download_url: str | None = attrs.field(default=None, repr=False)
    download_urls: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    expires_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def files(self) -> tuple[OutputFile, ...]:
        """Every output file, the primary one first; keys and names stay the same from call to call."""
        # It takes tables of what names must not have, which a wait does without.
        from cyberun_async._protocol.outputs import files_of

        return files_of(self)
