"""Every message that a user can be shown, side by side: what happened, to what, and what to do next."""

from __future__ import annotations

import errno
import inspect
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from support.scripted import SSE_HEAD, TASK, Exchange, Handler, Remote, Scripted, answer, hold
from support.virtual import served, virtual

import cyberun_async
from cyberun_async import (
    APIError,
    AsyncClient,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    CyberunError,
    DecodeError,
    InputFile,
    InvalidParameters,
    Journal,
    JournalInUse,
    Limits,
    NotFoundError,
    OutputFile,
    PermissionDeniedError,
    Polling,
    RateLimiter,
    RateLimitError,
    Retries,
    ServerError,
    SignInRequired,
    StartTimeout,
    StorageError,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TaskResult,
    TaskStatus,
    Timeouts,
    TokenError,
    TransportError,
    TransportTimeout,
    WaitTimeout,
    WebhookError,
    decode_event,
    throttle,
)
from cyberun_async._batch.decisions import unconfirmed_error
from cyberun_async._files.part_file import map_disk_errors
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import cancel
from cyberun_async.relay import Relay
from cyberun_async.webhooks import SIGNATURE_HEADER, sign, verify

PROMPT = {"prompt": "dusk", "width": 64, "height": 64}
UNSEEN = "019abc12-9012-7890-abcd-ef1234567896"
SECRET = "whsec_" + "0" * 32
BODY = b'{"event_type": "task.completed"}'
NEVER = Retries(budget=0)
POLLING = Polling(interval=0.05, interval_while_streaming=0.05)
URL = "https://core.test/api/v1"
FILE = OutputFile(key="9.images.0", name="a.png", url="https://storage.test/a.png", task_id=UNSEEN)


def plain(message: str) -> str:
    """Replace what differs from loop to loop, and ids."""
    # What follows is in the words of the event loop, or of the system.
    message = re.sub(r"\((no connection|the connection broke): .*\); the request", r"(\1); the request", message)
    return re.sub(r"(?<!/)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=tasks/)[0-9a-f-]{36}", "TASK", message)


