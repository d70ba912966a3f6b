"""The command that runs a local test server."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from cyberun_async import ConfigurationError
from cyberun_async.cli._connect import local_cyberun
from cyberun_async.cli._options import Json, above_zero
from cyberun_async.cli._text import print_status, write_json, write_line

if TYPE_CHECKING:
    from cyberun_async.local import LocalCyberun


def serve(
    *,
    host: Annotated[
        str, Parameter(help="The address to listen on; 0.0.0.0 is every one, so that other machines reach it.")
    ] = "127.0.0.1",
    port: Annotated[
        int, Parameter(validator=validators.Number(gte=0, lte=65535), help="The port to listen on; 0 takes a free one.")
    ] = 0,
    pace: Annotated[
        float,
        Parameter(validator=above_zero, help="The speed of tasks: 0.1 makes them ten times as fast."),
    ] = 1.0,
    script: Annotated[
        Path | None,
        Parameter(help="How tasks live instead of their usual way: a JSON file, as docs/local.md shows it."),
    ] = None,
    json: Json = False,
) -> None:
    """Run a local test server until Ctrl-C, and print how clients reach it.

    Example: `cyberun-async serve --port 8080`
    """
    server = local_cyberun(host=host, port=port, pace=pace)
    if script is not None:
        _read_scripts(server, script)
    with server, suppress(KeyboardInterrupt):
        if json:
            addresses = {"base_url": server.base_url, "network_url": server.network_url}
            control = {"control_url": server.control_url, "control_token": server.control_token}
            write_json({"type": "server", **addresses, "api_key": server.api_key, **control})
        else:
            print_status("A local test server is running. In another terminal, point clients at it:\n")
            write_line(f"export CYBERUN_BASE_URL={server.base_url}")
            write_line(f"export CYBERUN_API_KEY={server.api_key}")
            print_status(
                f"\nPrograms in any language set faults and move its clock at {server.control_url}, with this token:\n"
            )
            write_line(f"export CYBERUN_CONTROL_TOKEN={server.control_token}")
            if not server.is_loopback:
                print_status("\n" + _exposed(host, server.network_url or server.base_url))
            print_status("\nCtrl-C stops it.")
        while True:
            time.sleep(3600)


def _read_scripts(server: "LocalCyberun", path: Path) -> None:
    try:
        server.read_scripts(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"--script {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"--script {path} is no script: {error}") from None


def _exposed(host: str, url: str) -> str:
    """Say what listening on more than loopback means."""
    return (
        f"It listens on {host or 'every address'}, so other machines reach it. They need the key, which travels "
        f"unencrypted: keep it to networks that you trust. From there it is {url}\n"
        "(AsyncClient(base_url=..., allow_insecure_http=True))."
    )
