"""Container services."""

from collections.abc import AsyncIterator, Mapping

from cyberun_async._protocol.containers import (
    Container,
    Invocation,
    get_container,
    invoke_container,
    list_containers,
)
from cyberun_async._resources.group import Group
from cyberun_async._transport.paginator import AsyncPaginator


class Containers(Group):
    """Container services, as `client.containers`."""

    def list(self) -> AsyncIterator[Container]:
        """Go through the team's services, page by page.

        Raises:
            APIError: The server refused.
            TransportError: The server did not answer.

        Source: https://docs.cyberun.cloud/api-reference/containers

        """
        return AsyncPaginator(self._transport, list_containers)

    async def get(self, service: str) -> Container:
        """Read a service by slug.

        Raises:
            NotFoundError: There is no such service.
            APIError: The server refused.
            TransportError: The server did not answer.

        Source: https://docs.cyberun.cloud/api-reference/container/get-a-container-service-by-slug-runtime

        """
        return await self._transport.send(get_container(service))

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
            TransportError: The server did not answer; `may_have_been_sent` says whether the service may have acted.

        Source: https://docs.cyberun.cloud/api-reference/container/invoke-a-container-service-runtime

        """
        return await self._transport.send(invoke_container(service, method, path, content=content, headers=headers))
