"""The object storage beside the API: presigned PUT and GET, as strict as S3 is.

Uploads: https://docs.cyberun.cloud/api-reference/file-upload
Links: https://docs.cyberun.cloud/api-reference/task/get-task-result
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from urllib.parse import unquote
from xml.sax.saxutils import escape

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ._clock import Clock
from ._guard import HOST
from ._http import wire_time
from ._ranges import Unsatisfiable, requested_range
from ._signing import BadSignature, Signer
from ._workflows import Output

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file at rest."""

    data: bytes = field(repr=False)
    content_type: str
    etag: str
    modified: datetime
    removed_at: float


class Storage:
    """Files by key, and the links to them. Inputs are kept for a day, outputs for seven."""

    def __init__(self, clock: Clock, *, prefix: str, link_lifetime: float) -> None:
        self._clock = clock
        self._signer = Signer(clock)
        self._prefix = prefix
        self._objects: dict[str, StoredObject] = {}
        self._upload_owners: dict[str, str] = {}
        self.origin = ""
        self._origin_asked: ContextVar[str] = ContextVar("origin")
        self.link_lifetime = link_lifetime

    def __repr__(self) -> str:
        """Show where it is, and how many files it has."""
        return f"<{type(self).__name__} at {self.origin or 'no address'}: {len(self._objects)} files>"

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream", *, days: float = 7) -> None:
        """Keep a file for some days of the server's clock."""
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        removed_at = self._clock.time() + days * DAY
        self._objects[key] = StoredObject(data, content_type, etag, self._clock.now(), removed_at)

    def put_output(self, key: str, output: Output) -> str:
        """Keep what a workflow made, and give its key."""
        self.put(key, output.data, output.content_type)
        return key

    def find(self, key: str) -> StoredObject | None:
        """Give a file that is still kept."""
        found = self._objects.get(key)
        return found if found is not None and self._clock.time() < found.removed_at else None

    def read_input(self, file_key: str, *, team_id: str) -> bytes:
        """Read an upload. Asked for by a task, so the error is what the task fails with."""
        owner = self._upload_owners.get(file_key, team_id)
        found = self.find(file_key)
        if found is None or owner != team_id:
            raise FileNotFoundError(f"input file not found: {file_key}")
        return found.data

    def link(
        self, method: str, key: str, *, lifetime: float | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        """Presign a URL; `lifetime` is in seconds and an hour by default."""
        seconds = self.link_lifetime if lifetime is None else lifetime
        return self._origin_asked.get(self.origin) + self._signer.sign(
            method, f"{self._prefix}/{key}", lifetime=seconds, headers=headers
        )

    def for_callers(self, app: ASGIApp) -> ASGIApp:
        """Wrap calls so that links lead to the host that the caller asked: a server may have several addresses."""

        async def with_origin(scope: Scope, receive: Receive, send: Send) -> None:
            host = Headers(scope=scope).get("host", "").lower()
            if HOST.fullmatch(host):
                self._origin_asked.set(f"http://{host}")
            await app(scope, receive, send)

        return with_origin

    def links(self, output: Mapping[str, object], lifetime: float | None) -> dict[str, object]:
        """Sign what a task's output names: one `storage_key`, or the `s3_key` of each of several."""
        seconds = self.link_lifetime if lifetime is None else lifetime
        keys = {name: item["s3_key"] for name, item in output.items() if isinstance(item, Mapping) and "s3_key" in item}
        if keys:
            return {"download_urls": {name: self.link("GET", key, lifetime=seconds) for name, key in keys.items()}}
        if "storage_key" not in output:
            return {}
        expires = wire_time(self._clock.now() + timedelta(seconds=seconds))
        return {"download_url": self.link("GET", str(output["storage_key"]), lifetime=seconds), "expires_at": expires}

    def presign_upload(
        self, name: str, size: int, content_type: str, team_id: str, lifetime: float | None
    ) -> dict[str, object]:
        """Make a key for an upload, and the link and headers to send it with."""
        kind = base64.b64encode(content_type.encode()).decode().replace("/", "_")
        # A name is only the last part of a key here, so that it cannot climb out of its folder.
        safe = name.replace("\\", "/").rpartition("/")[2] or "file"
        key = f"inputs/{team_id}/{uuid.uuid4()}/{kind}/{safe}"
        self._upload_owners[key] = team_id
        headers = {"Content-Length": str(size), "If-None-Match": "*"}
        url = self.link("PUT", key, lifetime=lifetime, headers=headers)
        return {"file_key": key, "upload_url": url, "upload_headers": headers}

    async def receive(self, request: Request) -> Response:
        """Answer a PUT."""
        if error := self._error_response(request):
            return error
        key = unquote(request.path_params["key"])
        if request.headers.get("if-none-match") == "*" and self.find(key) is not None:
            return _xml_error(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
            )
        try:
            body = await request.body()
        except ClientDisconnect:
            # Half an upload is no object; there is no client left to respond to.
            return Response(status_code=400)
        self.put(key, body, request.headers.get("content-type", "application/octet-stream"), days=1)
        return Response(headers={"ETag": self._objects[key].etag})

    async def serve(self, request: Request) -> Response:  # noqa: PLR0911 - one for each answer that S3 gives
        """Answer a GET or a HEAD, whole or in part."""
        if error := self._error_response(request):
            return error
        stored = self.find(unquote(request.path_params["key"]))
        if stored is None:
            return _xml_error(404, "NoSuchKey", "The specified key does not exist.")
        headers = {
            "ETag": stored.etag,
            "Accept-Ranges": "bytes",
            "Last-Modified": format_datetime(stored.modified.astimezone(timezone.utc), usegmt=True),
            "Content-Type": stored.content_type,
        }
        if request.headers.get("if-match", stored.etag) not in (stored.etag, "*"):
            return _xml_error(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
            )
        if request.headers.get("if-none-match") == stored.etag:
            return Response(status_code=304, headers=headers)
        size = len(stored.data)
        try:
            part = requested_range(request.headers, size, headers["ETag"], headers["Last-Modified"])
        except Unsatisfiable:
            return _xml_error(
                416, "InvalidRange", "The requested range is not satisfiable", {"Content-Range": f"bytes */{size}"}
            )
        if part is None:
            return Response(stored.data, headers=headers)
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        return Response(stored.data[part.start : part.stop], 206, headers)

    def _error_response(self, request: Request) -> Response | None:
        if "authorization" in request.headers:
            return _xml_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if request.method == "PUT" and "content-length" not in request.headers:
            return _xml_error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        try:
            path = unquote(request.scope["path"])
            self._signer.check(request.method, path, request.query_params, request.headers)
        except BadSignature as error:
            return _xml_error(403, error.code, error.message)
        return None


def _xml_error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    return Response(body, status, headers, media_type="application/xml")
