"""The runtime calls of the API: workflows, tasks, files, agents.

https://docs.cyberun.cloud/api-reference
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from ._accounts import Accounts
from ._http import ApiError, not_found, page, path_param, path_uuid, read_json
from ._operations import Operations
from ._scheduler import Scheduler
from ._storage import Storage
from ._tasks import STATUSES, Task
from ._workflows import LocalWorkflow, Workflows

MAX_UPLOAD = 500 * 1000 * 1000


class RuntimeCalls:
    """One method per call. Each lets the caller in, finds what the call is about, and answers."""

    def __init__(self, accounts: Accounts, workflows: Workflows, scheduler: Scheduler, storage: Storage) -> None:
        self._accounts = accounts
        self._workflows = workflows
        self._scheduler = scheduler
        self._storage = storage

    def routes(self, operations: Operations) -> list[BaseRoute]:
        on = operations.route
        return [
            on("workflows.list", "GET", "/r/workflows", self.list_workflows),
            on("workflows.get", "GET", "/r/workflows/slug/{slug}", self.get_workflow),
            on("workflows.run", "POST", "/r/workflows/slug/{slug}/run", self.run_workflow),
            on("workflows.get", "GET", "/r/workflows/{workflow_id}", self.get_workflow),
            on("workflows.run", "POST", "/r/workflows/{workflow_id}/run", self.run_workflow),
            on("tasks.list", "GET", "/r/tasks", self.list_tasks),
            on("tasks.get", "GET", "/r/tasks/{task_id}", self.get_task),
            on("tasks.result", "GET", "/r/tasks/{task_id}/result", self.get_result),
            on("tasks.events", "GET", "/r/tasks/{task_id}/events", self.stream_events),
            on("tasks.cancel", "POST", "/r/tasks/{task_id}/cancel", self.cancel_task),
            on("files.presign", "POST", "/r/files/presign", self.presign_file),
            on("agents.list", "GET", "/r/agents", self.list_agents),
        ]

    async def list_workflows(self, request: Request) -> Response:
        caller = self._accounts.sign_in(request.headers)
        return page(request, "workflow_list", self._workflows.all(caller.team_id), LocalWorkflow.summary)

    async def get_workflow(self, request: Request) -> Response:
        caller = self._accounts.sign_in(request.headers)
        return JSONResponse(self._workflow(request, caller.team_id).wire())

    async def run_workflow(self, request: Request) -> Response:
        """Submit a task. https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id"""
        caller = self._accounts.sign_in(request.headers)
        workflow = self._workflow(request, caller.team_id)
        body = await read_json(request, optional=True)
        if workflow.is_disabled:
            # "Refuses new tasks" is documented, with what status is not: 409 is this server's choice.
            raise ApiError(409, "workflow is disabled")
        given = body.get("parameters") or {}
        if not isinstance(given, dict):
            raise ApiError(400, "parameters must be an object")
        task = self._scheduler.submit(
            workflow,
            workflow.fill(given),
            dispatch_target=str(body.get("dispatch_target") or "agent"),
            target_pool=str(body.get("target_pool") or "team"),
            team_id=caller.team_id,
        )
        request.state.exchange.task_id = task.id
        return JSONResponse({"task_id": task.id}, 202)

    async def list_tasks(self, request: Request) -> Response:
        """List tasks, the newest first: the order is not documented. https://docs.cyberun.cloud/api-reference/task/list-tasks"""
        caller = self._accounts.sign_in(request.headers)
        wanted = request.query_params.get("status")
        if wanted is not None and wanted not in STATUSES:
            raise ApiError(400, f"status must be one of: {', '.join(STATUSES)}")
        own = [task for task in self._scheduler.tasks.values() if task.team_id == caller.team_id]
        tasks = [task for task in own if wanted in (None, task.status)]
        return page(request, "task_list", tasks[::-1], Task.wire)

    async def get_task(self, request: Request) -> Response:
        return JSONResponse(self._task(request).wire())

    async def get_result(self, request: Request) -> Response:
        """Give the result with fresh links. https://docs.cyberun.cloud/api-reference/task/get-task-result"""
        task = self._task(request)
        lifetime = request.state.exchange.link_lifetime
        return JSONResponse(task.result(self._storage.links(task.output or {}, lifetime)))

    async def stream_events(self, request: Request) -> Response:
        """Stream the task's events. https://docs.cyberun.cloud/api-reference/streaming-events"""
        task = self._task(request)
        # "After any of these three the server closes the connection."
        headers = {"Cache-Control": "no-cache", "Connection": "close"}
        return StreamingResponse(self._events(task), headers=headers, media_type="text/event-stream")

    async def cancel_task(self, request: Request) -> Response:
        """Cancel, or do nothing to a task that is over. https://docs.cyberun.cloud/api-reference/task/cancel-a-task"""
        self._scheduler.cancel(self._task(request))
        # The documented answer is one boolean whose name is not visible; this is what its siblings are called.
        return JSONResponse({"is_success": True})

    async def presign_file(self, request: Request) -> Response:
        """Hand out an upload link. https://docs.cyberun.cloud/api-reference/file/request-a-presigned-upload-url"""
        caller = self._accounts.sign_in(request.headers)
        body = await read_json(request)
        name, size, kind = body.get("file_name"), body.get("file_size"), body.get("content_type")
        if not isinstance(name, str) or not name or not isinstance(kind, str) or not kind:
            raise ApiError(400, "file_name and content_type are required")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_UPLOAD:
            raise ApiError(400, f"file_size must be an integer from 1 to {MAX_UPLOAD}")
        lifetime = request.state.exchange.link_lifetime
        return JSONResponse(self._storage.presign_upload(name, size, kind, caller.team_id, lifetime))

    async def list_agents(self, request: Request) -> Response:
        """List the one agent. The item's fields are those of https://docs.cyberun.cloud/api-reference/agent/list-connected-agents"""
        caller = self._accounts.sign_in(request.headers)
        return page(request, "agent_list", [self._scheduler.agent(caller.team_id)], dict)

    def _workflow(self, request: Request, team_id: str) -> LocalWorkflow:
        if "slug" in request.path_params:
            return self._workflows.by_slug(path_param(request, "slug"), team_id)
        return self._workflows.by_id(path_uuid(request, "workflow_id"), team_id)

    def _task(self, request: Request) -> Task:
        caller = self._accounts.sign_in(request.headers)
        task = self._scheduler.tasks.get(path_uuid(request, "task_id"))
        # Another team's task is not there, rather than forbidden: an id that can be tried out says nothing.
        if task is None or task.team_id != caller.team_id:
            raise not_found()
        return task

    async def _events(self, task: Task) -> AsyncIterator[bytes]:
        queue = self._scheduler.listen(task)
        try:
            while (chunk := await queue.get()) is not None:
                yield chunk
        finally:
            task.listeners.discard(queue)