@attrs.frozen
class Stage:
    """Where the errors are met: a Cyberun, a client that tries nothing twice, and an empty folder."""

    cyberun: LocalCyberun
    client: AsyncClient
    folder: Path

    def but(self, key: str | None = None, **settings: Any) -> AsyncClient:
        """Make a client with other settings."""
        return AsyncClient(
            key or self.cyberun.api_key, **{"base_url": self.cyberun.base_url, "retries": NEVER, **settings}
        )

    async def pending(self) -> str:
        """Submit a task that stays pending."""
        self.cyberun.script("text-to-image", [])
        return await self.client.submit("text-to-image", PROMPT)

    def plain(self, message: str) -> str:
        """Replace what differs from run to run."""
        return plain(
            message.replace(str(self.folder), "FOLDER").replace(self.cyberun.base_url.removesuffix("/api/v1"), "URL")
        )


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Open a client of a Cyberun of its own."""
    for name in ("CYBERUN_API_KEY", "CYBERUN_KEY", "CYBERUN_TEAM_ID", "CYBERUN_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with LocalCyberun(pace=0.001) as cyberun:
        cyberun.workflow("thousand-bytes")(lambda _: bytes(1000))
        async with AsyncClient(cyberun.api_key, base_url=cyberun.base_url, retries=NEVER, polling=POLLING) as client:
            yield Stage(cyberun, client, tmp_path)


Meeting = Callable[[Stage], object]


# How they are met, where it takes more than a line


async def use(client: AsyncClient) -> None:
    async with client:
        await client.tasks.get(UNSEEN)


async def refuse(at: Stage, status: int, message: str, **headers: str) -> None:
    at.cyberun.faults.status(status, message=message, headers=headers, on="tasks.get")
    await at.client.tasks.get(UNSEEN)


async def submit(at: Stage, **fault: Any) -> None:
    ((name, options),) = fault.items()
    getattr(at.cyberun.faults, name)(on="workflows.run", **options)
    await at.client.submit("text-to-image", PROMPT)


async def look(at: Stage, client: AsyncClient | None = None, **fault: Any) -> None:
    task_id = await at.pending()
    ((name, options),) = fault.items()
    getattr(at.cyberun.faults, name)(on="tasks.get", **options)
    async with client or at.but() as other:
        await other.tasks.get(task_id)


@attrs.frozen
class Timed:
    """How an error is met that takes time: by a scripted server and its client, on a virtual clock."""

    meet: Callable[[Scripted, AsyncClient], Awaitable[object]]


async def look_in_vain(server: Scripted, client: AsyncClient) -> None:
    server.on("task", hold())
    await client.tasks.get(TASK)


async def wait(server: Scripted, client: AsyncClient, cancel: Handler | None = None, **options: Any) -> None:
    Remote("pending").on(server)
    server.on("events", hold(SSE_HEAD))
    if cancel is not None:
        server.on("cancel", cancel)
    await client.wait_for_result(TASK, timeout=60, **options)


async def stop(server: Scripted, client: AsyncClient) -> None:
    async def late(exchange: Exchange) -> None:
        await anyio.sleep(60)
        await exchange.answer(202, {"task_id": UNSEEN})

    Remote("failed").on(server)
    server.on("definition", answer(200, {"id": "w", "slug": "w", "parameters": []}))
    server.on("run", answer(202, {"task_id": TASK}), late)
    server.on("events", hold(SSE_HEAD))
    outcomes = await client.map("w", [{}] * 4, on_error="cancel_rest").gather()
    outcomes[3].unwrap()


async def be_cancelled(at: Stage) -> None:
    at.cyberun.script("text-to-image", [cancel()])
    await at.client.run("text-to-image", PROMPT)


async def download_pending(at: Stage) -> None:
    await at.client.download(await at.pending(), at.folder)


async def download(at: Stage, into: str = ".", **fault: Any) -> None:
    (at.folder / "file").touch()
    result = await at.client.run("thousand-bytes")
    for name, options in fault.items():
        getattr(at.cyberun.faults, name)(on="storage.get", **options)
    await at.client.download(result, at.folder / into)


async def upload_too_large(at: Stage) -> None:
    at.cyberun.faults.status(413, on="storage.put")
    await at.client.upload(b"data", name="a.png")


async def chunks() -> AsyncIterator[bytes]:
    yield b"data"


async def read(at: Stage) -> None:
    result = await at.client.run("thousand-bytes")
    await at.client.read_file(result.files[0], max_bytes=100)


async def share_a_journal(at: Stage) -> None:
    async with at.client.map("text-to-image", [], journal=Journal(at.folder / "journal")):
        async with at.client.map("text-to-image", [], journal=Journal(at.folder / "journal")):
            pass


async def repeat_a_key(at: Stage) -> None:
    items = [("a", PROMPT), ("a", PROMPT)]
    async with at.client.map("text-to-image", items, journal=Journal(at.folder / "journal")) as batch:
        for outcome in await batch.gather():
            outcome.unwrap()


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/api/v1"


def fill_the_disk(_: Stage) -> None:
    with map_disk_errors("a.png", 4096, "t-1"):
        raise OSError(errno.ENOSPC, "No space left on device")


async def closed(at: Stage) -> None:
    client = at.but()
    await client.aclose()
    await client.tasks.get(UNSEEN)


class Twice:
    """Headers in which the signature is repeated."""

    def items(self) -> list[tuple[str, str]]:
        return [(SIGNATURE_HEADER, "sha256=")] * 2


def enter(value: Any) -> None:
    with value:
        pass


async def await_it(value: Any) -> None:
    await value


async def forget_to_await(at: Stage) -> None:
    with closing(at.client.submit("text-to-image", PROMPT)) as submission:
        await at.client.wait_for_result(submission)  # type: ignore[arg-type]


async def do(meet: Meeting, at: Stage) -> None:
    """Meet an error, at once or by waiting."""
    outcome = meet(at)
    if inspect.isawaitable(outcome):
        await outcome


def raise_(error: CyberunError) -> None:
    """Stand in for a situation that takes another machine."""
    raise error


# One situation is two lines: how the error is met, and all that is read.
# fmt: off
TABLE: Mapping[type[CyberunError], Sequence[tuple[str, Meeting | Timed, str]]] = {
    CyberunError: [
        ("a stopped batch", Timed(stop),
            "the batch was stopped before this item was submitted: run it in another batch"),
    ],
    ConfigurationError: [
        ("no key", lambda _: AsyncClient(),
            "there is no API key: set CYBERUN_API_KEY or pass api_key; keys are made on the Access page of Cyberun Cloud"),
        ("an empty key", lambda _: AsyncClient(""),
            "the API key is empty: set CYBERUN_API_KEY or pass api_key"),
        ("a key with a line break", lambda _: AsyncClient("sk-1\n"),
            "the API key contains white space, control or non-ASCII characters: copy it again, without line breaks"),
        ("a key that is none", lambda _: AsyncClient(7),
            "the API key must be a string, not int"),
        ("an agent's key", lambda _: AsyncClient("ak-1"),
            "an ak- key signs agents in at the gateway, and the REST API rejects it: make an sk- key on the Access page of Cyberun Cloud"),
        ("a user's token without a team", lambda _: AsyncClient("eyJ-1"),
            "a user's token (JWT) works on a team's resources, so it needs a team: pass team_id or set CYBERUN_TEAM_ID to the team's UUID"),
        ("a key of no kind", lambda _: AsyncClient("k-1"),
            "the API key begins with none of sk- (an integration key), dk- (a device key) and eyJ (a user's token, JWT): copy it in full from the Access page of Cyberun Cloud"),
        ("a team that is none", lambda _: AsyncClient("eyJ-1", team_id="my team"),
            "team_id contains white space, control or non-ASCII characters: pass the team's UUID"),
        ("another user's token without a team", lambda at: at.client.with_options(api_key="eyJ-1"),
            "another user's token (JWT) needs a team of its own, since the client's is not taken over: pass team_id"),
        ("headers that are none", lambda at: at.but(headers=["X-A"]),
            "headers must be a mapping of names to values, not list"),
        ("a header's name", lambda at: at.but(headers={"X A": "1"}),
            "headers has a name that no request can carry ('X A'): use letters, digits and hyphens"),
        ("a header's value", lambda at: at.but(headers={"X-A": 1}),
            "the header X-A must be a string, not int"),
        ("a header's character", lambda at: at.but(headers={"X-A": "1\n"+"2"}),
            "the header X-A has a character that no header can carry: use printable ASCII, without line breaks"),
        ("a header of ours", lambda at: at.but(headers={"Host": "x"}),
            "the header Host is set by the client itself: leave it out of headers"),
        ("a header twice", lambda at: at.but(headers={"X-A": "1", "x-a": "2"}),
            "headers has 'x-a' twice: upper and lower case are the same in names of headers, so leave one out"),
        ("a provider that is not async", lambda at: use(at.but(lambda: "eyJ-1", team_id="t")),
            "api_key is a function that is not async: pass an async one, or the key itself"),
        ("no scheme", lambda at: at.but(base_url="core.test/api/v1"),
            "base_url needs a scheme: write https://host/api/v1"),
        ("no host", lambda at: at.but(base_url="https:///api/v1"),
            "base_url needs a host: write https://host/api/v1"),
        ("a key in the URL", lambda at: at.but(base_url="https://sk-1@core.test/api/v1"),
            "base_url must not carry a user or password: give the key as api_key"),
        ("a query", lambda at: at.but(base_url=f"{URL}?team=1"),
            "base_url must not carry a query or a fragment: end it with the path, as in https://host/api/v1"),
        ("a blank in the URL", lambda at: at.but(base_url=f"{URL} "),
            "base_url contains white space or control characters: remove them"),
        ("a port that is none", lambda at: at.but(base_url="https://core.test:api/v1"),
            "base_url is not a URL (Port could not be cast to integer value as 'api'): write https://host/api/v1"),
        ("the API's path twice", lambda at: at.but(base_url=f"{URL}/api/v1/"),
            "base_url ends with /api/v1 twice: write it once"),
        ("in the clear", lambda at: at.but(base_url="http://core.test/api/v1"),
            "base_url is http:// to a host that is not loopback, which would show the key to the network: use https://, or pass allow_insecure_http=True"),
        ("a timeout", lambda _: Timeouts(read=0),
            "Timeouts.read must be a number above zero, not 0"),
        ("a budget", lambda _: Retries(budget=-1),
            "Retries.budget must be zero or a number above it, not -1"),
        ("an interval", lambda _: Polling(interval=0),
            "Polling.interval must be a number above zero, not 0"),
        ("a limit", lambda _: Limits(max_connections=1.5),
            "Limits.max_connections must be a whole number above zero, not 1.5"),
        ("HTTP/2 on one's own client", lambda at: at.but(http2=True, http_client=httpx.AsyncClient()),
            "http2 is for the client's own connections: set it on your http_client instead"),
        ("another kind of client", lambda at: at.but(http_client=httpx.Client),
            "a client of your own must be an httpx.AsyncClient, not type"),
        ("a closed client", closed,
            "this client is closed: make a new one"),
        ("a deadline", lambda at: at.client.wait_for_result(UNSEEN, timeout=0),
            "timeout must be a number of seconds above zero, or None for no deadline, not 0"),
        ("what becomes of the task", lambda at: at.client.wait_for_result(UNSEEN, on_timeout="stop"),
            "on_timeout must be 'leave' or 'cancel', not 'stop'"),
        ("a callback", lambda at: at.client.wait_for_result(UNSEEN, on_event="print"),
            "on_event must be a function that takes an event, not 'print'"),
        ("tasks at once", lambda at: at.client.map("text-to-image", [], max_in_flight=0),
            "max_in_flight must be a whole number above zero, not 0"),
        ("what is submitted again", lambda at: at.client.map("text-to-image", [], resubmit="failed"),
            "resubmit must be a collection of 'uncertain' and 'failed', as ['failed'] is, not 'failed'"),
        ("a batch outside of its block", lambda at: at.client.map("text-to-image", []).__anext__(),
            "the batch is not running: use 'async with client.map(...) as batch:' and iterate inside of it"),
        ("throttled events", lambda at: throttle(at.client.events(UNSEEN), interval=0),
            "interval must be a number of seconds above zero, not 0"),
        ("a relay's heartbeat", lambda at: Relay(at.client, heartbeat=0),
            "heartbeat must be a number of seconds above zero, not 0"),
        ("a relay's linger", lambda at: Relay(at.client, linger=-1),
            "linger must be a number of seconds of at least 0, not -1"),
        ("a relay's history", lambda at: Relay(at.client, history=0),
            "history must be a whole number above zero, not 0"),
        ("a relay that is not open", lambda at: Relay(at.client).stream(UNSEEN).__anext__(),
            "the relay is not open: use 'async with Relay(client)' around the life of the application"),
        ("how long a relay waits", lambda at: Relay(at.client).open(UNSEEN, within=-1),
            "within must be a number of seconds of at least 0, not -1"),
        ("a relay without a client", lambda _: Relay().wait_for_result(UNSEEN),
            "there is no client to follow the task with: pass client, or make it Relay(client)"),
        ("how long a ping takes", lambda at: at.client.ping(timeout=0),
            "timeout must be a number of seconds above zero, not 0"),
        ("with a client", lambda at: enter(at.but()),
            "use 'async with AsyncClient() as client:'"),
        ("for an event", lambda at: list(at.client.events(UNSEEN)),
            "use 'async for event in client.events(...)'"),
        ("with events", lambda at: enter(at.client.events(UNSEEN)),
            "use 'async with client.events(...) as events:'"),
        ("awaited events", lambda at: await_it(at.client.events(UNSEEN)),
            "events are not awaited: use 'async for event in client.events(...)'"),
        ("for an outcome", lambda at: list(at.client.map("text-to-image", [])),
            "use 'async for outcome in batch' inside of 'async with client.map(...) as batch:'"),
        ("with a batch", lambda at: enter(at.client.map("text-to-image", [])),
            "use 'async with client.map(...) as batch:'"),
        ("an awaited batch", lambda at: await_it(at.client.map("text-to-image", [])),
            "a batch is not awaited: use 'await client.map(...).gather()', or 'async with client.map(...) as batch:'"),
        ("for a task", lambda at: list(at.client.tasks.list()),
            "use 'async for', since a list is read page by page"),
        ("for an update", lambda at: list(throttle(at.client.events(UNSEEN), 1)),
            "use 'async for event in updates' inside of 'async with throttle(...) as updates:'"),
        ("with throttled events", lambda at: enter(throttle(at.client.events(UNSEEN), 1)),
            "use 'async with throttle(...) as updates:'"),
        ("for a chunk", lambda at: list(at.client.open_file(FILE)),
            "use 'async for chunk in chunks' inside of 'async with client.open_file(...) as chunks:'"),
        ("with a file", lambda at: enter(at.client.open_file(FILE)),
            "use 'async with client.open_file(...) as chunks:'"),
        ("an awaited file", lambda at: await_it(at.client.open_file(FILE)),
            "use 'async with client.open_file(...) as chunks:', or 'await client.read_file(...)' for all bytes"),
        ("with a relay", lambda at: enter(Relay(at.client)),
            "use 'async with Relay(client) as relay:'"),
        ("a hold without an end", lambda _: RateLimiter(1).hold(float("inf")),
            "seconds must be a finite number, not inf"),
    ],
    JournalInUse: [
        ("a journal in use", share_a_journal,
            "the journal FOLDER/journal is in use by another batch or process: wait for that to end, or give this one its own"),
    ],
    InvalidParameters: [
        ("several problems", lambda at: at.client.submit("text-to-image", {"promp": 7, "steps": 1000, "sampler": "x"}),
            "'promp' is not a parameter of this workflow (did you mean 'prompt'?); 'sampler' is not a parameter of this workflow (it takes prompt, negative_prompt, seed, steps, width, height, style); 'prompt' is required; 'steps' must be at most 100, not 1000"),
        ("no mapping", lambda at: at.client.submit("text-to-image", ["dusk"]),
            "parameters must be a mapping of values by key, not list"),
        ("no value of JSON", lambda at: at.client.submit("text-to-image", {"prompt": {1, 2}}, validate=False),
            "the values must be of the kinds that JSON has (Object of type set is not JSON serializable)"),
        ("an empty id", lambda at: at.client.tasks.get(""),
            "task_id must not be empty"),
        ("no id", lambda at: at.client.tasks.get(None),
            "task_id must be a string, not NoneType"),
        ("a submission that was not awaited", forget_to_await,
            "task_id is a coroutine, not a string: await the call that gives it"),
        ("a status", lambda at: at.client.tasks.list(status="").__anext__(),
            "status must be a status such as running, not ''"),
        ("no file", lambda at: at.client.upload(7),
            "a file must be a path, bytes, a binary file or an async iterable, not int"),
        ("a file without a size", lambda at: at.client.upload(InputFile(chunks())),
            "an async iterable needs its size: its exact number of bytes"),
        ("files at once", lambda at: at.client.download(UNSEEN, at.folder, concurrency=0),
            "concurrency must be a whole number above zero, not 0"),
        ("a webhook", lambda at: at.client.webhooks.create("", "http://hooks.test", []),
            "display_name must have 1 to 255 characters; url must begin with https:// and have at most 2048 characters; events must be a list with at least one of task.completed and task.failed"),
        ("a key used twice", repeat_a_key,
            "the key 'a' is used by two items of this batch: give each its own"),
    ],
    APIError: [
        ("a redirect", lambda at: refuse(at, 308, "", Location="https://elsewhere.test/api/v1"),
            "GET /r/tasks/TASK failed with 308: it redirects to https://elsewhere.test; is base_url right, with its scheme and /api/v1?"),
        ("402", lambda at: refuse(at, 402, "insufficient balance"),
            "GET /r/tasks/TASK failed with 402: insufficient balance; fix that first: a retry would fail the same way"),
        ("425", lambda at: refuse(at, 425, "too early"),
            "GET /r/tasks/TASK failed with 425: too early; retry later"),
        ("408 to a submission", lambda at: submit(at, status={"code": 408, "message": "idle"}),
            "POST /r/workflows/slug/text-to-image/run failed with 408: idle; check whether it took effect before you retry"),
    ],
    BadRequestError: [
        ("400", lambda at: at.client.submit("text-to-image", {"steps": 1000}, validate=False),
            "POST /r/workflows/slug/text-to-image/run failed with 400: parameter 'prompt' is required; parameter 'steps' must be at most 100; fix that first: a retry would fail the same way"),
        ("422", lambda at: refuse(at, 422, "width must be even."),
            "GET /r/tasks/TASK failed with 422: width must be even; fix that first: a retry would fail the same way"),
    ],
    AuthenticationError: [
        ("a wrong key", lambda at: use(at.but("sk-1")),
            "GET /r/tasks/TASK failed with 401: invalid or missing credentials; check the key or token; new keys are made on the Access page of Cyberun Cloud"),
        ("an expired token", lambda at: use(at.but(at.cyberun.issue_jwt(-1), team_id=at.cyberun.team_id)),
            "GET /r/tasks/TASK failed with 401: token has expired; check the key or token; new keys are made on the Access page of Cyberun Cloud"),
    ],
    PermissionDeniedError: [
        ("403", lambda at: at.client.webhooks.get("w-1"),
            "GET /webhooks/w-1 failed with 403: this key may not manage webhooks; use a key that may do this, or ask the owner of the team"),
    ],
    NotFoundError: [
        ("no such task", lambda at: at.client.tasks.get(UNSEEN),
            "GET /r/tasks/TASK failed with 404: resource not found; check the id or name, the team of the key, and base_url"),
        ("no such workflow", lambda at: at.client.submit("text-to-imag", PROMPT),
            "GET /r/workflows/slug/text-to-imag failed with 404: resource not found; did you mean 'text-to-image'?"),
        ("not the API", lambda at: use(at.but(base_url=at.cyberun.base_url.removesuffix("/api/v1"))),
            "GET /r/tasks/TASK failed with 404: resource not found; base_url does not end with /api/v1; the API is usually at URL/api/v1"),
    ],
    ConflictError: [
        ("409", lambda at: refuse(at, 409, "workflow is disabled"),
            "GET /r/tasks/TASK failed with 409: workflow is disabled; check its current state"),
    ],
    RateLimitError: [
        ("429 with a time", lambda at: refuse(at, 429, "too many requests", **{"Retry-After": "120"}),
            "GET /r/tasks/TASK failed with 429: too many requests; wait 120 s, and send less at once (Limits.max_connections)"),
        ("429", lambda at: refuse(at, 429, "too many requests"),
            "GET /r/tasks/TASK failed with 429: too many requests; wait a while, and send less at once (Limits.max_connections)"),
    ],
    ServerError: [
        ("a look", lambda at: refuse(at, 503, ""),
            "GET /r/tasks/TASK failed with 503: the server gave no reason; retry later"),
        ("a look with a request id", lambda at: refuse(at, 500, "out of order", **{"X-Request-ID": "r-1"}),
            "GET /r/tasks/TASK failed with 500: out of order; retry later, or report request r-1"),
        ("a submission", lambda at: submit(at, status={"code": 502}),
            "POST /r/workflows/slug/text-to-image/run failed with 502: out of order; check whether it took effect before you retry"),
    ],
    TransportError: [
        ("nobody listens", lambda at: use(at.but(base_url=closed_port())),
            "GET /r/tasks/TASK got no response (no connection); the request was not sent: check base_url and the network, or retry"),
        ("no certificate", lambda _: raise_(
                TransportError(
                    "the server's certificate does not verify: self-signed certificate",
                    method="GET",
                    path="/r/tasks/t-1",
                    may_have_been_sent=False,
                    retryable=False,
                )
            ),
            "GET /r/tasks/t-1 got no response (the server's certificate does not verify: self-signed certificate); the request was not sent: check base_url, and which certificates this machine trusts"),
        ("a look that broke", lambda at: look(at, lose_reply={}),
            "GET /r/tasks/TASK got no response (the connection broke); the request may have reached the server: retrying is safe"),
        ("a submission that broke", lambda at: submit(at, lose_reply={}),
            "POST /r/workflows/slug/text-to-image/run got no response (the connection broke); the request may have reached the server: check whether it took effect before you retry"),
        ("a batch that was cut off", lambda _: raise_(unconfirmed_error("/r/workflows/slug/w/run")),
            "POST /r/workflows/slug/w/run got no response (an earlier run of the batch ended before the response); the request may have reached the server: check whether it took effect before you retry"),
    ],
    TransportTimeout: [
        ("a look", Timed(look_in_vain),
            "GET /r/tasks/TASK got no response (no response in time); the request may have reached the server: retrying is safe"),
        ("no connection", lambda _: raise_(
                TransportTimeout(
                    "no connection in time", method="POST", path="/r/workflows/slug/w/run", may_have_been_sent=False
                )
            ),
            "POST /r/workflows/slug/w/run got no response (no connection in time); the request was not sent: check base_url and the network, or retry"),
    ],
    SignInRequired: [
        ("rejected", lambda _: raise_(SignInRequired("was rejected (refresh token is invalid or was used)")),
            "the refresh token was rejected (refresh token is invalid or was used): sign in again, and make a RefreshingToken of the new one"),
        ("lost", lambda _: raise_(SignInRequired("may have been used by a refresh whose response was lost")),
            "the refresh token may have been used by a refresh whose response was lost: sign in again, and make a RefreshingToken of the new one"),
    ],
    TokenError: [
        ("a provider that has no connection itself", lambda _: raise_(
                TokenError("ConnectError: no route to host", method="GET", path="/r/tasks/t-1", task_id="t-1")
            ),
            "the token provider failed (ConnectError: no route to host), so GET /r/tasks/t-1 was not sent: fix the provider, or retry"),
    ],
    DecodeError: [
        ("no JSON", lambda at: look(at, malformed={"body": "<html>"}),
            "the response to GET /r/tasks/TASK is not what the API documents: not JSON (Expecting value: line 1 column 1 (char 0)); is base_url right, with its scheme and /api/v1?"),
        ("a field is missing", lambda at: look(at, malformed={"body": "{}"}),
            "the response to GET /r/tasks/TASK is not what the API documents: $: id is missing; is base_url right, with its scheme and /api/v1?"),
        ("too large", lambda at: look(at, at.but(limits=Limits(max_response_bytes=1000)), oversize={"size": 1000}),
            "the response to GET /r/tasks/TASK is not what the API documents: its body has more than 1000 bytes (Limits.max_response_bytes); is base_url right, with its scheme and /api/v1?"),
        ("the answer to a submission", lambda at: submit(at, malformed={"body": "{}"}),
            "the response to POST /r/workflows/slug/text-to-image/run is not what the API documents: $: task_id is missing; check whether it took effect before you retry"),
        ("an event of one's own", lambda _: decode_event("progress", "half", task_id="t-1"),
            "the data of task t-1 is not what the API documents: not JSON (Expecting value: line 1 column 1 (char 0)); pass it on as it was received"),
    ],
    TaskError: [
        ("its root", lambda _: raise_(TaskError(TaskResult(id="t-1", status=TaskStatus("expired")))),
            "task t-1 ended without a result; see its status"),
    ],
    TaskFailed: [
        ("with a reason", lambda at: at.client.run("always-fails"),
            "task TASK failed: ComfyUI execution error: CUDA out of memory; change its parameters, or submit it again"),
        ("without one", lambda _: raise_(TaskFailed(TaskResult(id="t-1", status=TaskStatus.FAILED))),
            "task t-1 failed; change its parameters, or submit it again"),
    ],
    TaskCancelled: [
        ("by somebody", be_cancelled,
            "task TASK was cancelled; submit it again if it is still wanted"),
    ],
    WaitTimeout: [
        ("left", Timed(wait),
            "task TASK did not end within 60 s (last status: pending); it was left running: wait again with its id, or cancel it"),
        ("cancelled", Timed(partial(wait, on_timeout="cancel")),
            "task TASK did not end within 60 s (last status: pending); it was cancelled: submit it again with a longer timeout"),
        ("not cancelled", Timed(partial(wait, cancel=answer(500), on_timeout="cancel")),
            "task TASK did not end within 60 s (last status: pending); cancelling it was not confirmed: check its status, and cancel it again"),
        ("nothing seen", lambda _: raise_(WaitTimeout(90, task_id="t-1")),
            "task t-1 did not end within 90 s (last status: none seen); it was left running: wait again with its id, or cancel it"),
        ("no id", lambda _: raise_(WaitTimeout(90, task_id=None)),
            "the task did not end within 90 s (last status: none seen); its submission got no response: check whether it took effect before you retry"),
    ],
    StartTimeout: [
        ("left", lambda _: raise_(StartTimeout(90, task_id="t-1", status=TaskStatus.WAITING)),
            "task t-1 did not start within 90 s (last status: waiting); it was left in the queue: wait again with its id, or cancel it"),
        ("cancelled", lambda _: raise_(StartTimeout(90, task_id="t-1", status=TaskStatus.WAITING, remote="cancelled")),
            "task t-1 did not start within 90 s (last status: waiting); it was cancelled: see which agents are online, and submit it again"),
        ("not cancelled", lambda _: raise_(StartTimeout(90, task_id="t-1", remote="cancel_failed")),
            "task t-1 did not start within 90 s (last status: none seen); cancelling it was not confirmed: check its status, and cancel it again"),
    ],
    StorageError: [
        ("no files yet", download_pending,
            "files of task TASK: it is pending and has none before it ends, see client.wait_for_result(); retry"),
        ("a refused link", lambda at: download(at, status={"code": 403, "times": None}),
            "output_00001_.bin of task TASK: the storage rejected the presigned URL (403); ask the operator of this Cyberun server"),
        ("a lost file", lambda at: download(at, status={"code": 404}),
            "output_00001_.bin of task TASK: the storage does not have it (any more): inputs are kept for a day, and outputs for 7 days or without end, as the deployment is set (404); submit the task again"),
        ("a storage that is down", lambda at: download(at, status={"code": 503, "times": None}),
            "output_00001_.bin of task TASK: the storage refused (503); retry"),
        ("a broken connection", lambda at: download(at, truncate={"keep": 10, "times": None}),
            "output_00001_.bin of task TASK stopped after 10 bytes: the connection broke: peer closed connection without sending complete message body (received 10 bytes, expected 1000); retry"),
        ("no directory", lambda at: download(at, into="file"),
            "output_00001_.bin of task TASK: that is not a directory; choose another one"),
        ("a full disk", fill_the_disk,
            "a.png of task t-1 stopped after 4096 bytes: the disk is full; make room, and download again"),
        ("too large for memory", read,
            "output_00001_.bin of task TASK stopped after 1000 bytes: it has 1000 bytes, and max_bytes is 100; raise it, or use open_file()"),
        ("no such file", lambda at: at.client.upload(at.folder / "gone.png"),
            "gone.png: it cannot be read: No such file or directory; check that it exists, is open and may be read"),
        ("another size", lambda at: at.client.upload(b"data", name="a.png", size=5),
            "a.png: it has 4 bytes, not the 5 that were given; give its exact size"),
        ("too large", upload_too_large,
            "a.png stopped after 4 bytes: the storage refused (413); it has 4 bytes, and Cyberun takes files of up to 500 MB unless a deployment is set up for more. Larger ones need multipart uploads, whose endpoints are not documented for API keys"),
    ],
    WebhookError: [
        ("no signature", lambda _: verify(BODY, {}, SECRET),
            "X-Webhook-Signature-256 is missing: do not trust the delivery, and respond with 400"),
        ("two signatures", lambda _: verify(BODY, Twice(), SECRET),
            "X-Webhook-Signature-256 is repeated: do not trust the delivery, and respond with 400"),
        ("another algorithm", lambda _: verify(BODY, "sha1=00", SECRET),
            "X-Webhook-Signature-256 is not 'sha256=' and 64 hexadecimal digits: do not trust the delivery, and respond with 400"),
        ("a wrong signature", lambda _: verify(BODY, "sha256=" + "0" * 64, SECRET),
            "the signature does not fit the raw body and the secret: do not trust the delivery, and respond with 400"),
        ("a body that was parsed", lambda _: verify({}, "sha256=" + "0" * 64, SECRET),
            "the body is no bytes, but dict: pass it raw, as it was received"),
        ("a large body", lambda _: verify(BODY, "sha256=" + "0" * 64, SECRET, max_bytes=8),
            "the body is larger than 8 bytes (max_bytes): do not trust the delivery, and respond with 400"),
        ("another payload", lambda _: verify(BODY, sign(BODY, SECRET), SECRET),
            "the signed body is not the documented payload: do not trust the delivery, and respond with 400"),
        ("no secret", lambda _: verify(BODY, "", []),
            "there is no secret to check the signature with: pass the webhook's"),
        ("an empty secret", lambda _: verify(BODY, "", [""]),
            "a secret is empty, or is no text: pass the webhook's as it was shown"),
    ],
}
# fmt: on

ROWS = [
    pytest.param(kind, meet, message, id=f"{kind.__name__}: {situation}")
    for kind, rows in TABLE.items()
    for situation, meet, message in rows
]


OF_CONNECTIONS = {TransportError, TransportTimeout, TokenError, StorageError, WaitTimeout}
"""Kinds that come of what a loop or its sockets say; the others are worded alike whichever loop is there."""


def shown_of(error: CyberunError, key: str) -> str:
    """Give what is read of an error, in which there is no key and no signed link."""
    shown = str(error)
    assert key not in shown
    assert not re.search(r"://\S+\?", shown)
    return shown


@pytest.mark.parametrize(
    ("anyio_backend", "kind", "meet", "message"),
    [
        pytest.param(loop, *row.values, id=f"{loop}-{row.id}")
        for row in ROWS
        if not isinstance(row.values[1], Timed)
        for loop in (["asyncio", "trio"] if row.values[0] in OF_CONNECTIONS else ["asyncio"])
    ],
)
async def test_message(stage: Stage, kind: type[CyberunError], meet: Meeting, message: str) -> None:
    """Whoever meets an error reads what happened, to what, and what to do; no key and no signed link is in it."""
    with pytest.raises(CyberunError) as caught:
        await do(meet, stage)

    shown = shown_of(caught.value, key=stage.cyberun.api_key)
    assert (type(caught.value), stage.plain(shown)) == (kind, message)


@virtual
@pytest.mark.parametrize(("kind", "timed", "message"), [row for row in ROWS if isinstance(row.values[1], Timed)])
async def test_message_that_takes_time(kind: type[CyberunError], timed: Timed, message: str) -> None:
    """The same holds for what is met only after a time, on both loops."""
    async with served(api_key="sk-1", limits=Limits(max_connections=2)) as (server, client):
        with pytest.raises(CyberunError) as caught:
            await timed.meet(server, client)

    assert (type(caught.value), plain(shown_of(caught.value, key="sk-1"))) == (kind, message)


def test_table_is_complete() -> None:
    """Every public error class is in the table."""
    public = [getattr(cyberun_async, name) for name in cyberun_async.__all__]
    assert {each for each in public if inspect.isclass(each) and issubclass(each, CyberunError)} == set(TABLE)
