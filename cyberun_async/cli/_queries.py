"""The commands that read or cancel tasks, and read workflows."""

from typing import Annotated

from cyclopts import Parameter, validators

from cyberun_async import (
    APIError,
    AsyncClient,
    CancelledEvent,
    DecodeError,
    FailedEvent,
)
from cyberun_async.cli._connect import Account, connect, connection
from cyberun_async.cli._exit import ExitCode
from cyberun_async.cli._lists import show_result, show_task, show_tasks, show_workflow, show_workflows
from cyberun_async.cli._options import FROM_ENVIRONMENT, Json, Local, TaskId, Workflow
from cyberun_async.cli._parameters import get_workflow
from cyberun_async.cli._show import describe, event_as_json
from cyberun_async.cli._text import write_json, write_line


async def events(task_id: TaskId, /, *, json: Json = False, account: Account = FROM_ENVIRONMENT) -> ExitCode:
    """Print a task's events as they come, until it ends.

    Example: `cyberun-async events 019abc12-9012-7890-abcd-ef1234567896 --json`
    """
    async with connect(account) as client, client.events(task_id) as stream:
        async for event in stream:
            if json:
                write_json(event_as_json(event))
            else:
                write_line(describe(event))
    return {FailedEvent: ExitCode.TASK_FAILED, CancelledEvent: ExitCode.TASK_CANCELLED}.get(type(event), ExitCode.OK)


async def result(
    task_id: TaskId,
    /,
    *,
    links: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Show the presigned URLs of the files, too; anyone who has one can fetch its file.",
        ),
    ] = False,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Show what became of a task: its status, its error, and the names of its files.

    Example: `cyberun-async result 019abc12-9012-7890-abcd-ef1234567896 --links`
    """
    async with connect(account) as client:
        show_result(await client.tasks.result(task_id), links=links, as_json=json)


async def cancel(task_id: TaskId, /, *, json: Json = False, account: Account = FROM_ENVIRONMENT) -> None:
    """Cancel a task, and show its status.

    A task that has ended stays as it is.

    Example: `cyberun-async cancel 019abc12-9012-7890-abcd-ef1234567896`
    """
    async with connect(account) as client:
        await client.tasks.cancel(task_id)
        show_task(await client.tasks.get(task_id), as_json=json)


async def tasks(
    *,
    status: Annotated[
        str | None, Parameter(help="List only the tasks in this status, such as `running` or `failed`.")
    ] = None,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=0), help="List so many tasks at most.")] = 20,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """List the team's tasks.

    Example: `cyberun-async tasks --status running --limit 5`
    """
    async with connect(account) as client:
        tasks = client.tasks.list(status=status, limit=limit or None)
        await show_tasks(tasks, await _slugs(client), limit=limit, as_json=json)


async def _slugs(client: AsyncClient) -> dict[str, str]:
    """Give the slugs of the workflows by their ids; tasks are worth listing without them, too."""
    try:
        return {workflow.id: workflow.slug async for workflow in client.workflows.list() if workflow.slug}
    except (APIError, DecodeError):
        return {}


async def workflows(*, local: Local = False, json: Json = False, account: Account = FROM_ENVIRONMENT) -> None:
    """List the workflows that can be run.

    Example: `cyberun-async workflows --local`
    """
    async with connection(account, local=local) as client:
        await show_workflows(client.workflows.list(), as_json=json)


async def workflow(
    workflow: Workflow, /, *, local: Local = False, json: Json = False, account: Account = FROM_ENVIRONMENT
) -> None:
    """Show a workflow and the parameters that it takes.

    Example: `cyberun-async workflow text-to-image --local`
    """
    async with connection(account, local=local) as client:
        show_workflow(await get_workflow(client, workflow), as_json=json)
