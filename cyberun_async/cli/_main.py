"""From a command line to an exit code: whatever goes wrong becomes one line and a number."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from cyclopts import App, CycloptsError, Group

from cyberun_async._errors import CyberunError, NotFoundError
from cyberun_async.cli import _app as tasks
from cyberun_async.cli._batch import batch
from cyberun_async.cli._doctor import conformance, doctor
from cyberun_async.cli._exit import ExitCode, exit_code
from cyberun_async.cli._show import tell
from cyberun_async.cli._text import printable, write_json

OPTIONS = Group("Options", sort_key=8)

COMMANDS: Mapping[str, Sequence[Callable[..., object]]] = {
    "Run a workflow": [tasks.run, tasks.submit, tasks.wait, batch],
    "Tasks": [tasks.tasks, tasks.result, tasks.events, tasks.download, tasks.cancel],
    "Workflows": [tasks.workflows, tasks.workflow],
    "Trying and checking": [tasks.serve, doctor, conformance],
}
"""Every command, in the order of the help."""

app = App(
    name="cyberun-async",
    help="""Run tasks on Cyberun Cloud and fetch their files.

Example, for which no account is needed:

`cyberun-async run text-to-image -p prompt=dusk --local --out out/`

The API key is in the variable `CYBERUN_API_KEY`.
`cyberun-async COMMAND --help` shows what a command takes.
""",
    help_format="markdown",
    group_parameters=OPTIONS,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for place, (title, commands) in enumerate(COMMANDS.items()):
    group = Group(title, sort_key=place)
    for number, command in enumerate(commands):
        app.command(command, group=group, sort_key=number)
for flag in ("--help", "--version"):
    app[flag].group = (OPTIONS,)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A name that the terminal has no letters for is better shown in part than not at all.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _leave_quietly()
    return code


def _run(arguments: Sequence[str]) -> int:
    terminated: list[int] = []

    def terminate(number: int, _: FrameType | None) -> None:
        # The way out of a Ctrl-C is well trodden: the terminal is put in order, and files are closed.
        terminated.append(number)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        return app(arguments, exit_on_error=False, print_error=False) or ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a user is shown one line whatever happens
        return _report(error, as_json="--json" in arguments)
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(error: Exception, *, as_json: bool) -> ExitCode:
    code = ExitCode.USAGE if isinstance(error, CycloptsError) else exit_code(error)
    is_foreseen = isinstance(error, (CyberunError, CycloptsError, OSError))
    message = str(error) if is_foreseen else f"{type(error).__name__}: {error}"
    if os.environ.get("CYBERUN_DEBUG"):
        traceback.print_exception(error)
    if as_json:
        task_id = getattr(error, "task_id", None)
        write_json(
            {"type": "error", "error": type(error).__name__, "message": message, "task_id": task_id, "exit_code": code}
        )
    tell(f"cyberun-async: {printable(message)}{_hint(error)}")
    return code


def _hint(error: Exception) -> str:
    """Name the command that helps."""
    if isinstance(error, CycloptsError):
        command = " ".join(["cyberun-async", *(error.command_chain or ())])
        return f" ({command} --help shows what there is)"
    if isinstance(error, NotFoundError):
        command = "tasks" if error.task_id else "workflows"
        return f" (cyberun-async {command} lists what there is)"
    return ""


def _leave_quietly() -> ExitCode:
    # Python flushes stdout once more on its way out, which would fail again, and loudly.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.BROKEN_PIPE
