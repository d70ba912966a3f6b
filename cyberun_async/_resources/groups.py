"""One class for each group of endpoints."""

from collections.abc import AsyncIterator, Mapping

from cyberun_async._flows.paging import every_item
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.agents import Agent
from cyberun_async._protocol.containers import Container, Invocation
from cyberun_async._protocol.endpoints import Dispatch
from cyberun_async._protocol.files import PresignedUpload
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult
from cyberun_async._protocol.workflows import Workflow
from cyberun_async._transport.transport import Transport


class _Group:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport


class Workflows(_Group):
    """What can be run, as `client.workflows`."""

    def list(self) -> AsyncIterator[Workflow]:
        """Go through the workflows of the team, page by page; a list may leave their parameters out.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.

        Source: https://docs.cyberun.cloud/cloud/guides/api-key

        """
        return every_item(self._transport, endpoints.list_workflows)

    async def get(self, workflow: str) -> Workflow:
        """Read a workflow with its parameters, by slug, `slug@version` or UUID.

        Raises:
            NotFoundError: There is no such workflow.

        Source: https://docs.cyberun.cloud/api-reference/quickstart

        """
        return await self._transport.send(endpoints.get_workflow(workflow))

    async def run(
        self,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        dispatch_target: str | None = None,
        target_pool: str | None = None,
        submitter_region: str | None = None,
        tool_type: str | None = None,
    ) -> str:
        """Submit a task as it is, without checking the parameters first, and give its id.

        The request is repeated only where it cannot have arrived, or where the server said 429, since each one that
        arrives is billed.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer; `may_have_been_sent` says whether a task may exist.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        dispatch = Dispatch(dispatch_target, target_pool, submitter_region, tool_type)
        return (await self._transport.send(endpoints.run_workflow(workflow, parameters or {}, dispatch))).task_id


class Tasks(_Group):
    """What runs and ran, as `client.tasks`."""

    def list(self, *, status: TaskStatus | str | None = None) -> AsyncIterator[Task]:
        """Go through the team's tasks, page by page; with `status`, those that are in it.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.

        Source: https://docs.cyberun.cloud/api-reference/task/list-tasks

        """
        return every_item(
            self._transport, lambda number, per_page: endpoints.list_tasks(number, per_page, status=status)
        )

    async def get(self, task_id: str) -> Task:
        """Read how a task stands.

        Raises:
            NotFoundError: There is no such task.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-status

        """
        return await self._transport.send(endpoints.get_task(task_id))

    async def result(self, task_id: str) -> TaskResult:
        """Read what became of a task, with links to its files that are valid for an hour.

        It answers for a task that has not ended, too: look at `status`.

        Raises:
            NotFoundError: There is no such task.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

        """
        return await self._transport.send(endpoints.get_task_result(task_id))

    async def cancel(self, task_id: str) -> None:
        """Cancel a task; one that has ended stays as it is.

        Raises:
            NotFoundError: There is no such task.

        Source: https://docs.cyberun.cloud/api-reference/task/cancel-a-task

        """
        await self._transport.send(endpoints.cancel_task(task_id))


class Files(_Group):
    """Input files, as `client.files`."""

    async def presign(self, name: str, size: int, content_type: str) -> PresignedUpload:
        """Ask for a place to send one input file to; `client.upload()` does that and sends it.

        Args:
            name: The file's name, with its extension.
            size: Its exact size in bytes.
            content_type: Its MIME type.

        Raises:
            InvalidParameters: One of them cannot be.
            APIError: The server refused; files over 500 MB by default.

        Source: https://docs.cyberun.cloud/api-reference/file/request-a-presigned-upload-url

        """
        return await self._transport.send(endpoints.presign_file(name, size, content_type))


class Agents(_Group):
    """The machines that run tasks, as `client.agents`."""

    def list(self) -> AsyncIterator[Agent]:
        """Go through the team's agents, page by page.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.

        Source: https://docs.cyberun.cloud/cloud/guides/api-key

        """
        return every_item(self._transport, endpoints.list_agents)


class Containers(_Group):
    """Container services, as `client.containers`."""

    def list(self) -> AsyncIterator[Container]:
        """Go through the team's services, page by page.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.

        Source: https://docs.cyberun.cloud/api-reference/containers

        """
        return every_item(self._transport, endpoints.list_containers)

    async def get(self, service: str) -> Container:
        """Read a service by slug.

        Raises:
            NotFoundError: There is no such service.

        Source: https://docs.cyberun.cloud/api-reference/container/get-a-container-service-by-slug-runtime

        """
        return await self._transport.send(endpoints.get_container(service))

    async def invoke(
        self,
        service: str,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Invocation:
        """Call a running service through the server, and give its answer whatever its status.

        GET, HEAD and OPTIONS are repeated after a failure, other methods only where they cannot have arrived.

        Args:
            service: Its slug.
            method: GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS.
            path: On the service, from its slash; a query is allowed.
            content: The body.
            headers: Further headers; the server drops Authorization, Host and those of the connection.

        Raises:
            InvalidParameters: The method or path cannot be.
            APIError: The server refused, for one because the service does not run.

        Source: https://docs.cyberun.cloud/api-reference/container/invoke-a-container-service-runtime

        """
        return await self._transport.send(
            endpoints.invoke_container(service, method, path, content=content, headers=headers)
        )
