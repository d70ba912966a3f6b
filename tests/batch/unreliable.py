"""A service that counts what it is sent, and a disk that refuses, in one thread: each instant can be named and struck.

An instant is the moment before a statement of SQL, and before and after a request: in between nothing changes that
outlives the process. At one of them a batch can be cancelled, or its process killed, which leaves the files as they
were then; and from one to another the disk can be full.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import anyio
import anyio.to_thread
import attrs
import httpx
import trio.testing
from anyio.lowlevel import checkpoint

from cyberun_async import AsyncClient, Journal, Limits, Polling, Retries, Timeouts
from cyberun_async._batch.journal_rows import Row

Reply = Literal["done", "fails", "lost", "lost on the way", "500", "500 although done", "403", "no id", "bad id"]
"""What becomes of a submission: the task is done or fails; or there is no task, or none that the client hears of."""

BILLED = {"done", "fails", "lost", "500 although done", "no id", "bad id"}


@attrs.define
class Service:
    """Counts the tasks of each item, and says what the test says.

    Attributes:
        replies: What becomes of the next submissions; after them all are done.
        tasks: The tasks of each item, by number, each with whether it fails.
        permits: For which items another submission is allowed now, although there is a task that has not failed.
        wrong: What must not have happened.
        may_repeat_failed: Whether items whose last task has failed may be submitted again.

    """

    replies: list[Reply] = attrs.field(factory=list)
    tasks: dict[int, dict[str, bool]] = attrs.field(factory=lambda: defaultdict(dict))
    created: dict[str, float] = attrs.field(factory=dict)
    permits: set[int] = attrs.field(factory=set)
    wrong: list[str] = attrs.field(factory=list)
    may_repeat_failed: bool = False
    lists: bool = True

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path = request.url.path
        if path.endswith("/run"):
            return self._submit(json.loads(request.content)["parameters"]["n"])
        if path.endswith("/r/tasks"):
            return self._list() if self.lists else httpx.Response(403)
        if "/r/workflows/" in path:
            return httpx.Response(200, json={"id": "w-1", "parameters": []})
        task_id = path.removesuffix("/result").rpartition("/")[2]
        (fails,) = [tasks[task_id] for tasks in self.tasks.values() if task_id in tasks]
        return httpx.Response(200, json=self._task(task_id, fails=fails))

    def _submit(self, item: int) -> httpx.Response:
        reply: Reply = self.replies.pop(0) if self.replies else "done"
        if reply in BILLED:
            self._check(item)
            task_id = f"t-{len(self.created)}"
            self.tasks[item][task_id] = reply == "fails"
            self.created[task_id] = time.time()
        if reply.startswith("lost"):
            raise httpx.ReadError("broken on purpose")
        if reply.startswith("500"):
            return httpx.Response(500)
        if reply == "403":
            return httpx.Response(403)
        if reply == "no id":
            return httpx.Response(200, json={})
        if reply == "bad id":
            return httpx.Response(200, content=rb'{"task_id": "\ud83d"}')
        return httpx.Response(200, json={"task_id": task_id})

    def _check(self, item: int) -> None:
        """Note a second submission that nobody has asked for."""
        tasks = self.tasks[item]
        if not tasks or item in self.permits:
            self.permits.discard(item)
        elif not (list(tasks.values())[-1] and self.may_repeat_failed):
            self.wrong.append(f"item {item} was submitted again, with {tasks}")

    def _list(self) -> httpx.Response:
        every = [self._task(task_id, fails=fails) for tasks in self.tasks.values() for task_id, fails in tasks.items()]
        return httpx.Response(200, json={"task_list": every, "page_meta": {"total_page": 1}})

    def _task(self, task_id: str, *, fails: bool) -> dict[str, object]:
        created = datetime.fromtimestamp(self.created[task_id], timezone.utc).isoformat()
        said: dict[str, object] = {"id": task_id, "workflow_id": "w-1", "created_at": created}
        return said | ({"task_status": "failed"} if fails else {"task_status": "completed", "task_output": {}})


@attrs.define
class Instants:
    """What happens at which instant.

    Attributes:
        strike_at: The instant at which `strike` is called, and the work is cancelled.
        full: The instants at which the disk is full.
        rolls_back: Whether a full disk takes back the transaction, as SQLite does for some failures.
        passed: How many there were.

    """

    strike_at: int | None = None
    strike: Callable[[], object] = lambda: None
    full: range = range(0)
    rolls_back: bool = False
    passed: int = 0
    cancel: Callable[[], object] = lambda: None
    is_due: bool = False

    def one_passes(self) -> int:
        """Let one pass, and give its number."""
        now, self.passed = self.passed, self.passed + 1
        if now == self.strike_at:
            self.strike()
            self.is_due = True
        return now

    def cancel_if_due(self) -> None:
        """Cancel from within the loop."""
        if self.is_due:
            self.is_due = False
            self.cancel()


@attrs.define
class World:
    """A service, a journal's file, and what is known of both.

    Attributes:
        acknowledged: By key, the row that was last said to be on the disk.
        tried: By key, what was to be written since then.

    """

    path: Path
    service: Service = attrs.field(factory=Service)
    instants: Instants = attrs.field(factory=Instants)
    acknowledged: dict[str, Row] = attrs.field(factory=dict)
    tried: dict[str, list[Row]] = attrs.field(factory=lambda: defaultdict(list))
    is_dead: bool = False

    def run(self, work: Callable[[AsyncClient, Journal], Awaitable[Any]], backend: str) -> Any:
        """Run something with a client and the journal; it may be cancelled or killed on the way, and then gives `None`."""
        self.is_dead = False
        result: list[Any] = []

        async def main() -> None:
            transport = _Wire(self)
            async with httpx.AsyncClient(transport=transport) as http_client, _client(http_client) as client:
                journal = Journal(self.path)
                with mock.patch.object(journal._store, "put", self._watched(journal._store.put)):
                    result.append(await work(client, journal))

        with self._struck():
            if backend == "trio":
                clock = trio.testing.MockClock(autojump_threshold=0)
                anyio.run(_cancellable(main, self.instants), backend=backend, backend_options={"clock": clock})
            else:
                anyio.run(
                    _cancellable(main, self.instants, natively=backend == "asyncio, by a task"), backend="asyncio"
                )
        if self.is_dead:
            self._back_to_the_kill()
            return None
        return result[0] if result else None

    def kill(self) -> None:
        """Keep the files as they are now, and cancel: nothing that happens from here on has happened."""
        self.is_dead = True
        for path in self._files():
            shutil.copyfile(path, path.with_name(f"kept-{path.name}"))

    def _files(self) -> list[Path]:
        return [path for path in self.path.parent.glob(f"{self.path.name}*") if path.is_file()]

    def _back_to_the_kill(self) -> None:
        for path in self._files():
            path.unlink()
        for path in list(self.path.parent.glob("kept-*")):
            path.rename(path.with_name(path.name.removeprefix("kept-")))

    def _watched(self, put: Callable[[Row], Awaitable[None]]) -> Callable[[Row], Awaitable[None]]:
        async def watched(row: Row) -> None:
            if not self.is_dead:
                self.tried[row.key].append(row)
            await put(row)
            if not self.is_dead:
                self.acknowledged[row.key] = row
                self.tried[row.key].clear()

        return watched

    @contextmanager
    def _struck(self) -> Iterator[None]:
        """Do what is done in threads in this one, and let each statement be an instant."""
        instants, world = self.instants, self
        real = sqlite3.connect

        class Struck(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                now = instants.one_passes()
                is_writing = sql.split(maxsplit=1)[0] in {"INSERT", "UPDATE", "COMMIT", "BEGIN"}
                if is_writing and now in instants.full and not world.is_dead:
                    if instants.rolls_back and self.in_transaction:
                        super().execute("ROLLBACK")
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(sql, *args)

        def connect(*args: Any, factory: type[sqlite3.Connection], **options: Any) -> sqlite3.Connection:
            return real(*args, **options, factory=type("Connection", (factory, Struck), {}))

        async def here(work: Callable[..., Any], *args: Any, **_: Any) -> Any:
            await checkpoint()
            try:
                with outside_of_the_loop():
                    return work(*args)
            finally:
                instants.cancel_if_due()

        with (
            mock.patch.object(sqlite3, "connect", connect),
            mock.patch.object(anyio.to_thread, "run_sync", here),
        ):
            yield

    # What is on the disk

    def rows(self) -> dict[str, tuple[str, str | None, str | None, int]]:
        """Read state, task, outcome and attempts of each item, as another program would."""
        if not self.path.exists():
            return {}
        db = sqlite3.connect(self.path)
        try:
            if not db.execute("SELECT name FROM sqlite_master WHERE name = 'items'").fetchone():
                return {}
            return {row[0]: row[1:] for row in db.execute("SELECT key, state, task_id, outcome, attempts FROM items")}
        finally:
            db.close()

    def check_disk(self) -> None:
        """See to it that no acknowledged write is missing: each row is the last such, or one that was tried after it."""
        found = self.rows()
        for key, row in self.acknowledged.items():
            wanted = [(each.state, each.task_id, each.outcome, each.attempts) for each in (row, *self.tried[key])]
            assert found.get(key) in wanted, (key, found.get(key), wanted)


@contextmanager
def outside_of_the_loop() -> Iterator[None]:
    """Do what blocks as a thread would: asyncio, and what watches it here, is not asked."""
    loop = asyncio.events._get_running_loop()
    asyncio.events._set_running_loop(None)
    try:
        yield
    finally:
        asyncio.events._set_running_loop(loop)


class _Wire(httpx.AsyncBaseTransport):
    """Two instants for each request; nothing is heard of a process that is dead."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        await self._instant()
        if self._world.is_dead:
            raise httpx.ConnectError("dead")
        response = self._world.service.answer(request)
        await self._instant()
        return response

    async def _instant(self) -> None:
        with outside_of_the_loop():
            self._world.instants.one_passes()
        self._world.instants.cancel_if_due()
        await checkpoint()


def _client(http_client: httpx.AsyncClient) -> AsyncClient:
    return AsyncClient(
        "sk-0123456789abcdef",
        http_client=http_client,
        polling=Polling(interval=0.001, interval_while_streaming=0.001, unavailable_timeout=5),
        limits=Limits(max_streams=0),
        retries=Retries(budget=0),
        timeouts=Timeouts(cleanup=0.05),
    )


def _cancellable(
    main: Callable[[], Awaitable[None]], instants: Instants, *, natively: bool = False
) -> Callable[[], Awaitable[None]]:
    """Run something that a strike cancels, by a scope or by asyncio's own means."""

    async def run() -> None:
        if natively:
            task = asyncio.ensure_future(main())
            instants.cancel = task.cancel
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
            return
        with anyio.CancelScope() as scope:
            instants.cancel = scope.cancel
            await main()

    return run
