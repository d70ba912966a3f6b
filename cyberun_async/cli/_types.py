"""The command that writes workflows as Python types."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import AsyncClient, ConfigurationError, Workflow
from cyberun_async.cli._connect import Account, connection
from cyberun_async.cli._options import FROM_ENVIRONMENT, Json, Local
from cyberun_async.cli._parameters import get_workflow
from cyberun_async.cli._text import print_status, write_json, write_line
from cyberun_async.cli._typed_dicts import class_names, module_of


async def types(
    *workflows: Annotated[str, Parameter(help="Their slugs, such as `text-to-image`; without any, every workflow.")],
    out: Annotated[
        Path | None, Parameter(name=["--out", "-o"], help="The Python file to write; without it, to stdout.")
    ] = None,
    local: Local = False,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Write a Python type for the parameters of each workflow.

    Example: `cyberun-async types text-to-image img2img -o workflows.py`
    """
    async with connection(account, local=local) as client:
        found = await _read(client, workflows)
    text = module_of(found)
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"--out {out} cannot be written: {error.strerror}") from None
    names = class_names(list(found))
    if json:
        path, source = (None, text) if out is None else (str(out), None)
        write_json({"type": "types", "path": path, "source": source, "workflows": names})
    elif out is None:
        write_line(text.rstrip("\n"))
    else:
        print_status(f"{out}: {', '.join(names.values())}")


async def _read(client: AsyncClient, refs: tuple[str, ...]) -> dict[str, Workflow]:
    """Read the definitions by the names that they are submitted under; those of a list may lack the parameters."""
    wanted = refs or [workflow.slug or workflow.id async for workflow in client.workflows.list()]
    return {ref: await get_workflow(client, ref) for ref in dict.fromkeys(wanted)}
