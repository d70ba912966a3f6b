"""The command line `cyberun-async` (extra `cli`); see docs/cli.md."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code.

    Args:
        arguments: What stands behind the program's name; by default what the program was started with.

    """
    try:
        import rich  # noqa: F401 - not needed for every command, but better missed now than half-way

        from cyberun_async.cli._main import run_command
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"cyclopts", "rich"}:
            raise
        print("cyberun-async: the command line needs an extra: pip install 'cyberun-async[cli]'", file=sys.stderr)
        return 2
    return run_command(sys.argv[1:] if arguments is None else arguments)
