"""The command line `cyberun-async` (extra `cli`); see docs/cli.md."""

import sys
from collections.abc import Sequence

from cyberun_async._extras import missing_extra


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
        print(f"cyberun-async: {missing_extra('the command line', 'cli')}", file=sys.stderr)
        return 2
    return run_command(sys.argv[1:] if arguments is None else arguments)
