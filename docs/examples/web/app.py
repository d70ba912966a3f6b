"""Pictures for the visitors of a web page: `uvicorn --factory app:create_app`, or `python serve.py` to try it out."""

import logging
import os
import secrets
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyberun_async import (
    APIError,
    AsyncClient,
    CyberunError,
    DecodeError,
    InvalidParameters,
    NotFoundError,
    TransportError,
)
from cyberun_async.relay import SSE_HEADERS, Relay
from cyberun_async.webhooks import WebhookError, verify

log = logging.getLogger("web_example")

PAGE = Path(__file__).with_name("page.html")
COOKIE = "visitor"
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")

# What a visitor may ask for.
MAX_PROMPT = 300
MAX_STEPS = 50
MAX_SIDE = 1024
MAX_BODY = 8 * 1024 * 1024
MAX_TASKS = 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What differs from place to place; by default it comes from the environment.

    `key_of` is the place to plug in your own users: it gives the key that a visitor's tasks are submitted and followed
    with, or `None` for the application's own. A visitor is what the cookie says; put your sessions there.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    webhook_secrets: tuple[str, ...] = field(
        default_factory=lambda: tuple(os.environ.get("CYBERUN_WEBHOOK_SECRETS", "").split()), repr=False
    )
    key_of: Callable[[str], str | None] = lambda _: None
    database: Path = Path("tasks.db")
    linger: float = 5.0


class Tasks:
    """The owner of each task, on disk, so that it survives a restart."""

    def __init__(self, path: Path) -> None:
        """Make the table where there is none."""
        self._path = path
        self._run("CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, visitor TEXT, prompt TEXT, is_over INT)")

    def _run(self, statement: str, *values: str) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self._path)) as database, database:
            return database.execute(statement, values).fetchall()

    async def _ask(self, statement: str, *values: str) -> list[tuple[str, str]]:
        # The disk may be slow, and the event loop is everybody's.
        return await anyio.to_thread.run_sync(self._run, statement, *values)

    async def add(self, task_id: str, visitor: str, prompt: str) -> None:
        """Remember a task."""
        await self._ask("INSERT INTO tasks VALUES (?, ?, ?, 0)", task_id, visitor, prompt)

    async def is_of(self, task_id: str, visitor: str) -> bool:
        """Say whether a task is a visitor's."""
        return bool(await self._ask("SELECT id, prompt FROM tasks WHERE id = ? AND visitor = ?", task_id, visitor))

    async def latest(self, visitor: str) -> list[tuple[str, str]]:
        """Give ids and prompts of a visitor's tasks, the newest first."""
        order = "ORDER BY rowid DESC LIMIT 12"
        return await self._ask(f"SELECT id, prompt FROM tasks WHERE visitor = ? {order}", visitor)

    async def unfinished(self, visitor: str) -> list[str]:
        """Return the tasks that are not known to have ended."""
        rows = await self._ask("SELECT id, prompt FROM tasks WHERE visitor = ? AND is_over = 0", visitor)
        return [task_id for task_id, _ in rows]

    async def finish(self, task_id: str) -> None:
        """Note that a task has ended."""
        await self._ask("UPDATE tasks SET is_over = 1 WHERE id = ?", task_id)


class Backend:
    """What the routes share, for the life of the application."""

    def __init__(self, settings: Settings, client: AsyncClient, relay: Relay) -> None:
        """Open nothing yet."""
        self.settings = settings
        self.client = client
        self.relay = relay
        self.tasks = Tasks(settings.database)
        self._submitting: Counter[str] = Counter()

    def client_of(self, visitor: str) -> AsyncClient:
        """Give a view of the client with a visitor's key, on the same connections; there is nothing to keep or to close."""
        key = self.settings.key_of(visitor)
        return self.client if key is None else self.client.with_options(api_key=key)

    @contextmanager
    def _place(self, visitor: str) -> Iterator[int]:
        """Count the submissions of a visitor that are on their way, so that two at once do not both find room."""
        self._submitting[visitor] += 1
        try:
            yield self._submitting[visitor]
        finally:
            self._submitting[visitor] -= 1
            self._submitting += Counter()  # It forgets those who have none.

    async def submit(self, visitor: str, prompt: str, workflow: str, parameters: dict[str, object]) -> str:
        """Submit a task for a visitor who has room for one more."""
        with self._place(visitor) as on_their_way:
            if await self._running(visitor) + on_their_way > MAX_TASKS:
                raise HTTPException(429, f"{MAX_TASKS} pictures at a time: please wait for one of yours")
            task_id = await self.client_of(visitor).submit(workflow, parameters)
            try:
                await self.tasks.add(task_id, visitor, prompt)
            except sqlite3.Error:
                # It is paid for: at least the log knows of it.
                log.exception("task %s of a visitor could not be written down", task_id)
                raise
        return task_id

    async def _running(self, visitor: str) -> int:
        running = 0
        for task_id in await self.tasks.unfinished(visitor):
            try:
                is_over = (await self.client_of(visitor).tasks.get(task_id)).status.is_terminal
            except NotFoundError:
                is_over = True
            if is_over:
                await self.tasks.finish(task_id)
            running += not is_over
        return running


async def get_backend(request: Request) -> Backend:
    """Find what the routes share."""
    backend: Backend = request.app.state.backend
    return backend


async def get_visitor(request: Request) -> str:
    """Tell who asks."""
    visitor = request.cookies.get(COOKIE)
    if not visitor:
        raise HTTPException(401, "open the page first")
    return visitor


Shared = Annotated[Backend, Depends(get_backend)]
Visitor = Annotated[str, Depends(get_visitor)]


