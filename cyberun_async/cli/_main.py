"""From a command line to an exit code: whatever goes wrong becomes one line and a number."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

from cyclopts import CycloptsError

from cyberun_async._errors import CyberunError
from cyberun_async.cli._app import app
from cyberun_async.cli._batch import batch
from cyberun_async.cli._doctor import conformance, doctor
from cyberun_async.cli._exit import ExitCode, exit_code
from cyberun_async.cli._show import tell
from cyberun_async.cli._text import printable, write_json

app.command(batch)
app.command(doctor)
app.command(conformance)


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
    hint = " (--help shows what there is)" if isinstance(error, CycloptsError) else ""
    tell(f"cyberun-async: {printable(message)}{hint}")
    return code


def _leave_quietly() -> ExitCode:
    # Python flushes stdout once more on its way out, which would fail again, and loudly.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.BROKEN_PIPE
