"""Input files."""

from cyberun_async._protocol import endpoints
from cyberun_async._protocol.files import PresignedUpload
from cyberun_async._resources.group import Group


class Files(Group):
    """Input files, as `client.files`."""

    async def presign(self, name: str, size: int, content_type: str) -> PresignedUpload:
        """Ask for a place to send one input file to; `client.upload()` does that and sends it.

        Args:
            name: The file's name, with its extension.
            size: Its exact size in bytes.
            content_type: Its MIME type.

        Raises:
            InvalidParameters: One of them cannot be.
            APIError: The server returned an error, as for files over 500 MB by default.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/file/request-a-presigned-upload-url

        """
        return await self._transport.send(endpoints.presign_file(name, size, content_type))
