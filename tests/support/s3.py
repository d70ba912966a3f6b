"""An S3 server that somebody else wrote, on loopback, and presigned URLs by botocore."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from support.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator

S3RVER = shutil.which("s3rver")

KEY = "S3RVER"
BUCKET = "outputs"


@contextmanager
def running_s3rver(directory: Path) -> Iterator[str]:
    """Run s3rver over a directory and give its address."""
    assert S3RVER is not None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    command = [S3RVER, "-d", str(directory), "-a", "127.0.0.1", "-p", port, "--configure-bucket", BUCKET]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1500):
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), timeout=1):
                break
            assert process.poll() is None, "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@attrs.define
class S3Shelf(Shelf):
    """An API whose links lead to a real storage.

    Attributes:
        address: Of the storage.
        lifetime: How long links live, in seconds.
        version: Of the signatures: `s3v4`, of which s3rver checks the expiry, or `s3`, which it checks whole.
        forged: Whether they are signed by somebody else.

    """

    address: str = ""
    lifetime: int = 60
    version: str = "s3v4"
    forged: bool = False
    signed: dict[str, str] = attrs.field(factory=dict)

    def link(self, kind: str, key: str, size: int = 0) -> str:
        client = _client(self.address, self.version, "somebody else" if self.forged else KEY)
        place = {"Bucket": BUCKET, "Key": key}
        if kind == "files":
            url: str = client.generate_presigned_url("get_object", Params=place, ExpiresIn=self.lifetime)
        else:
            if self.version == "s3v4":
                place |= {"ContentLength": size, "IfNoneMatch": "*"}
            url = client.generate_presigned_url("put_object", Params=place, ExpiresIn=self.lifetime)
        return url


@cache
def _client(address: str, version: str, secret: str) -> Any:
    import botocore.session
    from botocore.config import Config

    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=address,
        aws_access_key_id=KEY,
        aws_secret_access_key=secret,
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
