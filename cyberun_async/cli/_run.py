"""The commands that submit a task, follow it, and download its files."""

import asyncio
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import (
    AsyncClient,
    CyberunError,
    InvalidParameters,
    OutputFile,
    StorageError,
    TaskResult,
    TransportError,
    WaitTimeout,
)
from cyberun_async.cli._connect import Account, connect, connection
from cyberun_async.cli._options import (
    FROM_ENVIRONMENT,
    NO_PARAMETERS,
    NO_WAIT_OPTIONS,
    Json,
    Local,
    TaskId,
    WaitOptions,
    Workflow,
    make_folder,
)
from cyberun_async.cli._parameters import Given, read_parameters
from cyberun_async.cli._show import Display, announce, display
from cyberun_async.cli._text import print_status


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


def _check_stdin(given: Given, account: Account) -> None:
    """See to it that stdin is read once."""
    if given.file == account.key_file == Path("-"):
        raise InvalidParameters(["-P - and --key-file - cannot both read stdin"])


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
