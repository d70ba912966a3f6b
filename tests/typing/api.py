"""The types that users see: read by mypy and pyright, and never run."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import httpx
from typing_extensions import assert_never, assert_type

from cyberun_async import (
    Agent,
    APIError,
    APIResponse,
    AsyncClient,
    AsyncPaginator,
    BatchCounts,
    CachedToken,
    CancelledEvent,
    CompletedEvent,
    Container,
    ContainerStream,
    CyberunError,
    DecodeError,
    ErrorEvent,
    EventStream,
    FailedEvent,
    FileStream,
    InputFile,
    Invocation,
    Journal,
    JournalEntry,
    JournalInUse,
    Limits,
    Observer,
    Outcome,
    OutputFile,
    Page,
    ParameterDef,
    Ping,
    Polling,
    PresignedUpload,
    ProgressEvent,
    RateLimiter,
    Record,
    RefreshingToken,
    RequestStarted,
    ResponseReceived,
    Retries,
    ServerSentEvent,
    StartTimeout,
    StatusEvent,
    Task,
    TaskError,
    TaskEvent,
    TaskFailed,
    TaskResult,
    TaskStatus,
    Timeouts,
    TokenError,
    TransportError,
    UnknownEvent,
    User,
    WaitTimeout,
    Workflow,
    encode_event,
    text_bar,
    throttle,
    webhooks,
)
from cyberun_async.relay import SSE_HEADERS, Relay, RelayedStream


async def fresh_token() -> str:
    """Any async callable is a token provider."""
    return "ey..."


async def make_clients(http: httpx.AsyncClient) -> None:
    """All is optional, and all but the key goes by name."""
    AsyncClient()
    AsyncClient(CachedToken(fresh_token, lifetime=3000), team_id="...")
    saved: list[str] = []
    refreshing = RefreshingToken("...", save=saved.append, access_token="...")
    assert_type(await refreshing(), str)
    refreshing.invalidate("...")
    AsyncClient(refreshing, team_id="...")
    AsyncClient("sk-...", base_url="http://localhost:8080/api/v1")
    AsyncClient(fresh_token, team_id="...", http_client=http, storage_client=http, allow_insecure_http=True)
    client = AsyncClient(
        timeouts=Timeouts(call=5), retries=Retries(budget=0), polling=Polling(interval=1), limits=Limits(max_streams=10)
    )
    async with client as entered:
        assert_type(entered, AsyncClient)
        assert_type(await entered.ping(timeout=5), Ping)
        assert_type(entered.is_closed, bool)
    view = client.with_options(api_key="sk-...", headers={"CF-Access-Client-Id": "..."})
    assert_type(view, AsyncClient)
    client.with_options(api_key=fresh_token, team_id="...", timeouts=Timeouts(call=5))
    client.with_options(retries=Retries(budget=0), polling=Polling(interval=1), headers=None)
    AsyncClient(headers={"CF-Access-Client-Id": "...", "CF-Access-Client-Secret": "..."})
    await client.aclose()


class Counter(Observer):
    """Overrides what it wants."""

    def on_response(self, record: ResponseReceived) -> None:
        assert_type(record.request, RequestStarted)
        assert_type(record.status, int | None)


AsyncClient(observer=Counter(), http2=True)


async def flows(client: AsyncClient) -> None:
    """A task is its id; a result is a value."""
    task_id = await client.submit("text-to-image", {"prompt": "a lighthouse", "seed": 7}, validate=False)
    assert_type(task_id, str)
    result = await client.wait_for_result(task_id, timeout=60, on_timeout="cancel", on_cancel="leave")
    assert_type(result, TaskResult)
    assert_type(await client.run("text-to-image@2", {}, timeout=60.0), TaskResult)
    assert_type(result.status, TaskStatus)
    assert_type(result.output, Mapping[str, object] | None)
    assert_type(result.extra, Mapping[str, object])
    assert_type(result.files, tuple[OutputFile, ...])
    for file in result.files:
        assert_type(file.name, str)
        assert_type(file.expires_at, datetime | None)


async def callbacks(client: AsyncClient) -> None:
    """A callback may be a function or a coroutine function, and may give anything back."""

    def show(event: TaskEvent) -> None:
        print(event)

    async def tell(event: TaskEvent) -> int:
        return len(event.task_id)

    async def note(key: str, task_id: str) -> None:
        print(key, task_id)

    await client.run("text-to-image", on_event=show, on_submitted=print)
    await client.map("text-to-image", [{}], on_submitted=note).gather()
    await client.wait_for_result("...", on_event=tell)


async def files(client: AsyncClient, result: TaskResult, body: AsyncIterable[bytes]) -> None:
    """Files come from paths, bytes, open files and async iterables, and go to a directory, a stream or memory."""

    async def sending(file: InputFile, done: int, total: int) -> None:
        print(file.name, done / total)

    def fetching(file: OutputFile, done: int, total: int | None) -> None:
        print(file.name, done, total)

    assert_type(await client.upload("in.png"), str)
    await client.upload(Path("in.png"), on_progress=sending)
    await client.upload(b"", name="in.png", content_type="image/png")
    await client.upload(body, size=7)
    await client.upload(BytesIO(b""))
    await client.submit("img2img", {"image": Path("in.png"), "mask": InputFile(body, name="mask.png", size=7)})
    assert_type(InputFile.from_data_uri("data:,x", name="x.txt", max_bytes=10), InputFile)
    assert_type(await client.download(result, "out", concurrency=2, on_progress=fetching), list[Path])
    await client.download(result.id, Path("out"))
    async with client.open_file(result.files[0]) as chunks:
        assert_type(chunks, FileStream)
        assert_type(chunks.size, int | None)
        assert_type(chunks.content_encoding, str)
        assert_type(chunks.content_type, str)
        assert_type(chunks.etag, str | None)
        assert_type(chunks.last_modified, datetime | None)
        assert_type((chunks.start, chunks.stop, chunks.status), tuple[int, int | None, int])
        assert_type(chunks.headers, dict[str, str])
        async for chunk in chunks:
            assert_type(chunk, bytes)
    client.open_file(result.files[0], start=-5, stop=None)
    client.open_file(result.files[0], http_range="bytes=0-4", if_range='"v"')
    assert_type(await client.read_file(result.files[0], max_bytes=1000), bytes)


async def follow(client: AsyncClient) -> None:
    """A stream of events is an async generator, and a context manager of itself."""
    stream = client.events("...")
    assert_type(stream, EventStream)
    generator: AsyncGenerator[TaskEvent, None] = stream
    async with stream as events:
        async for event in events:
            assert_type(event, TaskEvent)
            tell_apart(event)
    await generator.aclose()


async def in_a_chat(client: AsyncClient) -> None:
    """A limiter is one for all messages of a chat, and seconds do for a single one."""
    limiter = RateLimiter(1)
    await limiter.acquire()
    async with limiter as turn:
        assert_type(turn, RateLimiter)
    limiter.hold(30.0)
    for interval in (limiter, 1.5):
        async with throttle(client.events("..."), interval) as updates:
            async for event in updates:
                assert_type(event, TaskEvent)
    assert_type(text_bar(None, width=20), str)
    assert_type(text_bar(ProgressEvent(task_id="...", step_current=1, step_total=2)), str)


def tell_apart(event: TaskEvent) -> str:
    """`match` over the classes of events is complete, and narrows their fields."""
    assert_type(event.source, Literal["stream", "poll"])
    assert_type(encode_event(event), tuple[str, str])
    match event:
        case StatusEvent():
            return event.status
        case ProgressEvent():
            return f"{event.progress or 0:.0%} {event.step_current}/{event.step_total} {event.stage} {event.message}"
        case CompletedEvent():
            assert_type(event.completed_at, datetime | None)
            return event.name
        case FailedEvent():
            return event.error or "no reason given"
        case CancelledEvent():
            return event.task_id
        case ErrorEvent():
            return event.message or ""
        case UnknownEvent():
            return event.data
        case _:
            assert_never(event)


async def calls(client: AsyncClient) -> None:
    """One request each."""
    async for workflow in client.workflows.list():
        assert_type(workflow, Workflow)
    assert_type((await client.workflows.get("text-to-image")).parameters, "tuple[ParameterDef, ...]")
    assert_type((await client.workflows.get("text-to-image")).json_schema(), dict[str, object])
    await client.validate("text-to-image", {"prompt": "..."})
    assert_type(await client.workflows.run("text-to-image", {}), str)
    async for task in client.tasks.list(status="running"):
        assert_type(task, Task)
    assert_type(client.agents.list(limit=5), AsyncPaginator[Agent])
    page = await client.tasks.list(status=["running", TaskStatus.WAITING], limit=5, page=2)
    assert_type(page, Page[Task])
    assert_type(page.items, tuple[Task, ...])
    assert_type(page.total, int | None)
    assert_type(page.number, int)
    async for task in client.tasks.list(status=TaskStatus.RUNNING):
        assert_type(task.status.is_terminal, bool)
    assert_type(await client.tasks.get("..."), Task)
    assert_type((await client.tasks.get("...")).to_dict(), dict[str, object])
    record: Record = await client.tasks.result("...")
    assert_type(record.to_dict(include_urls=True, include_secrets=True), dict[str, object])
    assert_type(await client.tasks.result("..."), TaskResult)
    await client.tasks.cancel("...")
    assert_type(await client.files.presign("cat.png", 1024, "image/png"), PresignedUpload)
    async for agent in client.agents.list():
        assert_type(agent, Agent)
    async for container in client.containers.list():
        assert_type(container, Container)
    assert_type(await client.containers.get("llm"), Container)
    async with client.containers.stream("llm", "POST", "/v1/chat", content=b"{}", headers={"A": "b"}) as stream:
        assert_type(stream, ContainerStream)
        assert_type((stream.status_code, stream.headers), tuple[int, Mapping[str, str]])
        async for chunk in stream:
            assert_type(chunk, bytes)
        async for said in stream.events():
            assert_type(said, ServerSentEvent)
            assert_type((said.event, said.data, said.id, said.retry), tuple[str, str, str, int | None])
        assert_type(await stream.read(max_bytes=10), bytes)
    answer = await client.containers.invoke("llm", "POST", "/v1/chat", content=b"{}", headers={"A": "b"})
    assert_type(answer, Invocation)
    assert_type(answer.content, bytes)


def errors(error: CyberunError) -> str | None:
    """Each error carries what is needed to act."""
    if isinstance(error, APIError):
        assert_type(error.status, int)
        assert_type(error.retry_after, float | None)
        assert_type(error.is_page, bool)
    elif isinstance(error, TokenError):
        assert_type(error.path, str)
    elif isinstance(error, TransportError):
        assert_type(error.may_have_been_sent, bool)
    elif isinstance(error, DecodeError):
        assert_type(error.body, str)
    elif isinstance(error, WaitTimeout):
        timeout: TimeoutError = error
        assert_type(error.status, TaskStatus | None)
        print(timeout)
    elif isinstance(error, TaskFailed):
        failed: TaskError = error
        assert_type(failed.result, TaskResult)
    return error.task_id


def deliveries(body: bytes, headers: dict[str, str]) -> str:
    """Headers may be a plain `dict`, or what a framework has."""
    event = webhooks.verify(body, headers, "whsec_...")
    assert_type(event, webhooks.WebhookEvent)
    assert_type(event.status, TaskStatus)
    return event.task_id


def in_sets(result: TaskResult, parameter: ParameterDef) -> None:
    """Records are frozen values."""
    file: OutputFile = result.files[0]
    file.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    parameter.required = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def starting(client: AsyncClient) -> None:
    """A deadline for the start has an error of its own, which is a `WaitTimeout`."""
    try:
        await client.run("w", start_timeout=60)
        await client.wait_for_result("t", start_timeout=60.5, on_timeout="cancel")
        client.map("w", [], start_timeout=60)
    except StartTimeout as error:
        assert_type(error.status, TaskStatus | None)
        assert_type(error.remote, Literal["left", "cancelled", "cancel_failed"])
    assert_type(TaskStatus.QUEUED.has_started, bool)


async def any_endpoint(client: AsyncClient) -> None:
    """A request by hand gives a record where one is asked for, else whatever JSON there is."""
    response = await client.request("GET", "/r/tasks", params={"status": ["running"], "per_page": 5}, json=None)
    assert_type(response, APIResponse[Any])
    assert_type(response.status, int)
    assert_type(response.request_id, str | None)
    assert_type(response.headers["date"], str)
    assert_type(response.content, bytes)
    assert_type(await client.request("GET", "/users/me", returns=User), APIResponse[User])
    assert_type((await client.request("GET", "/users/me", returns=User)).data.email, str | None)
    assert_type(await client.users.me(), User)
    await client.request("GET", "/users/me", returns=int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def relaying(client: AsyncClient) -> None:
    """A relay gives streams of bytes, which a framework iterates over."""
    async with Relay(client, heartbeat=15, linger=5, history=1000) as relay:
        assert_type(relay, Relay)
        assert_type(relay.upstreams, int)
        assert_type(SSE_HEADERS["Content-Type"], str)
        stream = relay.stream("...", last_event_id=None, client=client)
        assert_type(stream, RelayedStream)
        assert_type(await relay.open("...", last_event_id=None, client=client, within=1), RelayedStream)
        assert_type(await relay.wait_for_result("...", client=client, timeout=60, on_event=print), TaskResult)
        with relay.draining_on(signal.SIGTERM, within=5.0):
            await relay.drain(5)
        async with stream as chunks:
            async for chunk in chunks:
                assert_type(chunk, bytes)
        await relay.aclose()
    Relay()


async def batches(client: AsyncClient) -> None:
    """A batch gives outcomes and counts, a journal entries, and a key one task."""
    journal = Journal("a.journal", compare_files="size_and_time")
    batch = client.map(
        "w", [("key", {"n": 1}), {"n": 2}], journal=journal, attempts=2, max_tasks=9, stop_after_failures=3
    )
    async with batch:
        async for outcome in batch:
            assert_type(outcome, Outcome)
            assert_type(outcome.candidates, tuple[Task, ...])
            assert_type(outcome.is_from_journal, bool)
            assert_type(await client.download(outcome, "."), list[Path])
    assert_type(batch.counts, BatchCounts)
    assert_type(batch.counts.submitted, int)
    assert_type(batch.stopped_by, Literal["stop", "cancel_rest", "stop_after_failures", "max_tasks"] | None)
    try:
        async for entry in journal:
            assert_type(entry, JournalEntry)
            assert_type(entry.submitted_at, datetime | None)
            assert_type(entry.result, TaskResult | None)
    except JournalInUse as error:
        assert_type(error.path, str)
    async with journal as opened:
        assert_type(opened, Journal)
        assert_type(await client.submit_once("key", "w", {"n": 1}, journal=opened), str)
        await opened.settle("w", "key", None)
        await opened.settle("w", "key", "t-1")
