"""Container services."""

from collections.abc import AsyncIterable, Mapping
from typing import TYPE_CHECKING

from cyberun_async._protocol.containers import (
    Container,
    Invocation,
    get_container,
    invoke_container,
    list_containers,
)
from cyberun_async._resources.group import Group
from cyberun_async._transport.paginator import AsyncPaginator

if TYPE_CHECKING:
    from cyberun_async._resources.container_stream import ContainerStream


class Containers(Group):
    """Container services, as `client.containers`."""

    def list(self, *, limit: int | None = None, page: int = 1) -> AsyncPaginator[Container]:
        """Go through the team's services, page by page.

        Args:
            limit: How many are given at most, 100 by one `await`; `None` gives all.
            page: The page that `await` gives, from 1, or at which `async for` begins.

        Raises:
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/containers

        """
        return AsyncPaginator(self._transport, list_containers, limit=limit, page=page)

    async def get(self, service: str) -> Container:
        """Read a service by slug.

        Raises:
            NotFoundError: There is no such service.
            APIError: The server returned an error.
            TransportError: There was no response.

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
        """Call a running service through the server, and return its response whatever its status.

        GET, HEAD and OPTIONS are retried after a failure, other methods only if they cannot have arrived.

        Args:
            service: Its slug.
            method: GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS.
            path: On the service, from its slash; a query is allowed.
            content: The body.
            headers: Further headers; the server drops Authorization, Host and those of the connection.

        Raises:
            InvalidParameters: The method or path cannot be.
            APIError: The server returned an error, for instance because the service does not run.
            TransportError: There was no response; `may_have_been_sent` says whether the service may have acted.

        Source: https://docs.cyberun.cloud/api-reference/container/invoke-a-container-service-runtime

        """
        return await self._transport.send(invoke_container(service, method, path, content=content, headers=headers))

    def stream(
        self,
        service: str,
        method: str,
        path: str,
        *,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        raise_for_status: bool = True,
    ) -> "ContainerStream":
        """Send a request through to a running service as it is, with both bodies streamed; server-sent events, too.

        ```python
        async with client.containers.stream("whisper", "POST", "/transcribe", content=audio) as response:
            print(response.status_code, await response.read())
        ```

        It is sent when the stream is entered, and never retried, since what the service does with a retry is not known. The
        response begins once the request's body was sent. Neither body is limited in its size, or in its time: a connection
        that is silent for `Timeouts.stream` is an error, and `anyio.fail_after` sets a deadline. Each open stream has a
        connection of its own, beside the limits of calls and of event streams.

        Args:
            service: Its slug.
            method: GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS.
            path: On the service, from its slash; a query is allowed. It cannot leave the service.
            content: The body: bytes, or an async iterable of bytes, which is sent in chunks as it comes.
            headers: Further headers; those of the connection, `Authorization`, `Host` and `Content-Length` are the
                client's own.
            raise_for_status: Whether a status of 400 or above raises an `APIError`; the proxy is transparent, so it may be
                the server's or the service's own. With `False` it is a response like any other.

        Raises:
            InvalidParameters: The method, the path, the content or a header cannot be sent; nothing was.
            APIError: On entering: the status is 400 or above.
            TransportError: On entering: there is no response; `may_have_been_sent` says whether the service may have acted.

        Source: https://docs.cyberun.cloud/api-reference/containers

        """
        from cyberun_async._protocol.container_requests import container_request
        from cyberun_async._resources.container_stream import ContainerStream

        request = container_request(service, method, path, content=content, headers=headers)
        return ContainerStream(self._transport, request, raise_for_status=raise_for_status)
