"""Which Cyberun a command talks to, and as whom."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from cyberun_async import AsyncClient, ConfigurationError, Retries
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import from_environment
from cyberun_async.cli._profiles import find_profile, profile_name
from cyberun_async.cli._text import read_stdin

if TYPE_CHECKING:
    from cyberun_async.local import LocalCyberun

GROUP = Group("Connection", sort_key=9)

RETRIES = Retries(budget=10.0)
"""Shorter than in a service: somebody is watching, who may have mistyped the address."""

ProfileName = Annotated[
    str | None,
    Parameter(
        name="--profile", group=GROUP, help="The profile that `login` made; else `CYBERUN_PROFILE`, else `default`."
    ),
]

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
    profile: ProfileName = None

    def as_options(self) -> list[str]:
        """Give the options that a later command needs to find the same account."""
        given = {
            "--key-file": self.key_file,
            "--team-id": self.team_id,
            "--base-url": self.base_url,
            "--profile": self.profile,
        }
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
    found = credential_of(account)
    return AsyncClient(
        found.key.reveal(), team_id=account.team_id, base_url=found.base_url or account.base_url, retries=RETRIES
    )


@asynccontextmanager
async def connect_locally(account: Account) -> AsyncIterator[AsyncClient]:
    """Start a local Cyberun for as long as the client is open."""
    if account != Account():
        raise ConfigurationError(
            "--local has an account of its own: leave out --key-file, --team-id, --base-url and --profile"
        )
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


@dataclass(frozen=True)
class Credential:
    """The key that a command uses.

    Attributes:
        key: The key.
        source: Where it comes from.
        base_url: The address that it is for, where it was stored with one.

    """

    key: Key = field(repr=False)
    source: str
    base_url: str | None = None

    @property
    def kind(self) -> str:
        """What it is by its prefix."""
        kinds = {"sk-": "integration", "dk-": "device", "eyJ": "user"}
        return next((kind for prefix, kind in kinds.items() if self.key.startswith((prefix,))), "unknown")


def credential_of(account: Account) -> Credential:
    """Find the key: in the file or the profile that is named, else in the environment, else in the profile of `login`.

    Raises:
        ConfigurationError: There is none, or what is named cannot be used.

    """
    if account.key_file is not None:
        if account.profile is not None:
            raise ConfigurationError("--key-file and --profile name two keys: leave one of them out")
        return Credential(Key(_read_key(account.key_file)), f"the file {account.key_file}")
    for variable in ("CYBERUN_API_KEY", "CYBERUN_KEY") if account.profile is None else ():
        if key := from_environment(variable):
            return Credential(Key(key), f"the variable {variable}")
    name = profile_name(account.profile)
    profile = find_profile(name)
    if profile is None:
        named = f" in the profile {name}" if account.profile or from_environment("CYBERUN_PROFILE") else ""
        raise ConfigurationError(
            f"there is no API key{named}: run cyberun-async login, set CYBERUN_API_KEY, or name a file that holds it with "
            "--key-file (run, workflows and workflow need none with --local)"
        )
    asked = account.base_url or from_environment("CYBERUN_BASE_URL")
    if asked is not None and asked.rstrip("/") != profile.base_url:
        raise ConfigurationError(
            f"the key of the profile {name} is for {profile.base_url}, and not for {asked}: sign in there with another "
            "--profile"
        )
    return Credential(profile.key, f"the profile {name}", profile.base_url)


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
