"""What several commands take, and the checks of it."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import AbandonPolicy, ConfigurationError
from cyberun_async.cli._connect import Account
from cyberun_async.cli._parameters import Given

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
Workflow = Annotated[str, Parameter(help="A slug (`text-to-image`, or `text-to-image@2`) or a UUID.")]
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


def make_folder(folder: Path | None) -> None:
    """Make the folder for the files first: better no task than one whose files have no place to go."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"--out {folder} cannot be made: {error.strerror}; name another folder"
        raise ConfigurationError(message) from None
