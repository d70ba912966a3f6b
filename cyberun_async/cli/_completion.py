"""The command that has a shell complete the others."""

from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from cyberun_async.cli._options import Json
from cyberun_async.cli._text import write_json, write_line

Shell = Literal["bash", "zsh", "fish"]


def completion_of(app: App) -> Callable[..., None]:
    """Give the command for a program."""

    def completion(
        shell: Annotated[Shell, Parameter(help="The shell that the script is for.")], /, *, json: Json = False
    ) -> None:
        """Print a script that has your shell complete commands and options.

        Example: `cyberun-async completion bash`
        """
        script = app.generate_completion(shell=shell)
        if json:
            write_json({"type": "completion", "shell": shell, "script": script})
        else:
            write_line(script.rstrip("\n"))

    return completion
