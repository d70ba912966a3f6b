"""Lists: one page by `await`, all by `async for`, up to a limit, of one status or several."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.tables import table

from cyberun_async import APIError, AsyncClient, InvalidParameters, Page, Retries, Task, TaskStatus
from cyberun_async._protocol.endpoints import statuses_of
from cyberun_async._protocol.pages import PageCursor


class Service:
    """Lists of tasks, by status."""

    def __init__(self, **tasks: list[str]) -> None:
        self.tasks = tasks
        self.asked: list[dict[str, str]] = []
        self.totals = True

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        self.asked.append(query)
        status = query.get("status")
        ids = [(each, name) for name, many in self.tasks.items() if status in {None, name} for each in many]
        size, number = int(query["per_page"]), int(query["current_page"])
        rows = [{"id": each, "task_status": name, "workflow_id": "w"} for each, name in ids]
        meta = {"current_page": number, "per_page": size, **({"total_count": len(rows)} if self.totals else {})}
        return httpx.Response(200, json={"task_list": rows[(number - 1) * size : number * size], "page_meta": meta})

    def client(self) -> AsyncClient:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return AsyncClient("sk-test", base_url="https://x", http_client=http, retries=Retries(budget=0))


def many(count: int, prefix: str = "t") -> list[str]:
    return [f"{prefix}-{number:03}" for number in range(count)]


async def ids_of(tasks: Any) -> list[str]:
    return [task.id async for task in tasks]


async def test_one_page() -> None:
    """Awaiting a list gives its first page, by one request, with the total of all pages."""
    service = Service(running=many(130))
    async with service.client() as client:
        page = await client.tasks.list()
    assert isinstance(page, Page)
    assert ([task.id for task in page.items], page.total, page.number) == (many(100), 130, 1)
    assert service.asked == [{"current_page": "1", "per_page": "100"}]


@table(
    ("limit", "page", "expected"),
    [(5, 1, many(5)), (5, 3, many(15)[10:]), (100, 2, many(130)[100:]), (120, 1, many(100)), (5, 99, [])],
)
async def test_another_page(limit: int, page: int, expected: list[str]) -> None:
    """The limit is the size of a page, up to the most that the service gives."""
    async with Service(running=many(130)).client() as client:
        found = await client.tasks.list(limit=limit, page=page)
    assert ([task.id for task in found.items], found.total, found.number) == (expected, 130, page)


@table(("limit", "requests"), [(1, 1), (5, 1), (100, 1), (101, 2), (130, 2), (131, 2), (None, 2)])
async def test_limit(limit: int | None, requests: int) -> None:
    """No more items are given than that, and no page is read for what is left out."""
    service = Service(running=many(130))
    async with service.client() as client:
        assert await ids_of(client.tasks.list(limit=limit)) == many(130)[:limit]
    assert len(service.asked) == requests


async def test_from_a_page_on() -> None:
    """An iteration begins at the page that is asked for."""
    async with Service(running=many(130)).client() as client:
        assert await ids_of(client.tasks.list(page=2)) == many(130)[100:]


async def test_several_statuses() -> None:
    """Each is a request of its own, in the order of a task's life; a task that moves on meanwhile is given once."""
    service = Service(waiting=["a", "b"], running=["b", "c"], failed=["d"])
    async with service.client() as client:
        tasks = client.tasks.list(status=["running", TaskStatus.WAITING, "running"])
        assert await ids_of(tasks) == ["a", "b", "c"]
        assert [query["status"] for query in service.asked] == ["waiting", "running"]
        page = await client.tasks.list(status={"running", "waiting", "paused"}, limit=2)
        assert ([task.id for task in page.items], page.total) == (["a", "b"], 4)
        assert await ids_of(client.tasks.list(status=["waiting", "running"], limit=3)) == ["a", "b", "c"]
        assert await ids_of(client.tasks.list(status=["waiting", "running"], limit=2)) == ["a", "b"]
        service.totals = False
        assert (await client.tasks.list(status=["waiting", "running"])).total is None


