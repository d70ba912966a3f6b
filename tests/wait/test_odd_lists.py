"""Many waits without streams share the lists of tasks, whatever these lists leave out or ignore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import anyio
import attrs
import httpx
import pytest
from support.tables import table
from support.virtual import virtual

from cyberun_async import AsyncClient, Limits, Polling, TaskStatus
from cyberun_async._wait.list_plan import LIST_THRESHOLD

MANY = LIST_THRESHOLD + 4
TIME = "2025-02-10T14:01:30Z"
Json = dict[str, object]


@attrs.define
class Service:
    """Tasks that run until they are told to end, and a list of them with its habits.

    Attributes:
        item: Gives a task of the list another form.
        is_filtered: Whether the list heeds the status that is asked for.
        page: Gives a page of the list another form.
        has_ended: Whether the tasks have ended.
        asked: Lists and single polls so far.
        was_asked: Set after a few rounds of them.

    """

    item: Callable[[Json], Json] = dict
    is_filtered: bool = True
    page: Callable[[Json], object] = dict
    has_ended: bool = False
    asked: Counter[str] = attrs.Factory(Counter)
    was_asked: anyio.Event = attrs.Factory(anyio.Event)

    def task(self, task_id: str) -> Json:
        if self.has_ended:
            return {"id": task_id, "task_status": "completed", "completed_at": TIME, "task_error": ""}
        return {"id": task_id, "task_status": "running", "completed_at": None, "task_error": ""}

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.asked["list"] >= 6 or self.asked["task"] >= 4 * MANY:
            self.was_asked.set()
        match request.url.path.split("/r/tasks")[1].split("/"):
            case [""]:
                self.asked["list"] += 1
                return httpx.Response(200, json=self.page(self.listed(request.url.params)))
            case ["", task_id]:
                self.asked["task"] += 1
                return httpx.Response(200, json=self.task(task_id))
            case ["", task_id, "result"]:
                return httpx.Response(200, json=self.task(task_id) | {"task_output": {} if self.has_ended else None})
            case _:
                return httpx.Response(404)

    def listed(self, query: Mapping[str, str]) -> Json:
        every = [self.task(f"task-{number}") for number in range(MANY)]
        wanted = [each for each in every if not self.is_filtered or each["task_status"] == query.get("status")]
        size, number = int(query["per_page"]), int(query["current_page"])
        meta = {"current_page": number, "per_page": size, "total_count": len(wanted)}
        return {"task_list": [self.item(each) for each in wanted[(number - 1) * size :][:size]], "page_meta": meta}


def without_status(task: Json) -> Json:
    return {name: value for name, value in task.items() if name != "task_status"}


def only_an_id(task: Json) -> Json:
    return {"id": task["id"]}


def with_new_words(task: Json) -> Json:
    return {**task, "task_status": "archived" if task["completed_at"] else "hibernating"}


def capitals(task: Json) -> Json:
    return {"task_id": task["id"], "status": str(task["task_status"]).upper()}


@table(
    "service",
    [
        pytest.param(Service(), id="as documented"),
        pytest.param(Service(is_filtered=False), id="filter ignored"),
        pytest.param(Service(without_status), id="no status"),
        pytest.param(Service(only_an_id), id="nothing but ids"),
        pytest.param(Service(without_status, is_filtered=False), id="no status, filter ignored"),
        pytest.param(Service(only_an_id, is_filtered=False), id="nothing but ids, filter ignored"),
        pytest.param(Service(with_new_words, is_filtered=False), id="new words, filter ignored"),
        pytest.param(Service(capitals), id="other names and capitals"),
        pytest.param(Service(page=lambda page: page["task_list"]), id="a bare array"),
        pytest.param(Service(page=lambda page: {"data": page}), id="an envelope"),
        pytest.param(Service(page=lambda page: {"found": page["task_list"]}), id="another name"),
        pytest.param(
            Service(page=lambda page: {"task_list": [None, *page["task_list"], {}]}),  # type: ignore[misc]
            id="bad items",
        ),
        pytest.param(Service(page=lambda page: {**page, "page_meta": "1/1"}), id="length as text"),
        pytest.param(Service(page=lambda _: {"hello": "world"}), id="no list"),
    ],
)
@virtual
async def test_waits_end_whatever_the_list_is_like(service: Service) -> None:
    """Each wait ends with its own result; what the list does not say is asked for by polls."""
    service = attrs.evolve(service, asked=Counter(), was_asked=anyio.Event())
    done: list[str] = []
    client = AsyncClient(
        "sk-0123456789abcdef",
        base_url="http://127.0.0.1/api/v1",
        polling=Polling(interval=0.02, interval_while_streaming=0.02),
        limits=Limits(max_streams=0),
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(service.answer)),
    )

    async def wait(task_id: str) -> None:
        result = await client.wait_for_result(task_id)
        assert (result.id, result.status) == (task_id, TaskStatus.COMPLETED)
        done.append(task_id)

    with anyio.fail_after(30):
        async with client, anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(wait, f"task-{number}")
            await service.was_asked.wait()
            assert done == []
            service.has_ended = True

    assert len(done) == MANY
