"""Public calls with arguments of another kind: our error, which says what was expected, and nothing is sent."""

from __future__ import annotations

import gc
import inspect
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from support.tables import table

from cyberun_async import (
    AsyncClient,
    ConfigurationError,
    CyberunError,
    InputFile,
    InvalidParameters,
    Journal,
    OutputFile,
    RateLimiter,
    Retries,
    TaskResult,
    Timeouts,
    decode_event,
    encode_event,
    text_bar,
    throttle,
)
from cyberun_async.local import LocalParameter

NAN, INF = float("nan"), float("inf")
WRONG = [None, 7, 7.5, NAN, INF, "x", b"x", object(), [], {}, ("a",), True, print, Timeouts(), Retries, "\ud800"]
FILE = OutputFile(key="a", name="a", url="https://b.test/a", task_id="t-1")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what takes a wrong argument for a path take it for one in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """Open a client to whom everything is refused."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(404))) as http:
        async with AsyncClient("sk-1", http_client=http, storage_client=http, retries=Retries(budget=0)) as client:
            yield client


async def use(given: object) -> None:
    """Take the first step with whatever a call has given."""
    if hasattr(given, "__aenter__"):
        async with given as entered:  # type: ignore[attr-defined]
            if hasattr(entered, "__anext__"):
                await anext(entered)
    elif hasattr(given, "__anext__"):
        await anext(given)
    elif inspect.isawaitable(given):
        await given


Call = Callable[[AsyncClient, Any], object]

SAID: list[tuple[str, Call, Any, type[CyberunError], str]] = [
    (
        "timeouts",
        lambda _, x: AsyncClient("sk-1", timeouts=x),
        10,
        ConfigurationError,
        r"Timeouts\(connect=\.\.\.\), not 10",
    ),
    ("retries", lambda _, x: AsyncClient("sk-1", retries=x), 3, ConfigurationError, r"retries must be Retries"),
    ("polling", lambda _, x: AsyncClient("sk-1", polling=x), 3, ConfigurationError, r"polling must be Polling"),
    ("limits", lambda _, x: AsyncClient("sk-1", limits=x), Retries(), ConfigurationError, r"limits must be Limits"),
    ("observer", lambda _, x: AsyncClient("sk-1", observer=x), print, ConfigurationError, "a subclass of Observer"),
    (
        "read_file",
        lambda c, x: c.read_file(x),
        TaskResult(id="t-1"),
        InvalidParameters,
        r"TaskResult\.files, not TaskResult",
    ),
    ("open_file", lambda c, x: c.open_file(x), "a.png", InvalidParameters, r"one of TaskResult\.files, not str"),
    ("wait", lambda c, x: c.wait_for_result(x), None, InvalidParameters, "task_id must be a string, not NoneType"),
    ("download", lambda c, x: c.download(x, "."), FILE, InvalidParameters, "a task's id or its result, not OutputFile"),
    ("directory", lambda c, x: c.download("t", x), None, InvalidParameters, "directory must be a path, not NoneType"),
    ("on_progress", lambda c, x: c.upload(b"x", on_progress=x), 7, InvalidParameters, "on_progress must be a function"),
    ("wake", lambda c, x: c.wake(x), "t-1", InvalidParameters, r"webhooks\.verify\(\) gives, not NoneType"),
    (
        "items",
        lambda c, x: c.map("w", x),
        None,
        ConfigurationError,
        "iterable of parameters, or an async one, not NoneType",
    ),
    ("one item", lambda c, x: c.map("w", x), {"prompt": "x"}, ConfigurationError, "iterable of parameters.* not dict"),
    ("resubmit", lambda c, x: c.map("w", [], resubmit=x), 7, ConfigurationError, "resubmit must be a collection"),
    (
        "name",
        lambda c, x: c.upload(b"x", name=x),
        7,
        InvalidParameters,
        "name or content type of a file must be a string",
    ),
    ("type", lambda c, x: c.upload(b"x", content_type=x), 7, InvalidParameters, "name or content type of a file"),
    ("webhook", lambda c, x: c.webhooks.create("a", "https://x", x), 7, InvalidParameters, "events must be a list"),
    ("journal", lambda _, x: Journal(x), 7, InvalidParameters, "the path of a journal must be a path, not int"),
    ("events", lambda _, x: throttle(x, 1.0), 7, InvalidParameters, r"such as client\.events\(task_id\), not int"),
    (
        "interval",
        lambda _, x: RateLimiter(x),
        INF,
        ConfigurationError,
        "interval must be a number of seconds above zero",
    ),
    ("hold", lambda _, x: RateLimiter(1).hold(x), NAN, ConfigurationError, "seconds must be a finite number, not nan"),
    ("hold", lambda _, x: RateLimiter(1).hold(x), INF, ConfigurationError, "seconds must be a finite number, not inf"),
    (
        "bar",
        lambda _, x: text_bar(x),
        "half",
        InvalidParameters,
        "a number from 0.0 to 1.0, a progress event, or None, not str",
    ),
    ("width", lambda _, x: text_bar(0.5, x), "5", InvalidParameters, "width must be a whole number, not str"),
    (
        "decode",
        lambda _, x: decode_event("status", x, task_id="t"),
        {},
        InvalidParameters,
        "data of an event must be a string",
    ),
    ("encode", lambda _, x: encode_event(x), "status", InvalidParameters, "event must be an event of a task, not str"),
    ("file", lambda _, x: InputFile(b"x", name=x), b"a.png", InvalidParameters, "must be a string, not bytes"),
]


@table(("call", "wrong", "kind", "words"), [row[1:] for row in SAID], ids=[row[0] for row in SAID])
async def test_said(call: Call, wrong: Any, kind: type[CyberunError], words: str, client: AsyncClient) -> None:
    """What was expected, and what came instead."""
    with pytest.raises(kind, match=words):
        await use(call(client, wrong))


ANY: dict[str, Call] = {
    **{
        f"AsyncClient({name})": lambda _, x, name=name: AsyncClient(**{"api_key": "sk-1", name: x})  # type: ignore[misc]
        for name in inspect.signature(AsyncClient).parameters
    },
    **{
        f"submit({name})": lambda c, x, name=name: c.submit(**{"workflow": "w", "validate": False, name: x})  # type: ignore[misc]
        for name in inspect.signature(AsyncClient.submit).parameters
        if name != "self"
    },
    **{
        f"wait({name})": lambda c, x, name=name: c.wait_for_result(**{"task_id": "t", name: x})  # type: ignore[misc]
        for name in inspect.signature(AsyncClient.wait_for_result).parameters
        if name != "self"
    },
    **{
        f"map({name})": lambda c, x, name=name: c.map(**{"workflow": "w", "items": [], name: x})  # type: ignore[misc]
        for name in inspect.signature(AsyncClient.map).parameters
        if name not in {"self", "journal"}
    },
    "upload(source)": lambda c, x: c.upload(x, name="a.png", size=1),
    "upload(name)": lambda c, x: c.upload(b"x", name=x),
    "upload(content_type)": lambda c, x: c.upload(b"x", name="a.png", content_type=x),
    "upload(size)": lambda c, x: c.upload(b"x", name="a.png", size=x),
    "download(task)": lambda c, x: c.download(x, "."),
    "download(directory)": lambda c, x: c.download("t", x),
    "download(on_progress)": lambda c, x: c.download("t", ".", on_progress=x),
    "download(concurrency)": lambda c, x: c.download("t", ".", concurrency=x),
    "events": lambda c, x: c.events(x),
    "open_file": lambda c, x: c.open_file(x),
    "read_file(file)": lambda c, x: c.read_file(x),
    "read_file(max_bytes)": lambda c, x: c.read_file(FILE, max_bytes=x),
    "wake": lambda c, x: c.wake(x),
    "tasks.get": lambda c, x: c.tasks.get(x),
    "tasks.list": lambda c, x: c.tasks.list(status=x),
    "workflows.get": lambda c, x: c.workflows.get(x),
    "files.presign(name)": lambda c, x: c.files.presign(x, 1, "image/png"),
    "files.presign(size)": lambda c, x: c.files.presign("a", x, "image/png"),
    "files.presign(content_type)": lambda c, x: c.files.presign("a", 1, x),
    "containers.get": lambda c, x: c.containers.get(x),
    "containers.invoke(service)": lambda c, x: c.containers.invoke(x, "GET", "/"),
    "containers.invoke(method)": lambda c, x: c.containers.invoke("s", x, "/"),
    "containers.invoke(path)": lambda c, x: c.containers.invoke("s", "GET", x),
    "containers.invoke(content)": lambda c, x: c.containers.invoke("s", "GET", "/", content=x),
    "containers.invoke(headers)": lambda c, x: c.containers.invoke("s", "GET", "/", headers=x),
    "containers.stream(service)": lambda c, x: c.containers.stream(x, "GET", "/"),
    "containers.stream(method)": lambda c, x: c.containers.stream("s", x, "/"),
    "containers.stream(path)": lambda c, x: c.containers.stream("s", "GET", x),
    "containers.stream(content)": lambda c, x: c.containers.stream("s", "GET", "/", content=x),
    "containers.stream(headers)": lambda c, x: c.containers.stream("s", "GET", "/", headers=x),
    "webhooks.create(name)": lambda c, x: c.webhooks.create(x, "https://x", ["task.failed"]),
    "webhooks.create(url)": lambda c, x: c.webhooks.create("a", x, ["task.failed"]),
    "webhooks.create(events)": lambda c, x: c.webhooks.create("a", "https://x", x),
    "webhooks.get": lambda c, x: c.webhooks.get(x),
    "throttle(interval)": lambda c, x: throttle(c.events("t"), x),
    "RateLimiter": lambda _, x: RateLimiter(x),
    "hold": lambda _, x: RateLimiter(1).hold(x),
    "text_bar(progress)": lambda _, x: text_bar(x),
    "text_bar(width)": lambda _, x: text_bar(0.5, x),
    "decode_event(name)": lambda _, x: decode_event(x, "{}", task_id="t"),
    "decode_event(data)": lambda _, x: decode_event("status", x, task_id="t"),
    "encode_event": lambda _, x: encode_event(x),
    "InputFile(source)": lambda _, x: InputFile(x),
    "Journal": lambda _, x: Journal(x),
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@table("call", ANY.values(), ids=ANY)
async def test_only_ours(call: Call, client: AsyncClient) -> None:
    """Whatever is given for an argument, only errors of ours come of it."""
    for wrong in WRONG:
        with anyio.move_on_after(0.5):
            with suppress(CyberunError, StopAsyncIteration):
                await use(call(client, wrong))


def test_refused_before_it_was_made(recwarn: pytest.WarningsRecorder) -> None:
    """A file stream that was refused its file leaves nothing to warn of."""
    with pytest.raises(InvalidParameters):
        AsyncClient("sk-1").open_file(None)  # type: ignore[arg-type]
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


@table("progress", [NAN, None, -1.0, 0, -INF])
def test_no_progress(progress: float | None) -> None:
    """What is no number, or not known, is an empty bar."""
    assert text_bar(progress, 4) == "▱▱▱▱ 0 %"


@table(
    ("options", "words"),
    [
        (
            {"type": "integer"},
            "the type of parameter 'n' must be one of string, number, boolean, select, file, not 'integer'",
        ),
        ({"type": "select"}, "parameter 'n' is a select, so it needs options"),
    ],
)
def test_parameters_of_local_workflows(options: dict[str, Any], words: str) -> None:
    """A parameter that no run could fit is refused where it is made."""
    with pytest.raises(ValueError, match=re.escape(words)):
        LocalParameter("n", **options)
