"""Which Cyberun a command talks to, and as whom."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from cyberun_async import AsyncClient, ConfigurationError, Retries
from cyberun_async._protocol.redaction import redact
from cyberun_async._settings import from_environment
from cyberun_async.cli._text import read_stdin

if TYPE_CHECKING:
    from cyberun_async.local import LocalCyberun

GROUP = Group("Connection", sort_key=9)

RETRIES = Retries(budget=10.0)
"""Shorter than in a service: somebody is watching, who may have mistyped the address."""

NO_KEY = "sk-none"
"""Stands in where there is no key; it is never sent."""

PACE = 1.0
"""Of the tasks of `--local`: they take a few seconds, so that they can be watched."""


@Parameter(name="*", group=GROUP)
@dataclass(frozen=True)
class Account:
    """Where to send requests, and where the key is. A key itself is no option: other users can list a program's arguments."""

    key_file: Annotated[
        Path | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Read the API key from a file, `-` for stdin; else from `CYBERUN_API_KEY`.",
        ),
    ] = None
    team_id: Annotated[
        str | None, Parameter(help="The team's UUID, which a user's token needs; else `CYBERUN_TEAM_ID`.")
    ] = None
    base_url: Annotated[
        str | None,
        Parameter(help="The API's URL; else `CYBERUN_BASE_URL`, else Cyberun Cloud's."),
    ] = None

    def as_options(self) -> list[str]:
        """Give the options that a later command needs to find the same account."""
        given = {"--key-file": self.key_file, "--team-id": self.team_id, "--base-url": self.base_url}
        return [word for option, value in given.items() if value is not None for word in (option, str(value))]


@asynccontextmanager
async def connect(account: Account) -> AsyncIterator[AsyncClient]:
    """Open a client for the account."""
    async with _client_of(account) as client:
        yield client


@asynccontextmanager
async def connect_for_checks(account: Account) -> AsyncIterator[tuple[AsyncClient, str | None]]:
    """Open a client although its key may be missing or unusable, and say what is wrong with the key."""
    problem = None
    try:
        client = _client_of(account)
    except ConfigurationError as error:
        problem = str(error)
        # What is wrong besides the key is raised here again.
        client = AsyncClient(NO_KEY, base_url=account.base_url, retries=RETRIES)
    async with client:
        yield client, problem


def _client_of(account: Account) -> AsyncClient:
    key = _find_key() if account.key_file is None else _read_key(account.key_file)
    return AsyncClient(key, team_id=account.team_id, base_url=account.base_url, retries=RETRIES)


@asynccontextmanager
async def connect_locally(account: Account) -> AsyncIterator[AsyncClient]:
    """Start a local Cyberun for as long as the client is open."""
    if account != Account():
        raise ConfigurationError("--local has an account of its own: leave out --key-file, --team-id and --base-url")
    async with (
        local_cyberun(pace=PACE) as server,
        AsyncClient(server.api_key, base_url=server.base_url) as client,
    ):
        yield client


def connection(account: Account, *, local: bool) -> AbstractAsyncContextManager[AsyncClient]:
    """Open a client for the account, or for a local Cyberun."""
    return connect_locally(account) if local else connect(account)


def local_cyberun(*, host: str = "127.0.0.1", port: int = 0, pace: float) -> "LocalCyberun":
    """Make a local Cyberun, if the extra is there.

    Raises:
        ConfigurationError: It is not.

    """
    try:
        from cyberun_async.local import LocalCyberun
    except ModuleNotFoundError as error:
        raise ConfigurationError(str(error)) from None
    return LocalCyberun(host=host, port=port, pace=pace)


def _find_key() -> str:
    key = from_environment("CYBERUN_API_KEY", "CYBERUN_KEY")
    if key is None:
        message = (
            "there is no API key: set CYBERUN_API_KEY, or name a file that holds it with --key-file "
            "(run, workflows and workflow need none with --local)"
        )
        raise ConfigurationError(message)
    return key


def _read_key(path: Path) -> str:
    try:
        key = read_stdin() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if redact(str(path)) != str(path) or path.name.startswith(("sk-", "dk-", "ak-", "eyJ")):
            message = "--key-file takes the name of a file that holds the key, and not the key: other users can list it"
            raise ConfigurationError(message) from None
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"the key file {path} cannot be read: {reason}"
        raise ConfigurationError(message) from None
    return key.strip()
