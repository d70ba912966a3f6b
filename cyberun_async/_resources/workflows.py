"""What can be run."""

from collections.abc import Mapping

from cyberun_async._protocol import endpoints
from cyberun_async._protocol.endpoints import Dispatch
from cyberun_async._protocol.workflows import Workflow, get_workflow, list_workflows
from cyberun_async._resources.group import Group
from cyberun_async._transport.paginator import AsyncPaginator


class Workflows(Group):
    """What can be run, as `client.workflows`."""

    def list(self, *, limit: int | None = None, page: int = 1) -> AsyncPaginator[Workflow]:
        """Go through the workflows of the team, page by page; a list may leave their parameters out.

        Args:
            limit: How many are given at most, 100 by one `await`; `None` gives all.
            page: The page that `await` gives, from 1, or at which `async for` begins.

        Raises:
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/cloud/guides/api-key

        """
        return AsyncPaginator(self._transport, list_workflows, limit=limit, page=page)

    async def get(self, workflow: str) -> Workflow:
        """Read a workflow with its parameters, by slug, `slug@version` or UUID.

        Raises:
            NotFoundError: There is no such workflow.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/quickstart

        """
        return await self._transport.send(get_workflow(workflow))

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
        """Submit a task without validating the parameters first, and give its id; `client.submit()` validates them.

        The request is retried only if it cannot have arrived, or if the server responded with 429, since each one that
        arrives is billed. Each error says by `may_have_been_sent` whether a task may exist.

        Args:
            workflow: A slug (`text-to-image`), a pinned slug (`text-to-image@2`), or a UUID.
            parameters: The values by key; `None` is none. Files are not uploaded.
            dispatch_target: Where the task is to run; left to the server by default, like the next three.
            target_pool: The pool of agents.
            submitter_region: The region it is submitted from.
            tool_type: `comfyui` or `nerfstudio`.

        Raises:
            APIError: The server returned an error.
            TransportError: There was no response.
            DecodeError: The response does not say which task was made; `body` has its beginning.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        dispatch = Dispatch(dispatch_target, target_pool, submitter_region, tool_type)
        call = endpoints.run_workflow(workflow, {} if parameters is None else parameters, dispatch)
        return (await self._transport.send(call)).task_id
