"""Input files to storage, for a call or as parameters; `file_upload.py` sends one."""

from collections.abc import Awaitable, Callable, Mapping

import anyio

from cyberun_async._concurrency import run_all, run_in_child_task
from cyberun_async._files.file_upload import FileUpload, UploadProgress
from cyberun_async._files.source import open_source
from cyberun_async._files.storage import Storage
from cyberun_async._protocol.files import InputFile, input_file, is_file_like, is_path
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import check_callback


class Uploads:
    """Sends files to storage.

    Args:
        transport: Asks for the presigned URLs.
        storage: Takes the bytes.
        settings: The client's.

    """

    def __init__(self, transport: Transport, storage: Storage, settings: Settings) -> None:
        self._transport = transport
        self._storage = storage
        self._settings = settings

    def __repr__(self) -> str:
        """Show where the files go."""
        return f"<{type(self).__name__} to {self._storage!r}>"

    async def upload(self, file: InputFile, on_progress: UploadProgress | None = None) -> str:
        """Send one file and give its key; see `AsyncClient.upload`."""
        check_callback(on_progress, "on_progress")
        # As a child, since asyncio's own cancellation would leave a file open that a thread is about to open.
        return await run_in_child_task(lambda: self._upload(file, on_progress))

    async def _upload(self, file: InputFile, on_progress: UploadProgress | None) -> str:
        async with self._storage.slot() as slot:
            pause = self._transport.credential.rate_limit
            while pause.is_on:
                # Afterwards the file is open, and as many would be as wait for their presigned URLs.
                async with slot.given_back():
                    await pause.wait()
            source = await open_source(file)
            try:
                return await FileUpload(
                    self._transport, self._storage, self._settings, file, source, slot=slot, on_progress=on_progress
                ).run()
            finally:
                with anyio.CancelScope(shield=True):
                    await source.aclose()

    async def of_parameters(self, parameters: Mapping[str, object]) -> dict[str, object]:
        """Send every file among the parameters, each once, and give the parameters with keys in their places."""
        files = {key: _identity(value) for key, value in parameters.items() if is_file_like(value)}
        distinct = {identity: parameters[key] for key, identity in files.items()}
        keys: dict[object, str] = {}

        async def send(identity: object, value: object) -> None:
            keys[identity] = await self.upload(input_file(value))

        await run_all(*[_bound(send, identity, value) for identity, value in distinct.items()])
        return {**parameters, **{key: keys[identity] for key, identity in files.items()}}


def _bound(send: Callable[[object, object], Awaitable[None]], *args: object) -> Callable[[], Awaitable[None]]:
    return lambda: send(*args)


def _identity(value: object) -> object:
    """Give what is equal for the same path under the same name, and for the same object."""
    file = input_file(value)
    return (file.source, file.name, file.content_type) if is_path(file.source) else id(file.source)
