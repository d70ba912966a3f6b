"""Tasks and their results."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.conversions import Partial, expected
from cyberun_async._protocol.fields import extra_field, on_wire, redact_repr, wire
from cyberun_async._protocol.output_files import OutputFile, files_of
from cyberun_async._protocol.output_urls import url_of, urls_of
from cyberun_async._protocol.record import Record
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.status import UNSTATED, Evidence, TaskStatus, status_from


def reason_of(error: str | None) -> str | None:
    """Give the words that an error's message repeats, without keys and signatures; `""` is how the wire says none."""
    return redact(error) if error else None


def read_reason(value: object, _: object = None) -> object:
    """Read the words of an error, which may be an object or a list."""
    if isinstance(value, str):
        return value if value.strip() else None
    if not value:
        return None
    # Only where it is needed: most errors are text.
    from cyberun_async._protocol.error_text import error_text

    words = error_text(value)
    if words is None:
        raise expected("a string", value)
    return Partial(words, f"expected a string, not {type(value).__name__}")


ERROR_ALIASES = ("error", "error_message")
"""Names under which the error of a task may stand instead."""

_EXPLANATIONS = ("message", "detail")
"""Names under which a task that failed may have its error, and another one anything."""

_OUTPUTS = ("task_output", "output", "download_url", "download_urls")
"""Names under which an output may stand that could not be read."""

Said = dict[str, object]
"""What was read of a response, by our names."""

Extras = dict[str, object] | None
"""What will be the record's `extra`."""


def _settle(said: Said, extra: Extras, raw: Mapping[str, object], *, denies_error: bool = False) -> Extras:
    """Find the status where it is not stated by a known value, and why a task failed; the raw value is kept."""
    stated = _stated(said, extra)
    if isinstance(stated, TaskStatus) and stated.is_known:
        return extra if stated != TaskStatus.FAILED or said.get("error") else _explain(said, extra)
    kept = {} if extra is None else extra
    outputs = (said.get("output") is not None, *map(kept.get, _OUTPUTS))
    evidence = Evidence(
        has_ended="completed_at" in said,
        has_error=bool(said.get("error")),
        has_output=any(outputs) or bool(said.get("download_url") or said.get("download_urls")),
        denies_error=denies_error,
    )
    status = status_from(stated if isinstance(stated, TaskStatus) else None, evidence)
    if not status.is_known:
        return extra
    said["status"] = status
    if stated is not None:
        kept |= {name: raw[name] for name in ("task_status", "status") if raw.get(name) == stated}
    if status == TaskStatus.FAILED and not said.get("error"):
        _explain(said, kept)
        said.setdefault("error", f"{_NO_REASON}, but the status {stated}" if stated else _NO_REASON)
    return kept


_NO_REASON = "the server gives no reason"


def _stated(said: Said, extra: Extras) -> object:
    """Give the status as it is stated; of two, the one that is known."""
    stated = said.get("status")
    other = extra.get("status") if extra and isinstance(stated, TaskStatus) and not stated.is_known else None
    if isinstance(other, str) and TaskStatus(other).is_known:
        said["status"] = stated = TaskStatus(other)
    return stated


def _explain(said: Said, extra: Extras) -> Extras:
    """Take as the error of a task that failed what else explains it."""
    for name in _EXPLANATIONS:
        if extra and isinstance(extra.get(name), str) and not said.get("error"):
            said["error"] = extra[name]
    return extra


def read_output(value: object, _: object = None) -> object:
    """Read an output, which is an object; empty text and an empty list are how a server may say none."""
    if isinstance(value, dict):
        return value
    if not value:
        return None
    raise expected("an object", value)


_ENVELOPES = ("data", "task", "result", "response", "payload")
_TASK_FIELDS = ("task_status", "completed_at", "task_output", "download_url", "download_urls", "task_error")
"""Fields of which one shows that a response without an id is about a task."""


def _is_about_a_task(response: Mapping[str, object]) -> bool:
    """Whether a response without an id is about a task; an error that comes with a 200 has a `status`, too."""
    status = response.get("status")
    return any(response.get(name) for name in _TASK_FIELDS) or (isinstance(status, str) and TaskStatus(status).is_known)


