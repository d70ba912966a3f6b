"""The machines that run tasks."""

from cyberun_async._protocol.agents import Agent, list_agents
from cyberun_async._resources.group import Group
from cyberun_async._transport.paginator import AsyncPaginator


class Agents(Group):
    """The machines that run tasks, as `client.agents`."""

    def list(self, *, limit: int | None = None, page: int = 1) -> AsyncPaginator[Agent]:
        """Go through the team's agents, page by page.

        Args:
            limit: How many are given at most, 100 by one `await`; `None` gives all.
            page: The page that `await` gives, from 1, or at which `async for` begins.

        Raises:
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/cloud/guides/api-key

        """
        return AsyncPaginator(self._transport, list_agents, limit=limit, page=page)