async def test_a_limit_is_not_read_beyond() -> None:
    """A list behind the one that filled the limit is not asked for."""
    service = Service(waiting=["a", "b"], running=["c"])
    async with service.client() as client:
        assert await ids_of(client.tasks.list(status=["waiting", "running"], limit=2)) == ["a", "b"]
    assert [query["status"] for query in service.asked] == ["waiting"]


async def test_awaited_and_iterated() -> None:
    """Awaiting takes nothing from the iteration, and may be done again."""
    async with Service(running=many(3)).client() as client:
        tasks = client.tasks.list()
        assert (await tasks).items == (await tasks).items
        assert await ids_of(tasks) == many(3)
        assert await ids_of(tasks) == []
        assert repr(tasks) == "<AsyncPaginator of https://x: next page None>"


async def test_other_groups() -> None:
    """Every list has a limit and pages."""

    async def reply(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"current_page": "2", "per_page": "1"}
        name = request.url.path.rsplit("/", 1)[1]
        item = {"agents": {"agent_id": "a"}, "containers": {"id": "a"}, "workflows": {"id": "a", "workflow_slug": "w"}}
        key = {"agents": "agent_list", "containers": "container_service_list", "workflows": "workflow_list"}
        return httpx.Response(200, json={key[name]: [item[name]], "page_meta": {"total_count": 9}})

    http = httpx.AsyncClient(transport=httpx.MockTransport(reply))
    async with AsyncClient("sk-test", base_url="https://x", http_client=http) as client:
        for group in (client.agents, client.containers, client.workflows):
            page = await group.list(limit=1, page=2)
            assert ([item.id for item in page.items], page.total) == (["a"], 9)


async def test_errors() -> None:
    """A refusal is raised by either way."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(403)))
    async with AsyncClient("sk-test", base_url="https://x", http_client=http) as client:
        with pytest.raises(APIError):
            await client.tasks.list()
        with pytest.raises(APIError):
            await ids_of(client.tasks.list(status=["running", "failed"]))


@table(
    ("arguments", "problem"),
    [
        ({"limit": 0}, "limit must be a whole number above zero or None, not 0"),
        ({"limit": "5"}, "limit must be a whole number above zero or None, not '5'"),
        ({"limit": True, "page": 0}, "limit must be .*; page must be a whole number above zero, not 0"),
        ({"page": None}, "page must be a whole number above zero, not None"),
        ({"status": []}, r"status must be a status such as running, or several, not \[\]"),
        ({"status": [1]}, r"status must be a status such as running, or several, not \[1\]"),
        ({"status": 7}, "status must be a status such as running, or several, not 7"),
    ],
)
async def test_arguments(arguments: dict[str, Any], problem: str) -> None:
    """What cannot be is refused at once."""
    async with Service().client() as client:
        with pytest.raises(InvalidParameters, match=problem):
            client.tasks.list(**arguments)


def test_order() -> None:
    """Statuses are in the order of a task's life, unknown and terminal ones last, each once."""
    given = ["failed", "running", "paused", "pending", "running"]
    assert statuses_of(given) == ["pending", "running", "failed", "paused"]
    assert statuses_of(None) == [None]
    assert statuses_of("any") == ["any"]


def test_a_shrinking_list_from_a_page_on() -> None:
    """A cursor does not go back behind the page that it has begun at."""
    cursor: PageCursor[Task] = PageCursor(3)
    tasks = [Task(id=str(number), workflow_id="w", status=TaskStatus.RUNNING) for number in range(4)]
    cursor.take(3, Page(tuple(tasks[:2]), size=2, total=10))
    assert cursor.number == 4
    cursor.take(4, Page(tuple(tasks[2:]), size=2, total=2))
    assert cursor.number == 3
