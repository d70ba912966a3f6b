"""A real nginx on loopback, with a configuration of the test's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Debian puts it where only root's PATH looks.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
user {user};
events {{ worker_connections 256; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {server}
    }}
}}
"""


@contextmanager
def running_nginx(directory: Path, server: str = "") -> Iterator[str]:
    """Run nginx over `directory/files` and give its address; `server` goes into its `server` block."""
    assert NGINX is not None
    root = directory / "files"
    root.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, root=root, port=port, server=server, user=Path.home().owner())
    )
    process = subprocess.Popen([NGINX, "-c", configuration, "-p", directory], stderr=subprocess.DEVNULL)
    try:
        _wait_until_open(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "the server did not start"
        time.sleep(0.01)
    raise AssertionError("the server does not listen")