async def get_client(task_id: str, visitor: Visitor, backend: Shared) -> AsyncClient:
    """Give the client for a visitor's own task; others' tasks are as good as not there."""
    if not await backend.tasks.is_of(task_id, visitor):
        raise HTTPException(404, "there is no such task of yours")
    return backend.client_of(visitor)


OwnersClient = Annotated[AsyncClient, Depends(get_client)]
routes = APIRouter()


@routes.get("/")
async def page(request: Request) -> Response:
    """Show the page, and set the visitor's cookie."""
    response = FileResponse(PAGE, headers={"Cache-Control": "no-cache"})
    if COOKIE not in request.cookies:
        is_secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, secrets.token_urlsafe(32), httponly=True, samesite="lax", secure=is_secure)
    return response


def is_picture(data: bytes) -> bool:
    """Tell a picture by its own bytes: a name or a type is what the visitor says."""
    return data.startswith(BEGINNINGS) and (not data.startswith(b"RIFF") or data[8:12] == b"WEBP")


@routes.post("/tasks", status_code=201)
async def submit(
    *,
    visitor: Visitor,
    backend: Shared,
    prompt: Annotated[str, Form(min_length=1, max_length=MAX_PROMPT)],
    steps: Annotated[int, Form(ge=1, le=MAX_STEPS)] = 20,
    width: Annotated[int, Form(ge=64, le=MAX_SIDE)] = 768,
    height: Annotated[int, Form(ge=64, le=MAX_SIDE)] = 512,
    picture: UploadFile | None = None,
) -> dict[str, str]:
    """Submit a task: a picture from a prompt, or from a prompt and a picture, whose type is detected from its bytes."""
    if picture is not None:
        image = await picture.read()
        if not is_picture(image):
            raise HTTPException(422, "that file is no picture: PNG, JPEG or WebP, please")
        parameters: dict[str, object] = {"image": image, "prompt": prompt}
        return {"task_id": await backend.submit(visitor, prompt, "img2img", parameters)}
    parameters = {"prompt": prompt, "steps": steps, "width": width, "height": height}
    return {"task_id": await backend.submit(visitor, prompt, "text-to-image", parameters)}


@routes.get("/tasks")
async def tasks(visitor: Visitor, backend: Shared) -> list[dict[str, str]]:
    """List a visitor's latest tasks."""
    return [{"task_id": task_id, "prompt": prompt} for task_id, prompt in await backend.tasks.latest(visitor)]


@routes.get("/tasks/{task_id}")
async def status(task_id: str, client: OwnersClient) -> dict[str, str]:
    """Tell where a task stands."""
    return {"task_id": task_id, "status": (await client.tasks.get(task_id)).status}


@routes.delete("/tasks/{task_id}", status_code=202)
async def cancel(task_id: str, client: OwnersClient) -> None:
    """Cancel a task."""
    await client.tasks.cancel(task_id)


@routes.get("/tasks/{task_id}/events")
async def events(task_id: str, request: Request, client: OwnersClient, backend: Shared) -> Response:
    """Relay a task's events to a browser."""
    last = request.headers.get("last-event-id")
    stream = await backend.relay.open(task_id, last_event_id=last, client=client)
    return StreamingResponse(stream, headers=SSE_HEADERS)


@routes.get("/tasks/{task_id}/picture")
async def picture(task_id: str, client: OwnersClient) -> Response:
    """Serve the picture; its presigned URL stays here."""
    files = (await client.tasks.result(task_id)).files
    suffix = Path(files[0].name).suffix.lower() if files else ""
    kind = PICTURES.get(suffix)
    if kind is None:
        raise HTTPException(404, "there is no picture yet")
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'inline; filename="picture-{secrets.token_hex(4)}{suffix}"',
    }
    return Response(await client.read_file(files[0]), media_type=kind, headers=headers)


@routes.post("/webhook", status_code=204)
async def webhook(request: Request, backend: Shared) -> None:
    """Receive a webhook delivery: waits and relayed streams of its task poll at once."""
    try:
        event = verify(await request.body(), request.headers, backend.settings.webhook_secrets)
    except WebhookError as error:
        raise HTTPException(400, str(error)) from error
    await backend.tasks.finish(event.task_id)
    # Whichever view of the client waits.
    backend.client.wake(event)


async def answer_failure(_: Request, error: Exception) -> Response:
    """Tell a visitor what they can mend; the rest is for the log."""
    if isinstance(error, InvalidParameters):
        return JSONResponse({"detail": "; ".join(error.problems)}, 422)
    if isinstance(error, NotFoundError):
        return JSONResponse({"detail": "there is no such task"}, 404)
    log.warning("%s: %s", type(error).__name__, error)
    if (
        isinstance(error, (APIError, DecodeError, TransportError))
        and error.may_have_been_sent
        and error.method == "POST"
    ):
        return JSONResponse(
            {"detail": "nobody knows whether your picture was ordered: ordering it again may cost twice"}, 502
        )
    return JSONResponse({"detail": "the pictures' service has a problem: please try again"}, 502)


class LimitedBody:
    """A layer that takes in no more of a body than it must."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what comes in."""
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise HTTPException(413, f"at most {MAX_BODY >> 20} MiB")
            return message

        await self._app(scope, limited, send)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            AsyncClient(settings.api_key, base_url=settings.base_url) as client,
            Relay(client, linger=settings.linger) as relay,
        ):
            app.state.backend = Backend(settings, client, relay)
            # Streams do not end by themselves when a server stops.
            with relay.draining_on(signal.SIGINT, signal.SIGTERM):
                yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.include_router(routes)
    app.add_exception_handler(CyberunError, answer_failure)
    app.add_middleware(LimitedBody)
    return app
