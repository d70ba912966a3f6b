"""Spans of OpenTelemetry from what a client does (extra `otel`).

```python
from cyberun_async import AsyncClient
from cyberun_async.otel import OpenTelemetryObserver

client = AsyncClient(observer=OpenTelemetryObserver())
```

A wait for a task is a span `cyberun wait`, and below it is one for each status that the task was seen in: `submitted`
until the first is known, then `waiting`, `queued`, `running`. Requests about the task are below the status that it was
in; all others are where they were made. No span has a key, a signed URL or a parameter in it.
"""

from cyberun_async._extras import missing_extra

try:
    from opentelemetry import trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
except ImportError as _error:
    raise ImportError(missing_extra("cyberun_async.otel", "otel")) from _error

import attrs

from cyberun_async._observing import Observer, RequestStarted, ResponseReceived, RetryPlanned, WaitProgressed

__all__ = ["OpenTelemetryObserver"]


@attrs.define(eq=False)
class _Wait:
    """A wait that goes on: its span, and that of the status that its task is in."""

    span: Span
    status: Span


class OpenTelemetryObserver(Observer):
    """Makes spans of the requests and waits of one client, or of several.

    Args:
        tracer_provider: Else the global one.

    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("cyberun_async", tracer_provider=tracer_provider)
        self._requests: dict[int, Span] = {}
        self._waits: dict[int, _Wait] = {}
        self._waits_of_task: dict[str, list[_Wait]] = {}

    def __repr__(self) -> str:
        """Show what goes on."""
        return f"<{type(self).__name__}: {len(self._requests)} requests and {len(self._waits)} waits>"

    def on_request(self, record: RequestStarted) -> None:
        """Begin the span of one attempt."""
        task_id, path = record.task_id, record.path
        route = path if task_id is None else path.replace(task_id, "{task_id}")
        attributes: dict[str, str | int] = {"http.request.method": record.method, "url.path": path}
        if record.attempt > 1:
            attributes["http.request.resend_count"] = record.attempt - 1
        if task_id is not None:
            attributes["cyberun.task_id"] = task_id
        wait = self._newest_wait(task_id)
        parent = None if wait is None else wait.status
        self._requests[record.number] = self._start(f"{record.method} {route}", parent, SpanKind.CLIENT, attributes)

    def on_response(self, record: ResponseReceived) -> None:
        """End it with what came of it."""
        span, problem = self._requests.pop(record.request.number), record.error
        if record.status is not None:
            span.set_attribute("http.response.status_code", record.status)
            problem = str(record.status) if record.status >= 400 else None
        _end(span, problem)

    def on_retry(self, record: RetryPlanned) -> None:
        """Note on the wait that the task is part of, or else on the caller's own span, that there will be another."""
        wait = self._newest_wait(record.failure.task_id)
        span = trace.get_current_span() if wait is None else wait.status
        span.add_event("cyberun.retry", {"attempt": record.attempt, "delay": record.delay})

    def on_wait(self, record: WaitProgressed) -> None:
        """Begin a wait, go on to another status, or end it."""
        wait = self._waits.get(record.number)
        attributes: dict[str, str | int] = {"cyberun.task_id": record.task_id}
        if wait is None:
            span = self._start("cyberun wait", None, SpanKind.INTERNAL, attributes)
            wait = _Wait(span, self._start("submitted", span, SpanKind.INTERNAL, attributes))
            self._waits[record.number] = wait
            self._waits_of_task.setdefault(record.task_id, []).append(wait)
        elif record.is_over:
            self._end_wait(record, wait)
        else:
            wait.status.end()
            wait.status = self._start(record.status or "unknown", wait.span, SpanKind.INTERNAL, attributes)

    def _end_wait(self, record: WaitProgressed, wait: _Wait) -> None:
        del self._waits[record.number]
        waits = self._waits_of_task[record.task_id]
        waits.remove(wait)
        if not waits:
            del self._waits_of_task[record.task_id]
        wait.status.end()
        if record.status is not None:
            wait.span.set_attribute("cyberun.task_status", record.status)
        _end(wait.span, record.error)

    def _newest_wait(self, task_id: str | None) -> _Wait | None:
        """Give the wait that requests about a task belong to, as no record of a request says which one sent it."""
        waits = self._waits_of_task.get(task_id or "")
        return waits[-1] if waits else None

    def _start(self, name: str, parent: Span | None, kind: SpanKind, attributes: dict[str, str | int]) -> Span:
        context = None if parent is None else trace.set_span_in_context(parent)
        return self._tracer.start_span(name, context, kind, attributes)


def _end(span: Span, problem: str | None) -> None:
    if problem is not None:
        span.set_attribute("error.type", problem)
        span.set_status(Status(StatusCode.ERROR, problem))
    span.end()
