"""From a command line to an exit code: whatever goes wrong becomes one line and a number."""

import io
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence

from cyclopts import App, CycloptsError, Group, UnusedCliTokensError

from cyberun_async._errors import CyberunError, NotFoundError
from cyberun_async._protocol.redaction import redact
from cyberun_async.cli._batch import batch
from cyberun_async.cli._completion import completion_of
from cyberun_async.cli._doctor import conformance, doctor
from cyberun_async.cli._exit import ExitCode, exit_code
from cyberun_async.cli._login import login, logout, whoami
from cyberun_async.cli._queries import cancel, events, result, tasks, workflow, workflows
from cyberun_async.cli._run import download, run, submit, wait
from cyberun_async.cli._serve import serve
from cyberun_async.cli._signals import terminable
from cyberun_async.cli._text import (
    BrokenOutput,
    flush_output,
    occupy_closed_descriptors,
    print_status,
    printable,
    silence_output,
    write_json,
)
from cyberun_async.cli._types import types
from cyberun_async.cli._upload import upload
from cyberun_async.cli._wording import in_words_of_the_command_line

OPTIONS = Group("Options", show=False)
PARAMETERS = Group("Arguments and options", sort_key=7)
"""One box for both: the help of each command fits a screen of 30 lines."""

app = App(
    name="cyberun-async",
    # Two blanks are a line break of Markdown.
    help="Run tasks on Cyberun Cloud. Sign in by `login` or `CYBERUN_API_KEY`; `help COMMAND` shows options.  \n"
    "Without an account: `cyberun-async run text-to-image -p prompt=dusk --local --out out/`\n",
    help_format="markdown",
    group_arguments=PARAMETERS,
    group_parameters=PARAMETERS,
    version_flags=("--version", "-V"),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
COMMANDS: Mapping[str, Sequence[Callable[..., object]]] = {
    "Tasks": [
        *(run, submit, wait, batch),
        *(tasks, result, events, download, cancel, upload),
    ],
    "Workflows, account and tools": [
        *(workflows, workflow, types),
        *(login, logout, whoami),
        *(serve, doctor, conformance, completion_of(app)),
    ],
}
"""Every command, in the order of the help."""

for place, (title, commands) in enumerate(COMMANDS.items()):
    group = Group(title, sort_key=place)
    for number, command in enumerate(commands):
        app.command(command, group=group, sort_key=number)
for flag in ("--help", "--version"):
    app[flag].group = (OPTIONS,)


@app.command(name="help", show=False)
def show_help(*command: str) -> None:
    """Show what there is, or what a command takes.

    Args:
        command: The command.

    """
    if command and command[0] not in app:
        app(command, exit_on_error=False, print_error=False)  # It names the likely command.
    app.help_print(command)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    occupy_closed_descriptors()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A name that the terminal has no letters for is better shown in part than not at all.
        sys.stdout.reconfigure(errors="backslashreplace")
    code: int = ExitCode.OK
    try:
        code = _run(arguments)
        flush_output()
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    except BrokenOutput as error:
        return code or _report(error, as_json=False)
    return code


def _run(arguments: Sequence[str]) -> int:
    with terminable() as termination:
        try:
            code = app(arguments, exit_on_error=False, print_error=False) or ExitCode.OK
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:
            silence_output()
            raise
        except Exception as error:  # noqa: BLE001 - a user is shown one line whatever happens
            code = _report(error, as_json="--json" in arguments)
        return ExitCode.TERMINATED if termination.was_requested else code


def _report(error: Exception, *, as_json: bool) -> ExitCode:
    code = ExitCode.USAGE if isinstance(error, CycloptsError) else exit_code(error)
    if isinstance(error, OSError) and not isinstance(error, CyberunError) and error.filename is None:
        # What commands do with files is put into words where it is done: this is the help that could not be written.
        error = BrokenOutput(error.strerror or str(error))
    is_foreseen = isinstance(error, (CyberunError, CycloptsError, BrokenOutput, OSError))
    # What was mistyped is repeated, and it may be a key.
    message = redact(_message_of(error) if is_foreseen else f"{type(error).__name__}: {error}")
    if os.environ.get("CYBERUN_DEBUG"):
        traceback.print_exception(error)
    if as_json and not isinstance(error, BrokenOutput):
        task_id = getattr(error, "task_id", None)
        write_json(
            {"type": "error", "error": type(error).__name__, "message": message, "task_id": task_id, "exit_code": code}
        )
    print_status(f"cyberun-async: {printable(message)}{_hint(error)}")
    return code


def _message_of(error: Exception) -> str:
    if isinstance(error, UnusedCliTokensError):
        first, *_ = error.unused_tokens or [""]
        return f"parameters take -p: -p {first}" if "=" in first else f"there is one argument too many: {first!r}"
    return in_words_of_the_command_line(str(error))


def _hint(error: Exception) -> str:
    """Name the command that helps."""
    if isinstance(error, CycloptsError):
        command = " ".join(["cyberun-async", *(error.command_chain or ())])
        return f" ({command} --help shows what there is)"
    if isinstance(error, NotFoundError):
        command = "tasks" if error.task_id else "workflows"
        return f" (cyberun-async {command} lists what there is)"
    return ""
