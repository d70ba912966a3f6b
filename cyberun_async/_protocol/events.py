"""What an event stream says of a task.

Source: https://docs.cyberun.cloud/api-reference/streaming-events
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ClassVar, Literal, get_args

import attrs

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.codec import structure_hook
from cyberun_async._protocol.conversions import share_of
from cyberun_async._protocol.fields import NOT_ON_WIRE, extra_field, redact_repr, wire
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.mismatch_log import LOG_OF_PROCESS, MismatchLog
from cyberun_async._protocol.record import Record
from cyberun_async._protocol.redaction import redacted
from cyberun_async._protocol.status import UNSTATED, TaskStatus
from cyberun_async._protocol.tasks import TaskResult, read_output, read_reason, reason_of
from cyberun_async._protocol.timestamps import format_timestamp
from cyberun_async._validators import check_kind

Source = Literal["stream", "poll"]
"""Where an event was learned: from the server's stream, or by polling."""


class _Terminal(Record):
    """The last event of a task, whose data has its status, too."""

    __slots__ = ()

    status: ClassVar[TaskStatus]

    def to_dict(self, *, include_urls: bool = False, include_secrets: bool = False) -> dict[str, object]:
        """Give the event's data as a dictionary of JSON values; see `Record.to_dict()`."""
        fields = super().to_dict(include_urls=include_urls, include_secrets=include_secrets)
        return {**fields, "status": self.status.value}


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class StatusEvent(Record):
    """The task's status changed.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    Attributes:
        task_id: The task.
        status: What it is now; a value that this version does not know stays as it is, and `unknown` stands for none.
        timestamp: When, by the server's clock; `None` where it does not say.
        source: `"stream"`, or `"poll"` where a poll found it.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: ClassVar[str] = "status"
    is_terminal: ClassVar[bool] = False

    task_id: str
    status: TaskStatus = wire(aliases=("task_status",), default=UNSTATED)
    timestamp: datetime | None = None
    source: Source = attrs.field(default="stream", eq=False, metadata=NOT_ON_WIRE)
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class ProgressEvent(Record):
    """The task got further.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    Attributes:
        task_id: The task.
        progress: The whole task's progress, 0.0 to 1.0; `None` where the server leaves it out, or gives another number.
        current_node: The node at work; for ComfyUI the node's id.
        step_current: Steps done so far.
        step_total: Steps in all.
        stage: Nerfstudio only: `download`, `process_data`, `train`, `export` or `upload`.
        message: Nerfstudio only: the status in words.
        timestamp: When, by the server's clock; `None` where it does not say.
        source: `"stream"`; a poll reports no progress.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: ClassVar[str] = "progress"
    is_terminal: ClassVar[bool] = False

    task_id: str
    progress: float | None = wire(read=share_of, default=None)
    current_node: str | None = None
    step_current: int | None = None
    step_total: int | None = None
    stage: str | None = None
    message: str | None = None
    timestamp: datetime | None = None
    source: Source = attrs.field(default="stream", eq=False, metadata=NOT_ON_WIRE)
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class CompletedEvent(_Terminal):
    """The task is done; `tasks.result()` has the URLs of its files.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    Attributes:
        task_id: The task.
        output: The agent's metadata about the outputs, without URLs.
        completed_at: When it ended; `None` where the server does not say.
        source: `"stream"`, or `"poll"` where a poll found it.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: ClassVar[str] = "completed"
    is_terminal: ClassVar[bool] = True
    status: ClassVar[TaskStatus] = TaskStatus.COMPLETED

    task_id: str
    output: Mapping[str, object] | None = wire(aliases=("task_output",), read=read_output, default=None)
    completed_at: datetime | None = None
    source: Source = attrs.field(default="stream", eq=False, metadata=NOT_ON_WIRE)
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class FailedEvent(_Terminal):
    """The task failed, for the reason that `error` gives.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    Attributes:
        task_id: The task.
        error: The server's reason, or `None` where it gave none.
        source: `"stream"`, or `"poll"` where a poll found it.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: ClassVar[str] = "failed"
    is_terminal: ClassVar[bool] = True
    status: ClassVar[TaskStatus] = TaskStatus.FAILED

    task_id: str
    error: str | None = wire(
        aliases=("task_error", "error_message", "message", "detail"),
        read=read_reason,
        default=None,
        converter=reason_of,
    )
    source: Source = attrs.field(default="stream", eq=False, metadata=NOT_ON_WIRE)
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class CancelledEvent(_Terminal):
    """The task was cancelled.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    Attributes:
        task_id: The task.
        source: `"stream"`, or `"poll"` where a poll found it.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: ClassVar[str] = "cancelled"
    is_terminal: ClassVar[bool] = True
    status: ClassVar[TaskStatus] = TaskStatus.CANCELLED

    task_id: str
    source: Source = attrs.field(default="stream", eq=False, metadata=NOT_ON_WIRE)
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class ErrorEvent(Record):
    """The server could not read the task's state for a moment; the task itself continues.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    Attributes:
        task_id: The task.
        message: The server's words, or `None` where it gave none.
        source: always `"stream"`.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: ClassVar[str] = "error"
    is_terminal: ClassVar[bool] = False

    task_id: str
    message: str | None = wire(aliases=("error_message", "error", "detail"), read=read_reason, default=None)
    source: Source = attrs.field(default="stream", eq=False, metadata=NOT_ON_WIRE)
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class UnknownEvent(Record):
    """An event that this version does not know, as the server sent it.

    Attributes:
        task_id: The task whose stream it came on.
        name: The event's name.
        data: Its data, not interpreted.
        source: always `"stream"`.

    """

    is_terminal: ClassVar[bool] = False

    task_id: str
    name: str
    data: str
    source: Source = attrs.field(default="stream", eq=False, metadata=NOT_ON_WIRE)


