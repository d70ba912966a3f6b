"""What the documents promise, as checks."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import attrs

from cyberun_async._client import AsyncClient, core_of
from cyberun_async._errors import DecodeError
from cyberun_async._protocol.agents import Agent
from cyberun_async._protocol.containers import Container
from cyberun_async._protocol.endpoints import Dispatch
from cyberun_async._protocol.error_text import error_text
from cyberun_async._protocol.events import decode_event
from cyberun_async._protocol.files import PresignedUpload
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.tasks import Submitted, Task, TaskResult
from cyberun_async._protocol.workflows import ParameterDef, Workflow
from cyberun_async.conformance._asking import Reader, ask, differs, hold, reader_of, send
from cyberun_async.conformance._following import Followed, follow, judge
from cyberun_async.conformance._report import Differs, Finding, Skipped, finding_of
from cyberun_async.conformance._tables import (
    AGENT,
    CONTAINER,
    EVENTS,
    LAST_EVENTS,
    PAGE_META,
    PARAMETER,
    PRESIGNED,
    REFUSAL,
    RESULT,
    SUBMITTED,
    TASK,
    WORKFLOW,
    Table,
)

Object = Mapping[str, object]

NOBODY = str(UUID(int=0))
"""The id of a task that nobody has."""


@attrs.define
class Conformance:
    """The checks of one run, and what later ones need of earlier ones."""

    client: AsyncClient
    submit: str | None
    parameters: Mapping[str, object]
    timeout: float
    workflows: Sequence[Object] = ()
    tasks: Sequence[Object] = ()
    task_id: str = ""
    followed: Followed | None = None

    async def run(self) -> tuple[Finding, ...]:
        """Run all of them, one after the other."""
        checks: Mapping[str, Callable[[], Awaitable[str]]] = {
            "workflows.list": self.list_workflows,
            "workflows.get": self.get_workflow,
            "tasks.list": self.list_tasks,
            "tasks.pages": self.page_tasks,
            "tasks.filter": self.filter_tasks,
            "tasks.get": self.get_task,
            "tasks.result": self.get_result,
            "storage.get": self.get_file,
            "agents.list": self.list_agents,
            "containers.list": self.list_containers,
            "refusals": self.refuse,
            "submit.run": self.run_workflow,
            "submit.stream": self.stream,
            "submit.events": self.hold_events,
            "submit.result": self.compare_result,
            "submit.cancel": self.cancel_ended,
            "submit.presign": self.presign,
            "submit.upload": self.upload,
        }
        return tuple([await finding_of(name, check) for name, check in checks.items()])

    # What is there

    async def list_workflows(self) -> str:
        summary, self.workflows = await self._list("/r/workflows", "workflow_list", WORKFLOW, Workflow)
        return summary

    async def get_workflow(self) -> str:
        listed = _first(self.workflows, "there is no workflow")
        slug = listed.get("workflow_slug")
        by_id = (await ask(self.client, f"/r/workflows/{listed.get('id')}")).body
        summary = hold("a workflow", [by_id], WORKFLOW, self._reads(Workflow))
        given = _objects(by_id, "parameters")
        hold("each of its parameters", given, PARAMETER, self._reads(ParameterDef))
        if (await ask(self.client, f"/r/workflows/slug/{slug}")).body != by_id:
            raise Differs("a workflow by its slug is another than by its id")
        return f"{summary}, with {len(given)} parameters, and is the same by its slug"

    async def list_tasks(self) -> str:
        summary, self.tasks = await self._list("/r/tasks", "task_list", TASK, Task)
        return summary

    async def page_tasks(self) -> str:
        if len(self.tasks) < 2:
            raise Skipped("there are too few tasks to make two pages")
        pages = [
            (await ask(self.client, "/r/tasks", query={"current_page": number, "per_page": 1})).body
            for number in (1, 2)
        ]
        ids = [[item.get("id") for item in _objects(page, "task_list")] for page in pages]
        if any(len(each) != 1 for each in ids):
            raise Differs(f"per_page=1 gives pages of {', '.join(str(len(each)) for each in ids)} tasks")
        if ids[0] == ids[1]:
            raise Differs("the second page has the same task as the first")
        return "per_page and current_page do what they say"

    async def filter_tasks(self) -> str:
        status = str(_first(self.tasks, "there is no task").get("task_status"))
        found = _objects((await ask(self.client, "/r/tasks", query={"status": status})).body, "task_list")
        others = {str(item.get("task_status")) for item in found} - {status}
        # A task may move on between the two requests, but not away from its end.
        if others and status in LAST_EVENTS:
            raise Differs(f"the filter status={status} gives tasks that are {', '.join(sorted(others))}")
        return f"the filter status={status} gives {len(found)} tasks, and no others"

    async def get_task(self) -> str:
        listed = _first(self.tasks, "there is no task")
        body = (await ask(self.client, f"/r/tasks/{listed.get('id')}")).body
        return hold("a task", [body], TASK, self._reads(Task))

    async def get_result(self) -> str:
        results = [(await ask(self.client, f"/r/tasks/{task.get('id')}/result")).body for task in self._of_each_end()]
        return hold(f"each of {len(results)} results", results, RESULT, self._reads(TaskResult))

    async def get_file(self) -> str:
        """Read the beginning of a file, with which the storage is touched."""
        completed = [task for task in self._of_each_end() if task.get("task_status") == "completed"]
        task_id = str(_first(completed, "no task has completed").get("id"))
        files = (await self.client.tasks.result(task_id)).files
        if not files:
            raise Skipped(f"the task {task_id} has no files")
        async with self.client.open_file(files[0]) as stream:
            await anext(aiter(stream), b"")
        return f"the storage gives the files of the task {task_id}"

    async def list_agents(self) -> str:
        return (await self._list("/r/agents", "agent_list", AGENT, Agent))[0]

    async def list_containers(self) -> str:
        response = await ask(self.client, "/r/containers", expect=None)
        if response.status == 403:
            raise Skipped("the key or the plan has no containers")
        return (await self._list("/r/containers", None, CONTAINER, Container))[0]

    async def refuse(self) -> str:
        response = await ask(self.client, f"/r/tasks/{NOBODY}", expect=None)
        if response.status != 404:
            raise Differs(f"a request for a task that does not exist ends with {response.status} instead of 404")
        return (
            f"a task that does not exist is a 404, and {hold('the error response', [response.body], REFUSAL, _words)}"
        )

    # What a task of one's own shows

    async def run_workflow(self) -> str:
        if self.submit is None:
            raise Skipped("nothing is submitted unless asked for, since it costs money")
        prepare = core_of(self.client).preparer.prepare
        call = await prepare(self.submit, self.parameters, validate=True, dispatch=Dispatch())
        body = (await send(self.client, call, expect=202)).body
        hold("the response", [body], SUBMITTED, self._reads(Submitted))
        assert isinstance(body, dict)
        self.task_id = str(body["task_id"])
        return f"a submission returns 202 and the id of a task: {self.task_id}"

    async def stream(self) -> str:
        self.followed = await follow(self.client, self._submitted(), whole=True, timeout=self.timeout)
        return judge(self.followed)

    async def hold_events(self) -> str:
        self._submitted()
        events = self.followed.events if self.followed else []
        if not events:
            raise Skipped("there were no events")
        if unknown := {event.event for event in events} - EVENTS.keys():
            raise Differs(f"there are events that no document names: {', '.join(sorted(unknown))}")
        for name, table in EVENTS.items():
            if same := [event for event in events if event.event == name]:
                hold(f"each {name} event", [parse_json(event.data) for event in same], table, _reader_of_events(name))
        if self.followed is not None and self.followed.joined:
            raise Differs("there are events whose data continues in lines without data:. The client tolerates that")
        reported = Counter((event.event, event.data) for event in events)
        if twice := sorted({name for (name, _), count in reported.items() if count > 1}):
            raise Differs(f"there are events that came twice: {', '.join(twice)}. The client tolerates that")
        if events[-1].event not in LAST_EVENTS:
            raise Differs("the stream ended without the event that ends a task")
        return f"{len(events)} events fit their tables, and the last is {events[-1].event}"

    async def compare_result(self) -> str:
        body = (await ask(self.client, f"/r/tasks/{self._submitted()}/result")).body
        summary = hold("the result", [body], RESULT, self._reads(TaskResult))
        assert isinstance(body, dict)
        status = str(body["task_status"])
        reported = self.followed.events[-1].event if self.followed and self.followed.has_last else status
        if status != reported:
            raise Differs(f"the result says {status} where the stream said {reported}")
        if status not in LAST_EVENTS:
            raise Skipped(f"the task {self.task_id} is still {status}; it was left running")
        return f"{summary}: {status}"

    async def cancel_ended(self) -> str:
        path = f"/r/tasks/{self._submitted()}"
        before = (await ask(self.client, path)).body
        if not isinstance(before, dict) or before.get("task_status") not in LAST_EVENTS:
            raise Skipped("the task has not ended, and is not cancelled for a check")
        await ask(self.client, f"{path}/cancel", method="POST")
        after = (await ask(self.client, path)).body
        if not isinstance(after, dict) or after.get("task_status") != before["task_status"]:
            raise Differs("cancelling a task that had ended changed its status")
        return "cancelling a task that has ended is accepted, and changes nothing"

    async def presign(self) -> str:
        self._submitted()
        file = {"file_name": "conformance.txt", "file_size": 3, "content_type": "text/plain"}
        body = (await ask(self.client, "/r/files/presign", method="POST", body=file)).body
        return hold("a presigned URL for an upload", [body], PRESIGNED, self._reads(PresignedUpload))

    async def upload(self) -> str:
        self._submitted()
        await self.client.upload(b"hi\n", name="conformance.txt", content_type="text/plain")
        return "the storage takes a file"

    def _reads(self, kind: Any) -> Reader:
        return reader_of(self.client, kind)

    def _submitted(self) -> str:
        if not self.task_id:
            raise Skipped("there is no task of this run")
        return self.task_id

    def _of_each_end(self) -> Sequence[Object]:
        """Give one task of each status."""
        _first(self.tasks, "there is no task")
        return list({task.get("task_status"): task for task in self.tasks}.values())

    async def _list(self, path: str, name: str | None, table: Table, kind: Any) -> tuple[str, Sequence[Object]]:
        """Hold a list against its table; `name` is `None` where the documents do not give the list's name."""
        body = (await ask(self.client, path)).body
        if name is None and isinstance(body, dict):
            name = next((key for key, value in body.items() if isinstance(value, list)), None)
        if not isinstance(body, dict) or name is None or name not in body:
            raise differs(f"the response to GET {path} has no {name or 'list'}", [body], self._reads(Page[kind]))
        items = _objects(body, name)
        hold("page_meta", [body.get("page_meta")], PAGE_META, lambda _: self._reads(Page[kind])(body))
        if not items:
            raise Skipped("the list is empty")
        return hold(f"each of {len(items)} items", items, table, self._reads(kind)), items


def _words(body: object) -> object:
    """Read the words of an error response as the client does."""
    words = error_text(body)
    if words is None:
        raise DecodeError("there is no text in it")
    return words


def _reader_of_events(name: str) -> Reader:
    return lambda data: decode_event(name, json.dumps(data), task_id=NOBODY)


def _objects(body: object, name: str) -> Sequence[Object]:
    values = body.get(name) if isinstance(body, dict) else None
    if values is not None and not (isinstance(values, list) and all(isinstance(item, dict) for item in values)):
        raise Differs(f"{name} is no list of objects")
    return values or []


def _first(values: Sequence[Object], nothing: str) -> Object:
    if not values:
        raise Skipped(nothing)
    return values[0]
