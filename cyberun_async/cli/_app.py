"""The commands."""

import asyncio
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cyberun_async import (
    Abandon,
    AsyncClient,
    CancelledEvent,
    ConfigurationError,
    FailedEvent,
    InvalidParameters,
    OutputFile,
    StorageError,
    TaskResult,
    TransportError,
    WaitTimeout,
)
from cyberun_async.cli._connect import Account, connect, connection, local_cyberun
from cyberun_async.cli._exit import ExitCode
from cyberun_async.cli._lists import show_result, show_task, show_tasks, show_workflow, show_workflows
from cyberun_async.cli._parameters import Given, read_parameters
from cyberun_async.cli._show import Display, describe, display, event_as_json, tell
from cyberun_async.cli._text import write_json, write_line

app = App(
    name="cyberun-async",
    help="Run tasks on Cyberun Cloud and fetch their files.",
    help_format="markdown",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="One JSON object a line on stdout.")
]
Local = Annotated[
    bool, Parameter(negative="", show_default=False, help="On a local Cyberun, started for this command; needs no key.")
]
Out = Annotated[Path | None, Parameter(name=["--out", "-o"], help="Download the files of the result into this folder.")]
Workflow = Annotated[str, Parameter(help="A slug (`text-to-image`), a pinned slug (`text-to-image@2`) or a UUID.")]
TaskId = Annotated[str, Parameter(help="The task's UUID.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Patience:
    """How long to wait, and what for."""

    timeout: Annotated[float | None, Parameter(help="Seconds to wait for the task's end; then exit with 5.")] = None
    on_timeout: Annotated[Abandon, Parameter(help="What becomes of the task when they have passed.")] = "leave"
    out: Out = None


NO_PATIENCE = Patience()
NO_PARAMETERS = Given()
FROM_ENVIRONMENT = Account()


@app.command
async def run(
    workflow: Workflow,
    /,
    *,
    given: Given = NO_PARAMETERS,
    patience: Patience = NO_PATIENCE,
    local: Local = False,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Submit a task, watch it, and download its files.

    Ctrl-C leaves the task running, and shows how to come back to it.
    """
    _check_stdin(given, account)
    make_folder(patience.out)
    show = display(as_json=json)
    async with connection(account, local=local) as client:
        task_id = await _submit(client, workflow, given)
        show.submitted(workflow, task_id)
        back = None if local else account
        await _see_through(client, show, task_id, patience, back)


@app.command
async def submit(
    workflow: Workflow,
    /,
    *,
    given: Given = NO_PARAMETERS,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Submit a task and print its id."""
    _check_stdin(given, account)
    async with connect(account) as client:
        task_id = await _submit(client, workflow, given)
    if json:
        write_json({"type": "submitted", "workflow": workflow, "task_id": task_id})
    else:
        write_line(task_id)


@app.command
async def wait(
    task_id: TaskId,
    /,
    *,
    patience: Patience = NO_PATIENCE,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Watch a task until it ends, and download its files if `--out` says where to."""
    make_folder(patience.out)
    async with connect(account) as client:
        await _see_through(client, display(as_json=json), task_id, patience, account)


@app.command
async def events(task_id: TaskId, /, *, json: Json = False, account: Account = FROM_ENVIRONMENT) -> ExitCode:
    """Print a task's events as they come, until it ends."""
    async with connect(account) as client, client.events(task_id) as stream:
        async for event in stream:
            if json:
                write_json(event_as_json(event))
            else:
                write_line(describe(event))
    return {FailedEvent: ExitCode.TASK_FAILED, CancelledEvent: ExitCode.TASK_CANCELLED}.get(type(event), ExitCode.OK)


@app.command
async def result(
    task_id: TaskId,
    /,
    *,
    links: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Show signed links, with which anyone can fetch the files."),
    ] = False,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Show what became of a task."""
    async with connect(account) as client:
        show_result(await client.tasks.result(task_id), links=links, as_json=json)


@app.command
async def download(
    task_id: TaskId,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="The folder; it is made if need be.")] = Path(),
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Download the files of a task that has completed, and print their paths."""
    make_folder(out)
    async with connect(account) as client:
        await _download(client, display(as_json=json), await client.tasks.result(task_id), out)


@app.command
async def cancel(task_id: TaskId, /, *, json: Json = False, account: Account = FROM_ENVIRONMENT) -> None:
    """Cancel a task, and show how it stands; one that has ended stays as it is."""
    async with connect(account) as client:
        await client.tasks.cancel(task_id)
        show_task(await client.tasks.get(task_id), as_json=json)


@app.command
async def tasks(
    *,
    status: Annotated[str | None, Parameter(help="Only those in this status, as `running`.")] = None,
    limit: Annotated[int, Parameter(help="How many at most.")] = 20,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """List the team's tasks."""
    async with connect(account) as client:
        await show_tasks(client.tasks.list(status=status), limit=limit, as_json=json)


@app.command
async def workflows(*, local: Local = False, json: Json = False, account: Account = FROM_ENVIRONMENT) -> None:
    """List what can be run."""
    async with connection(account, local=local) as client:
        await show_workflows(client.workflows.list(), as_json=json)


@app.command
async def workflow(
    workflow: Workflow, /, *, local: Local = False, json: Json = False, account: Account = FROM_ENVIRONMENT
) -> None:
    """Show a workflow and the parameters that it takes."""
    async with connection(account, local=local) as client:
        show_workflow(await client.workflows.get(workflow), as_json=json)


@app.command
def serve(
    *,
    host: Annotated[str, Parameter(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="0 takes a free one.")] = 0,
    pace: Annotated[float, Parameter(help="How long a second of a task takes, in seconds.")] = 1.0,
    json: Json = False,
) -> None:
    """Run a local Cyberun until Ctrl-C, and print what points clients at it."""
    with local_cyberun(host=host, port=port, pace=pace) as server, suppress(KeyboardInterrupt):
        if json:
            write_json({"type": "server", "base_url": server.base_url, "api_key": server.api_key})
        else:
            tell("A local Cyberun is running. In another terminal, point clients at it:\n")
            write_line(f"export CYBERUN_BASE_URL={server.base_url}")
            write_line(f"export CYBERUN_API_KEY={server.api_key}")
            tell("\nCtrl-C stops it.")
        while True:
            time.sleep(3600)


def _check_stdin(given: Given, account: Account) -> None:
    """See to it that stdin is read once."""
    if given.file == account.key_file == Path("-"):
        raise InvalidParameters(["-P - and --key-file - cannot both read stdin"])


def make_folder(folder: Path | None) -> None:
    """Make the folder for the files first: better no task than one whose files have no place to go."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"--out {folder} cannot be made: {error.strerror}"
        raise ConfigurationError(message) from None


async def _submit(client: AsyncClient, workflow: str, given: Given) -> str:
    values = await read_parameters(client, workflow, given)
    try:
        return await client.submit(workflow, values)
    except asyncio.CancelledError:
        tell("interrupted while submitting: `cyberun-async tasks` shows whether there is a task")
        raise


async def _see_through(
    client: AsyncClient, show: Display, task_id: str, patience: Patience, account: Account | None
) -> None:
    """Follow a task to its end and fetch its files; whoever leaves before that is told how to come back."""
    out = [] if patience.out is None else ["--out", str(patience.out)]
    with _way_back(["wait", task_id, *out], account), show.following():
        result = await client.wait_for_result(
            task_id, timeout=patience.timeout, on_timeout=patience.on_timeout, on_event=show.event
        )
    show.completed(result)
    if patience.out is not None:
        with _way_back(["download", task_id, *out], account):
            await _download(client, show, result, patience.out)


@contextmanager
def _way_back(command: Sequence[str], account: Account | None) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if _is_unfinished(error):
            tell(_directions(command, account))
        raise


def _is_unfinished(error: BaseException) -> bool:
    """Whether there may be something to come back to: not after a refusal or the task's own end."""
    if isinstance(error, WaitTimeout):
        return error.remote != "cancelled"
    was_interrupted = not isinstance(error, Exception)
    return was_interrupted or isinstance(error, (TransportError, StorageError))


def _directions(command: Sequence[str], account: Account | None) -> str:
    if account is None:
        return "The local Cyberun has stopped, and its tasks with it."
    return f"Come back to it with: {shlex.join(['cyberun-async', *command, *account.as_options()])}"


async def _download(client: AsyncClient, show: Display, result: TaskResult, directory: Path) -> None:
    def moved(file: OutputFile, done: int, total: int | None) -> None:
        show.fetched(file.name, done, total)

    with show.fetching():
        paths = await client.download(result, directory, on_progress=moved)
    for path in paths:
        show.saved(path)