MAX_VALUES = 100_000
"""Commas and containers of one event; it is read in one go."""

TaskEvent = StatusEvent | ProgressEvent | CompletedEvent | FailedEvent | CancelledEvent | ErrorEvent | UnknownEvent
"""Any event of a task; `match` distinguishes them."""

TerminalEvent = CompletedEvent | FailedEvent | CancelledEvent
"""The last event of a task."""

_Known = StatusEvent | ProgressEvent | CompletedEvent | FailedEvent | CancelledEvent | ErrorEvent

_KNOWN: Mapping[str, type[_Known]] = {
    kind.name: kind for kind in (StatusEvent, ProgressEvent, CompletedEvent, FailedEvent, CancelledEvent, ErrorEvent)
}


_Reader = tuple[type[_Known], Callable[[object, MismatchLog], TaskEvent], TaskStatus | None]
"""A kind of event, what makes one of a parsed object, and the status that it stands for if it is terminal."""

_READERS: dict[str, _Reader] = {}
"""What reads each kind of event, from its first one on: looking it up costs what one field does."""


def _reader_of(name: str) -> _Reader | None:
    """Give what reads the events of a name, which is known in any case; `None` for one that is not known."""
    kind = _KNOWN.get(name) or _KNOWN.get(TaskStatus(name.strip().lower().removeprefix("task.")))
    if kind is None:
        return None
    status: TaskStatus | None = kind.status if kind.is_terminal else None  # type: ignore[union-attr]
    reader = kind, structure_hook(kind), status  # type: ignore[arg-type]
    _READERS[kind.name] = reader
    return reader


def decode_event(name: str, data: str, *, task_id: str) -> TaskEvent:
    """Read one event of the stream of a task.

    Args:
        name: The `event:` field.
        data: The `data:` field, its lines joined.
        task_id: The task whose stream it came on; `error` events do not name theirs.

    Raises:
        DecodeError: The data of a known event is not JSON.
        InvalidParameters: An argument is no string.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events

    """
    if not type(name) is type(data) is type(task_id) is str:
        for what, value in (("name", name), ("data", data), ("task_id", task_id)):
            check_kind(value, str, f"the {what} of an event", "a string")
    try:
        return read_event(name, data, task_id, LOG_OF_PROCESS)
    except DecodeError as error:
        failure = DecodeError(error.problem, body=error.body, task_id=error.task_id)
    # The variables of frames may be shown, and this one may hold presigned URLs.
    del data
    raise failure


def read_event(name: str, data: str, task_id: str, log: MismatchLog) -> TaskEvent:
    """Read one event; see `decode_event`."""
    reader = _READERS.get(name) or _reader_of(name)
    if reader is None:
        return UnknownEvent(task_id=task_id, name=name, data=data)
    kind, build, status = reader
    try:
        fields = parse_json(data, MAX_VALUES)
    except DecodeError as error:
        raise DecodeError(error.problem, body=redacted(data), task_id=task_id) from None
    if not isinstance(fields, dict):
        log(f"{kind.__name__}", f"expected an object, not {type(fields).__name__}")
        # The kind of an event is all that is needed, and text can only be its message.
        fields = {"message" if isinstance(fields, str) else "data": fields}
    given = fields.get("task_id")
    if type(given) is not str or not given:
        fields["task_id"] = str(given) if type(given) is int else task_id
    if status is not None and fields.get("status") == status:
        del fields["status"]
    # There is always an id, and nothing else is needed, so that this raises nothing.
    return build(fields, log)


def encode_event(event: TaskEvent) -> tuple[str, str]:
    """Write an event as `(name, data)`, ready to be relayed as Server-Sent Events.

    `decode_event` gives an equal event back. Fields that are not set are left out. The data is one line of ASCII, but
    for an `UnknownEvent`, whose data is the server's and may have several.

    Source: https://docs.cyberun.cloud/api-reference/streaming-events
    """
    check_kind(event, get_args(TaskEvent), "event", "an event of a task")
    if isinstance(event, UnknownEvent):
        return event.name, event.data
    fields = {
        field.name: value
        for field in attrs.fields(type(event))
        if field.name not in {"source", "extra"} and (value := getattr(event, field.name)) is not None
    }
    if event.is_terminal:
        fields["status"] = event.status  # type: ignore[union-attr]
    return event.name, json.dumps(fields, default=_encode_moment)


def _encode_moment(value: object) -> str:
    if isinstance(value, datetime):
        return format_timestamp(value)
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


def event_from_status(task_id: str, status: TaskStatus) -> StatusEvent:
    """Give the event for a poll that found the task not yet terminal."""
    return StatusEvent(task_id=task_id, status=status, source="poll")


def event_from_result(result: TaskResult) -> TerminalEvent:
    """Give the terminal event for a terminal result."""
    if result.status == TaskStatus.COMPLETED:
        return CompletedEvent(
            task_id=result.id,
            output=result.output,
            completed_at=result.completed_at,
            source="poll",
        )
    if result.status == TaskStatus.CANCELLED:
        return CancelledEvent(task_id=result.id, source="poll")
    return FailedEvent(task_id=result.id, error=result.error, source="poll")
