"""The machines that run tasks."""

from collections.abc import AsyncIterator

from cyberun_async._protocol.agents import Agent, list_agents
from cyberun_async._resources.group import Group
from cyberun_async._transport.paginator import AsyncPaginator


class Agents(Group):
    """The machines that run tasks, as `client.agents`."""

    def list(self) -> AsyncIterator[Agent]:
        """Go through the team's agents, page by page.

        Raises:
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/cloud/guides/api-key

        """
        return AsyncPaginator(self._transport, list_agents)