def with_task_id(response: object, task_id: str) -> object:
    """Give a response about a task with an id: its own, or where it has none that of the task that was requested."""
    if not isinstance(response, dict):
        return response
    has_id = _is_id(response.get("id")) or _is_id(response.get("task_id"))
    for name in _ENVELOPES if not has_id or not _is_about_a_task(response) else ():
        if isinstance(response.get(name), dict):
            return with_task_id(response[name], task_id)
    if has_id:
        return response
    return {**response, "id": task_id} if _is_about_a_task(response) else response


def _is_id(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""


@attrs.frozen
class Submitted:
    """The response to a submission."""

    task_id: str
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Task(Record):
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
        extra: What else the server says, and what of it did not fit, as it came.

    """

    id: str = attrs.field(metadata=on_wire(aliases=("task_id",)))
    workflow_id: str | None = None
    status: TaskStatus = wire("task_status", aliases=("status",), default=UNSTATED)
    error: str | None = wire("task_error", aliases=ERROR_ALIASES, read=read_reason, default=None, converter=reason_of)
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
    extra: Mapping[str, object] = extra_field()

    @staticmethod
    def _settle(said: Said, extra: Extras, raw: Mapping[str, object]) -> Extras:
        return _settle(said, extra, raw, denies_error=raw.get("task_error") == "")


def _implied_status(result: "TaskResult") -> TaskStatus:
    """Give the status of a result that is made without one; its other fields are not there yet."""
    return status_from(None, Evidence(has_error=bool(result.error), has_output=result.output is not None))


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class TaskResult(Record):
    """What became of a task.

    Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

    Attributes:
        id: The task's UUID.
        output: The agent's metadata about the outputs; `None` unless it completed, and where it is no object.
        error: Why it failed; `None` unless it did.
        status: Where it stands; the endpoint responds for a task that is not terminal, too. Where the server gives no
            status, or one that this version does not know, it is inferred from the rest of the response.
        download_url: The presigned URL of the primary output, valid for an hour; never shown.
        download_urls: Presigned URLs by output key, where a task has several outputs; never shown.
        expires_at: When `download_url` expires.
        completed_at: When it ended.
        files: The output files (`OutputFile`), the primary one first, for `download()`, `open_file()` and `read_file()`.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    id: str = attrs.field(metadata=on_wire(aliases=("task_id",)))
    output: Mapping[str, object] | None = wire("task_output", aliases=("output",), read=read_output, default=None)
    error: str | None = wire("task_error", aliases=ERROR_ALIASES, read=read_reason, default=None, converter=reason_of)
    status: TaskStatus = wire(
        "task_status", aliases=("status",), default=attrs.Factory(_implied_status, takes_self=True)
    )
    download_url: str | None = wire(read=url_of, default=None, hidden="url")
    download_urls: Mapping[str, str] = wire(read=urls_of, factory=dict, hidden="url")
    expires_at: datetime | None = None
    completed_at: datetime | None = None
    extra: Mapping[str, object] = extra_field()

    @staticmethod
    def _settle(said: Said, extra: Extras, raw: Mapping[str, object]) -> Extras:
        return _settle(said, extra, raw)

    @property
    def files(self) -> tuple[OutputFile, ...]:
        """Every output file, the primary one first; keys and names stay the same from call to call."""
        return files_of(self)


def says_nothing(result: TaskResult) -> bool:
    """Whether a result says that the task ended, and nothing of how."""
    return result.status == TaskStatus.FAILED and (result.error or "").startswith(_NO_REASON)


def with_evidence(result: TaskResult, status: TaskStatus | None) -> TaskResult:
    """Give a result that does not say the status of the task the status that something else has reported."""
    if status is None or (result.status.is_known and not says_nothing(result)):
        return result
    return attrs.evolve(result, status=status, error=result.error if status == TaskStatus.FAILED else None)


def is_same_task(one: str, other: str) -> bool:
    """Whether two ids are those of one task: a server may write its UUIDs in either case."""
    return one == other or one.lower() == other.lower()


def check_task(given: str, wanted: str) -> None:
    """Check that a response is about the task that was requested.

    Raises:
        DecodeError: It is about another one.

    """
    if not is_same_task(given, wanted):
        message = f"it is about another task, {given[:100]}"
        raise DecodeError(message)
