"""What a client does, as spans of OpenTelemetry."""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import anyio
import attrs
import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from support.tables import table

from cyberun_async import (
    AsyncClient,
    NotFoundError,
    RequestStarted,
    ResponseReceived,
    Retries,
    RetryPlanned,
    ServerError,
    TaskEvent,
    TaskFailed,
    TransportError,
    WaitProgressed,
)
from cyberun_async.local import LocalCyberun, scripts
from cyberun_async.otel import OpenTelemetryObserver


class Spans:
    """The spans of one test, in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.observer = OpenTelemetryObserver(self.provider)

    def all(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def below(self, parent: ReadableSpan | None) -> list[ReadableSpan]:
        wanted = parent and parent.context.span_id
        return [span for span in self.all() if (span.parent and span.parent.span_id) == wanted]

    def named(self, name: str) -> ReadableSpan:
        return next(span for span in self.all() if span.name == name)


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Collect spans."""
    spans = Spans()
    yield spans
    spans.provider.shutdown()
    # Whatever began has ended.
    assert (spans.observer._requests, spans.observer._waits, spans.observer._waits_of_task) == ({}, {}, {})
    assert repr(spans.observer) == "<OpenTelemetryObserver: 0 requests and 0 waits>"


SMALL = {"prompt": "a lighthouse", "width": 64, "height": 64}
LIFE = [
    scripts.after(1),
    scripts.status("waiting"),
    scripts.after(1),
    scripts.status("queued"),
    scripts.after(1),
    scripts.status("running"),
    scripts.after(1),
    scripts.complete(),
]


def letting_a_second_pass(server: LocalCyberun) -> Callable[[TaskEvent], Awaitable[None]]:
    """Give a callback that moves the server's clock along."""

    async def advance(_: TaskEvent) -> None:
        await server.clock.advance(1)

    return advance


async def test_wait(spans: Spans) -> None:
    """A wait is a span; below it is each status, and below those the requests about the task."""
    async with LocalCyberun(clock="held") as server:
        server.script("text-to-image", LIFE)
        async with AsyncClient(server.api_key, base_url=server.base_url, observer=spans.observer) as client:
            result = await client.run(
                "text-to-image", SMALL, validate=False, timeout=15, on_event=letting_a_second_pass(server)
            )
    wait = spans.named("cyberun wait")
    assert dict(wait.attributes or {}) == {"cyberun.task_id": result.id, "cyberun.task_status": "completed"}
    assert wait.status.status_code is StatusCode.UNSET
    names = [span.name for span in spans.below(wait)]
    assert names[0] == "submitted"
    assert names[-4:] == ["waiting", "queued", "running", "completed"]
    assert [span.name for span in spans.below(None)] == ["POST /r/workflows/slug/text-to-image/run", "cyberun wait"]
    requests = [request.name for status in spans.below(wait) for request in spans.below(status)]
    assert requests[0] == "GET /r/tasks/{task_id}/events"
    assert requests[-1] == "GET /r/tasks/{task_id}/result"
    assert len(spans.all()) == 2 + len(names) + len(requests)


async def test_two_waits_of_one_task(spans: Spans) -> None:
    """Each of them is a span that ends, and the requests about the task are below one of them."""
    async with LocalCyberun(clock="held") as server:
        server.script("text-to-image", LIFE)
        async with AsyncClient(server.api_key, base_url=server.base_url, observer=spans.observer) as client:
            task_id = await client.submit("text-to-image", SMALL, validate=False)
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(partial(client.wait_for_result, task_id, on_event=letting_a_second_pass(server)))
    waits = [span for span in spans.below(None) if span.name == "cyberun wait"]
    assert [(wait.attributes or {})["cyberun.task_status"] for wait in waits] == ["completed", "completed"]
    requests = [request for wait in waits for status in spans.below(wait) for request in spans.below(status)]
    assert requests


