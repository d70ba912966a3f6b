"""The commands."""

import asyncio
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from cyberun_async import (
    AbandonPolicy,
    APIError,
    AsyncClient,
    CancelledEvent,
    ConfigurationError,
    CyberunError,
    DecodeError,
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
from cyberun_async.cli._parameters import Given, get_workflow, read_parameters
from cyberun_async.cli._show import Display, announce, describe, display, event_as_json
from cyberun_async.cli._text import print_status, write_json, write_line

if TYPE_CHECKING:
    from cyberun_async.local import LocalCyberun

Json = Annotated[
    bool,
    Parameter(
        name="--json", negative="", show_default=False, help="Write one JSON object a line to stdout, for programs."
    ),
]
Local = Annotated[
    bool,
    Parameter(
        negative="",
        show_default=False,
        help="Use a local test server, started for this command: no key, no account.",
    ),
]
Out = Annotated[
    Path | None,
    Parameter(name=["--out", "-o"], help="Download the files of the result into this folder, made if missing."),
]
Workflow = Annotated[str, Parameter(help="A slug, such as `text-to-image` or `text-to-image@2`, or a UUID.")]
TaskId = Annotated[str, Parameter(help="The task's id, as `submit` and `tasks` print it.")]


def above_zero(_: object, value: float | None) -> None:
    """Refuse what is no number above zero, before anything is done."""
    if value is not None and not 0 < value < inf:
        raise ValueError("Must be a number above zero.")


@Parameter(name="*")
@dataclass(frozen=True)
class WaitOptions:
    """How long to wait, and what for."""

    timeout: Annotated[
        float | None,
        Parameter(
            validator=above_zero,
            help="Wait so many seconds at most, then exit with 5.",
        ),
    ] = None
    start_timeout: Annotated[
        float | None,
        Parameter(validator=above_zero, help="Exit with 5 if the task has not started after so many seconds."),
    ] = None
    on_timeout: Annotated[AbandonPolicy, Parameter(help="Leave the task running then, or cancel it.")] = "leave"
    out: Out = None

    @property
    def out_options(self) -> list[str]:
        """Give the option that a later command needs to put the files in the same place."""
        return [] if self.out is None else ["--out", str(self.out)]


NO_WAIT_OPTIONS = WaitOptions()
NO_PARAMETERS = Given()
FROM_ENVIRONMENT = Account()


async def run(
    workflow: Workflow,
    /,
    *,
    given: Given = NO_PARAMETERS,
    wait_options: WaitOptions = NO_WAIT_OPTIONS,
    local: Local = False,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Submit a task, follow it, and download its files.

    Ctrl-C leaves the task running, and prints the command that resumes the wait.

    Example: `cyberun-async run text-to-image -p prompt=dusk -p steps=12 --out out/`
    """
    _check_stdin(given, account)
    make_folder(wait_options.out)
    show = display(as_json=json)
    async with connection(account, local=local) as client:
        back = None if local else account
        task_id = await _submit(client, workflow, given, show.submitted, account=back, out=wait_options.out_options)
        try:
            await _follow(client, show, task_id, wait_options, back)
        except CyberunError as error:
            error.task_id = error.task_id or task_id
            raise


async def submit(
    workflow: Workflow,
    /,
    *,
    given: Given = NO_PARAMETERS,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Submit a task and print its id.

    Example: `cyberun-async submit text-to-image -p prompt=dusk`
    """
    _check_stdin(given, account)

    def submitted(workflow: str, task_id: str) -> None:
        announce(workflow, task_id, as_json=json)

    async with connect(account) as client:
        await _submit(client, workflow, given, submitted, account=account)


async def wait(
    task_id: TaskId,
    /,
    *,
    wait_options: WaitOptions = NO_WAIT_OPTIONS,
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Follow a task until it ends, and download its files if `--out` says where to.

    Ctrl-C leaves the task running, and prints the command that resumes the wait.

    Example: `cyberun-async wait 019abc12-9012-7890-abcd-ef1234567896 --out out/`
    """
    make_folder(wait_options.out)
    async with connect(account) as client:
        await _follow(client, display(as_json=json), task_id, wait_options, account)


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


async def download(
    task_id: TaskId,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="The folder for the files, made if missing.")] = Path(),
    json: Json = False,
    account: Account = FROM_ENVIRONMENT,
) -> None:
    """Download the files of a task that has completed, and print their paths.

    Example: `cyberun-async download 019abc12-9012-7890-abcd-ef1234567896 --out out/`
    """
    make_folder(out)
    async with connect(account) as client:
        await _download(client, display(as_json=json), await client.tasks.result(task_id), out)


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


def serve(
    *,
    host: Annotated[
        str, Parameter(help="The address to listen on; 0.0.0.0 is every one, so that other machines reach it.")
    ] = "127.0.0.1",
    port: Annotated[
        int, Parameter(validator=validators.Number(gte=0, lte=65535), help="The port to listen on; 0 takes a free one.")
    ] = 0,
    pace: Annotated[
        float,
        Parameter(validator=above_zero, help="The speed of tasks: 0.1 makes them ten times as fast."),
    ] = 1.0,
    script: Annotated[
        Path | None,
        Parameter(help="How tasks live instead of their usual way: a JSON file, as docs/local.md shows it."),
    ] = None,
    json: Json = False,
) -> None:
    """Run a local test server until Ctrl-C, and print how clients reach it.

    Example: `cyberun-async serve --port 8080`
    """
    server = local_cyberun(host=host, port=port, pace=pace)
    if script is not None:
        _read_scripts(server, script)
    with server, suppress(KeyboardInterrupt):
        if json:
            addresses = {"base_url": server.base_url, "network_url": server.network_url}
            control = {"control_url": server.control_url, "control_token": server.control_token}
            write_json({"type": "server", **addresses, "api_key": server.api_key, **control})
        else:
            print_status("A local test server is running. In another terminal, point clients at it:\n")
            write_line(f"export CYBERUN_BASE_URL={server.base_url}")
            write_line(f"export CYBERUN_API_KEY={server.api_key}")
            print_status(
                f"\nPrograms in any language set faults and move its clock at {server.control_url}, with this token:\n"
            )
            write_line(f"export CYBERUN_CONTROL_TOKEN={server.control_token}")
            if not server.is_loopback:
                print_status("\n" + _exposed(host, server.network_url or server.base_url))
            print_status("\nCtrl-C stops it.")
        while True:
            time.sleep(3600)


def _read_scripts(server: "LocalCyberun", path: Path) -> None:
    try:
        server.read_scripts(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"--script {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"--script {path} is no script: {error}") from None


def _exposed(host: str, url: str) -> str:
    """Say what listening on more than loopback means."""
    return (
        f"It listens on {host or 'every address'}, so other machines reach it. They need the key, which travels "
        f"unencrypted: keep it to networks that you trust. From there it is {url}\n"
        "(AsyncClient(base_url=..., allow_insecure_http=True))."
    )


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
        message = f"--out {folder} cannot be made: {error.strerror}; name another folder"
        raise ConfigurationError(message) from None


async def _submit(
    client: AsyncClient,
    workflow: str,
    given: Given,
    submitted: Callable[[str, str], None],
    *,
    account: Account | None,
    out: Sequence[str] = (),
) -> str:
    """Submit a task and show its id, although the user may be leaving: from then on it can be found again."""
    values = await read_parameters(client, workflow, given)
    ids: list[str] = []

    def note(task_id: str) -> None:
        ids.append(task_id)
        submitted(workflow, task_id)

    try:
        return await client.submit(workflow, values, on_submitted=note)
    except asyncio.CancelledError:
        if ids:
            print_status(_directions(["wait", *ids, *out], account))
        else:
            print_status("interrupted while submitting: `cyberun-async tasks` shows whether there is a task")
        raise


async def _follow(
    client: AsyncClient, show: Display, task_id: str, wait_options: WaitOptions, account: Account | None
) -> None:
    """Follow a task until it is terminal and download its files; on an interruption, print the command that resumes."""
    out = wait_options.out_options
    with _way_back(["wait", task_id, *out], account), show.following():
        result = await client.wait_for_result(
            task_id,
            timeout=wait_options.timeout,
            start_timeout=wait_options.start_timeout,
            on_timeout=wait_options.on_timeout,
            on_event=show.event,
        )
    show.completed(result)
    if wait_options.out is not None:
        with _way_back(["download", task_id, *out], account):
            await _download(client, show, result, wait_options.out)


@contextmanager
def _way_back(command: Sequence[str], account: Account | None) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if _is_unfinished(error):
            print_status(_directions(command, account))
        raise


def _is_unfinished(error: BaseException) -> bool:
    """Whether there is something to resume: not after an error response, nor once the task is terminal."""
    if isinstance(error, WaitTimeout):
        return error.remote != "cancelled"
    was_interrupted = not isinstance(error, Exception)
    return was_interrupted or isinstance(error, (TransportError, StorageError))


def _directions(command: Sequence[str], account: Account | None) -> str:
    if account is None:
        return "The local test server has stopped, and its tasks with it."
    return f"Resume with: {shlex.join(['cyberun-async', *command, *account.as_options()])}"


async def _download(client: AsyncClient, show: Display, result: TaskResult, directory: Path) -> None:
    def moved(file: OutputFile, done: int, total: int | None) -> None:
        show.fetched(file.name, done, total)

    with show.fetching():
        paths = await client.download(result, directory, on_progress=moved)
    for path in paths:
        show.saved(path)
