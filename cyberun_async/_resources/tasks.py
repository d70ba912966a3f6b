"""What runs and ran."""

from collections.abc import AsyncIterator

from cyberun_async._protocol import endpoints
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult
from cyberun_async._resources.group import Group
from cyberun_async._transport.paginator import AsyncPaginator


class Tasks(Group):
    """What runs and ran, as `client.tasks`."""

    def list(self, *, status: TaskStatus | str | None = None) -> AsyncIterator[Task]:
        """Go through the team's tasks, page by page; with `status`, those that are in it.

        Raises:
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/list-tasks

        """
        return AsyncPaginator(
            self._transport, lambda number, per_page: endpoints.list_tasks(number, per_page, status=status)
        )

    async def get(self, task_id: str) -> Task:
        """Read how a task stands.

        Raises:
            NotFoundError: There is no such task.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-status

        """
        return await self._transport.send(endpoints.get_task(task_id))

    async def result(self, task_id: str) -> TaskResult:
        """Read the result of a task, with presigned URLs of its files that are valid for an hour.

        It works for a task that has not ended, too: check `status`.

        Raises:
            NotFoundError: There is no such task.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

        """
        return await self._transport.send(endpoints.get_task_result(task_id))

    async def cancel(self, task_id: str) -> None:
        """Cancel a task; one that has ended stays as it is.

        Raises:
            NotFoundError: There is no such task.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/cancel-a-task

        """
        await self._transport.send(endpoints.cancel_task(task_id))
