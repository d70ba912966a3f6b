"""Start the web example against a local Cyberun: `python docs/examples/web/serve.py`."""

import argparse
import asyncio
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import uvicorn
from app import Settings, create_app

from cyberun_async import AsyncClient
from cyberun_async.local import LocalCyberun


async def make_webhook(server: LocalCyberun, url: str) -> str:
    """Have the local test server send webhooks to the application, and return the secret."""
    async with AsyncClient(server.device_key, base_url=server.base_url) as client:
        webhook = await client.webhooks.create("web example", url, ["task.completed", "task.failed"])
        return (await client.webhooks.get(webhook.id)).secret or ""


def main(port: int, pace: float) -> None:
    """Serve until Ctrl-C."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalCyberun(pace=pace) as server,
        socket.create_server(("127.0.0.1", port)) as listener,
    ):
        address = "http://{}:{}".format(*listener.getsockname())
        settings = Settings(
            api_key=server.api_key,
            base_url=server.base_url,
            webhook_secrets=(asyncio.run(make_webhook(server, f"{address}/webhook")),),
            database=Path(directory, "tasks.db"),
        )
        print(f"Open {address}/ in a browser; Ctrl-C ends it.", flush=True)
        config = uvicorn.Config(create_app(settings), log_level="warning")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 lets the system choose")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds that a second of a task's life takes")
    arguments = parser.parse_args()
    try:
        main(**vars(arguments))
    except OSError as error:
        sys.exit(f"port {arguments.port}: {error.strerror}; --port takes another one")
