"""Signing in from a terminal: the commands that get a device key, give it back, and say whose it is. (device pairing)"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter

from cyberun_async import (
    APIError,
    AsyncClient,
    AuthenticationError,
    ConfigurationError,
    CyberunError,
    DecodeError,
    NotFoundError,
    RateLimitError,
    ServerError,
    TransportError,
)
from cyberun_async._client import core_of
from cyberun_async._protocol.key_format import check_key
from cyberun_async._protocol.secret import Key, sealed
from cyberun_async._protocol.sign_in import Pairing, poll_pairing, revoke_device, start_pairing
from cyberun_async._settings import from_environment
from cyberun_async._transport.anonymous import anonymous_settings
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.transport import Transport
from cyberun_async.cli._connect import GROUP, RETRIES, Account, ProfileName, connect, credential_of
from cyberun_async.cli._options import FROM_ENVIRONMENT, Json
from cyberun_async.cli._profiles import DEFAULT, find_profile, new_profile, profile_name, profile_path
from cyberun_async.cli._text import print_status, printable, write_json, write_line

_SHORTEST_INTERVAL = 0.1
"""Seconds between two polls, whatever the service says: zero would be a storm."""

BaseURL = Annotated[
    str | None,
    Parameter(group=GROUP, help="The API's URL; else `CYBERUN_BASE_URL`, else Cyberun Cloud's."),
]


async def login(*, profile: ProfileName = None, base_url: BaseURL = None, json: Json = False) -> None:
    """Sign this computer in: approve a code in the browser, and the key is stored.

    Example: `cyberun-async login --profile work`
    """
    name = profile_name(profile)
    path = profile_path(name)
    if path.exists():
        raise ConfigurationError(
            f"the profile {name} is signed in already: run cyberun-async logout --profile {name} first"
        )
    settings = anonymous_settings(base_url)
    with new_profile(path) as keep:
        transport = Transport(settings, Connections(settings, None))
        try:
            pairing = await transport.send(start_pairing())
            _show_code(pairing, as_json=json)
            key = await _approved_key(transport, pairing)
            # At once: a Ctrl-C between these two would lose a key that stays valid.
            await _keep(keep, key, settings.base_url, path)
        except BaseException:
            print_status("not signed in: nothing was stored")
            raise
        finally:
            await transport.aclose()
    if json:
        write_json({"type": "login", "profile": name, "path": str(path), "base_url": settings.base_url})
    else:
        users = "every command uses it" if name == DEFAULT else f"commands with --profile {name} use it"
        write_line(printable(f"Signed in. The key is in {path}, and {users}."))
    if name == DEFAULT and from_environment("CYBERUN_API_KEY", "CYBERUN_KEY"):
        print_status("A key in the environment goes before it: unset CYBERUN_API_KEY to use this one.")


async def _keep(keep: Callable[[str, Key], None], key: Key, base_url: str, path: Path) -> None:
    """Store a key; one that cannot be stored is revoked."""
    try:
        keep(base_url, key)
    except OSError as error:
        async with AsyncClient(key.reveal(), base_url=base_url, retries=RETRIES) as client:
            await core_of(client).transport.send(revoke_device())
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}), so the key was revoked") from None


def _show_code(pairing: Pairing, *, as_json: bool) -> None:
    minutes = f"{pairing.expires_in / 60:.0f} min"
    if as_json:
        write_json(
            {
                "type": "pairing",
                "user_code": pairing.user_code,
                "verification_uri": pairing.verification_uri,
                "expires_in": pairing.expires_in,
            }
        )
    else:
        where = pairing.verification_uri or "the page of Cyberun Cloud that pairs devices"
        print_status(f"Open {where}\nand enter the code {pairing.user_code} within {minutes}. Ctrl-C stops waiting.")


async def _approved_key(transport: Transport, pairing: Pairing) -> Key:
    """Poll until the user has approved the code, at the interval that the service asks for."""
    device_code = Key(pairing.device_code)  # Redacted for as long as it is here.
    with anyio.move_on_after(pairing.expires_in):
        while True:
            await anyio.sleep(max(pairing.interval, _SHORTEST_INTERVAL))
            try:
                poll = await transport.send(poll_pairing(device_code))
            except NotFoundError:
                break
            except (TransportError, ServerError, RateLimitError):
                # The code is as good as before, and if this response had the key, the next one says that it is gone.
                continue
            match poll.status.strip().lower():
                case "pending":
                    pass
                case "approved":
                    if poll.raw_key is None:
                        raise DecodeError("it approves the pairing, and has no raw_key")
                    return check_key(sealed(poll.raw_key))
                case _:
                    raise CyberunError(
                        f"the service calls the pairing {poll.status[:100]!r}, which is not documented, so waiting may"
                        " be in vain: run cyberun-async login again"
                    )
    raise CyberunError("the code has expired or was used already: run cyberun-async login again")


async def logout(*, profile: ProfileName = None, json: Json = False) -> None:
    """Revoke the key that `login` has stored, and remove it from this computer.

    Example: `cyberun-async logout --profile work`
    """
    name = profile_name(profile)
    found = find_profile(name)
    if found is None:
        raise ConfigurationError(f"there is no profile {name}: {profile_path(name)} does not exist")
    async with AsyncClient(found.key.reveal(), base_url=found.base_url, retries=RETRIES) as client:
        try:
            await core_of(client).transport.send(revoke_device())
        except AuthenticationError:
            pass  # It was revoked before.
        except (APIError, TransportError):
            print_status(f"the key was not revoked, and is still in {found.path}")
            raise
    found.path.unlink(missing_ok=True)
    if json:
        write_json({"type": "logout", "profile": name})
    else:
        write_line("Signed out: the key is revoked and removed.")


async def whoami(*, json: Json = False, account: Account = FROM_ENVIRONMENT) -> None:
    """Show which key the commands use, from where, and whose it is.

    Example: `cyberun-async whoami --profile work`
    """
    credential = credential_of(account)
    async with connect(account) as client:
        base_url = core_of(client).settings.base_url
        if credential.kind == "integration":
            # The service tells users who they are, and such a key is a team's.
            await client.ping()
            user = None
        else:
            user = await client.users.me()
    if json:
        shown = None if user is None else user.to_dict()
        facts = {"kind": credential.kind, "source": credential.source, "base_url": base_url, "user": shown}
        write_json({"type": "whoami", **facts})
        return
    name = "a team's integration key" if user is None else user.display_name or user.email or user.id
    address = "" if user is None or user.email in {None, name} else f" <{user.email}>"
    write_line(printable(f"{name}{address}"))
    write_line(printable(f"{credential.kind} key from {credential.source}, at {base_url}"))
