"""What the exit code of a command says, and which error has which."""

from enum import IntEnum

from cyberun_async._errors import ConfigurationError, InvalidParameters, TaskCancelled, TaskFailed, WaitTimeout


class ExitCode(IntEnum):
    """The exit codes; a promise to scripts, written down in docs/cli.md."""

    OK = 0
    ERROR = 1
    """Refused, unreachable, or not written to disk."""
    USAGE = 2
    """The command line, a parameter, a setting or a missing extra: nothing was submitted."""
    TASK_FAILED = 3
    TASK_CANCELLED = 4
    TIMED_OUT = 5
    """`--timeout` passed before the task ended."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the number of SIGINT, as shells say it."""
    BROKEN_PIPE = 141
    """Whoever read the output went away: 128 and the number of SIGPIPE."""
    TERMINATED = 143
    """128 and the number of SIGTERM."""


_CODES: dict[type[Exception], ExitCode] = {
    ConfigurationError: ExitCode.USAGE,
    InvalidParameters: ExitCode.USAGE,
    TaskFailed: ExitCode.TASK_FAILED,
    TaskCancelled: ExitCode.TASK_CANCELLED,
    WaitTimeout: ExitCode.TIMED_OUT,
}


def exit_code(error: Exception) -> ExitCode:
    """Give the exit code of an error."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.ERROR)
    # `USAGE` is a promise that nothing was submitted.
    return ExitCode.ERROR if code is ExitCode.USAGE and getattr(error, "task_id", None) else code
