"""What runs and ran."""

from collections.abc import Collection
from functools import partial

from cyberun_async._protocol import endpoints
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult
from cyberun_async._resources.group import Group
from cyberun_async._transport.paginator import AsyncPaginator


class Tasks(Group):
    """What runs and ran, as `client.tasks`."""

    def list(
        self,
        *,
        status: TaskStatus | str | Collection[TaskStatus | str] | None = None,
        limit: int | None = None,
        page: int = 1,
    ) -> AsyncPaginator[Task]:
        """Go through the team's tasks, page by page: `async for` gives all of them, and `await` one page.

        ```python
        page = await client.tasks.list(limit=5)
        print(page.total, [task.id for task in page.items])
        async for task in client.tasks.list(status=["waiting", "running"]):
            print(task.id, task.status)
        ```

        Args:
            status: Only the tasks in this status, or in one of these. The service takes one status a request, so several
                are several lists, which are read in the order in which a task goes through them, so that none is missed.
            limit: How many are given at most, 100 by one `await`; `None` gives all.
            page: The page that `await` gives, from 1, or at which `async for` begins; of several statuses, that of each.

        Raises:
            InvalidParameters: One of the arguments cannot be.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/list-tasks

        """
        calls = [partial(endpoints.list_tasks, status=each) for each in endpoints.statuses_of(status)]
        return AsyncPaginator(self._transport, *calls, limit=limit, page=page)

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
