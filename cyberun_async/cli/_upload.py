"""The command that uploads a file by itself."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import ConfigurationError, InputFile
from cyberun_async.cli._connect import Account, connect
from cyberun_async.cli._options import FROM_ENVIRONMENT, Json
from cyberun_async.cli._show import display
from cyberun_async.cli._text import write_json, write_line


async def upload(
    file: Annotated[Path, Parameter(help="The file to upload.")],
    /,
    *,
    content_type: Annotated[
        str | None, Parameter(help="Its MIME type, such as `image/png`; else the name's extension decides.")
    ] = None,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Upload a file, and print the key that stands for it in a parameter.

    Example: `cyberun-async upload cat.png`
    """
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    show = display(as_json=json)

    def moved(source: InputFile, done: int, total: int) -> None:
        show.fetched(source.name, done, total)

    async with connect(account) as client:
        with show.fetching():
            key = await client.upload(file, content_type=content_type, on_progress=moved)
    if json:
        write_json({"type": "upload", "path": str(file), "file_key": key, "size": file.stat().st_size})
    else:
        write_line(key)