@table("first_to_end", [pytest.param(0, id="the older one"), pytest.param(1, id="the newer one")])
def test_one_of_two_waits_ends(spans: Spans, first_to_end: int) -> None:
    """Requests and retries are below the wait that still runs."""
    spans.exporter.clear()
    observer, request = spans.observer, RequestStarted(1, "GET", "/r/tasks/t-1", 1, "t-1")
    waits = [WaitProgressed(number, "t-1", None) for number in (1, 2)]
    for wait in waits:
        observer.on_wait(wait)
    observer.on_wait(attrs.evolve(waits[first_to_end], status="completed", is_over=True))
    observer.on_request(request)
    observer.on_response(ResponseReceived(request, 0.1, 200, None))
    failure = ServerError(503, "", method="GET", path="/r/tasks/t-1", task_id="t-1")
    observer.on_retry(RetryPlanned("GET", "/r/tasks/t-1", 1, 0.1, failure))
    observer.on_wait(attrs.evolve(waits[1 - first_to_end], status="completed", is_over=True))
    ended, running = [span for span in spans.exporter.get_finished_spans() if span.name == "submitted"]
    assert (spans.below(ended), [span.name for span in spans.below(running)]) == ([], ["GET /r/tasks/{task_id}"])
    assert ([*ended.events], [event.name for event in running.events]) == ([], ["cyberun.retry"])


def test_a_wait_without_a_status(spans: Spans) -> None:
    """A wait that ends before anything is known of its task does not name a status."""
    wait = WaitProgressed(1, "t-1", None)
    spans.observer.on_wait(wait)
    spans.observer.on_wait(attrs.evolve(wait, is_over=True))
    assert dict(spans.named("cyberun wait").attributes or {}) == {"cyberun.task_id": "t-1"}


async def test_failures(spans: Spans) -> None:
    """Spans that did not end well say so."""
    async with LocalCyberun(pace=0.001) as server:
        async with AsyncClient(server.api_key, base_url=server.base_url, observer=spans.observer) as client:
            with pytest.raises(TaskFailed):
                await client.run("always-fails", timeout=15)
            with pytest.raises(NotFoundError):
                await client.tasks.get("no-such-task")
    missing = spans.all()[-1]
    assert (missing.attributes or {})["http.response.status_code"] == 404
    for span, problem in ((spans.named("cyberun wait"), "TaskFailed"), (missing, "404")):
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == problem


async def test_retries(spans: Spans) -> None:
    """Each attempt is a span, and each repetition an event of the caller's own span."""
    answers: list[Exception | httpx.Response] = [httpx.ReadError("reset"), httpx.Response(503), httpx.Response(404)]

    def answer(request: httpx.Request) -> httpx.Response:
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    retries = Retries(initial=0.001)
    tracer = spans.provider.get_tracer("a program")
    async with AsyncClient(
        "sk-test", base_url="http://localhost", http_client=http, retries=retries, observer=spans.observer
    ) as client:
        with tracer.start_as_current_span("a program"), pytest.raises(NotFoundError):
            await client.workflows.get("text-to-image")
    own = spans.named("a program")
    assert [(event.name, (event.attributes or {})["attempt"]) for event in own.events] == [
        ("cyberun.retry", 1),
        ("cyberun.retry", 2),
    ]
    attempts = spans.below(own)
    assert [(each.attributes or {}).get("http.request.resend_count") for each in attempts] == [None, 1, 2]
    assert [(each.attributes or {})["error.type"] for each in attempts] == ["TransportError", "503", "404"]
    assert {each.name for each in attempts} == {"GET /r/workflows/slug/text-to-image"}


async def test_retry_in_a_wait(spans: Spans) -> None:
    """A repetition in a wait is an event of the status that the task is in; two waits for one task go side by side."""
    async with LocalCyberun() as server:
        async with AsyncClient(server.api_key, base_url=server.base_url, observer=spans.observer) as client:
            server.script("text-to-image", [scripts.status("running")])
            task_id = await client.submit("text-to-image", {"prompt": "a lighthouse"})
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(client.wait_for_result, task_id)
                await anyio.wait_all_tasks_blocked()
                failure = TransportError("x", method="GET", path="/", may_have_been_sent=True, task_id=task_id)
                spans.observer.on_retry(RetryPlanned("GET", "/", 1, 0.5, failure))
                group.cancel_scope.cancel()
    events = [event.name for span in spans.all() for event in span.events]
    assert events == ["cyberun.retry"]
    assert [span.name for span in spans.all()].count("cyberun wait") == 2


def test_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, importing it says what to install."""
    import cyberun_async.otel

    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "cyberun_async.otel")
    with pytest.raises(ImportError, match=r"pip install '.\[otel\]'"):
        importlib.import_module("cyberun_async.otel")
    assert cyberun_async.otel
