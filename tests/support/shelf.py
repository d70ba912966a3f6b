"""A storage that keeps and breaks its promises as it is told, with as much of the API as points to it."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

import anyio
import attrs
import httpx
from support.raw import Peer, RawServer, raw_server
from support.virtual import connections_to, no_threads

from cyberun_async import AsyncClient, Retries, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TASK_ID = "t-1"

SECRET = "f00dfeed5ec2e7"
"""What no log and no message may show: a part of every signature."""

QUICK = Retries(budget=5, initial=0.001, maximum=0.001)


@attrs.frozen
class Plan:
    """How one request goes.

    Attributes:
        cut: Bytes of the answer's body, or of a request's, after which the connection ends; `None` for none.
        by_reset: Whether it ends the hard way.
        stall: Whether it falls silent there instead.
        status: A refusal; with `body` and `headers`.
        promised: The length that is announced in place of the true one.
        no_range: Whether a `Range` is passed over.
        chunked: Whether no length is announced at all.
        lost: Whether the answer to an upload is lost after the file is there.
        shifted: Bytes by which a part begins elsewhere than it was asked to.

    """

    cut: int | None = None
    by_reset: bool = False
    stall: bool = False
    status: int | None = None
    body: str = ""
    headers: str = ""
    promised: int | None = None
    no_range: bool = False
    chunked: bool = False
    lost: bool = False
    shifted: int = 0


AS_IT_SHOULD = Plan()


@attrs.define
class Get:
    """One download as it was asked for and served."""

    key: str
    headers: httpx.Headers
    status: int = 0
    start: int = 0
    sent: int = 0


@attrs.define
class Stored:
    """An uploaded file."""

    data: bytes
    headers: httpx.Headers


@attrs.define
class Shelf:
    """Files by key, and how the next requests for each of them go."""

    files: dict[str, bytes] = attrs.field(factory=dict)
    etags: dict[str, str] = attrs.field(factory=dict)
    headers: dict[str, str] = attrs.field(factory=dict)
    plans: dict[str, list[Plan]] = attrs.field(factory=dict)
    gets: list[Get] = attrs.field(factory=list)
    puts: dict[str, Stored] = attrs.field(factory=dict)
    put_attempts: list[httpx.Headers] = attrs.field(factory=list)
    presigned: list[dict[str, object]] = attrs.field(factory=list)
    signed: dict[str, str] = attrs.field(factory=lambda: {"X-Amz-Meta-A": "as it is"})
    names_length: bool = True
    presign_refusal: Plan | None = None
    submitted: list[dict[str, object]] = attrs.field(factory=list)
    results: int = 0
    status: str = "completed"
    valid_from: int = 0
    port: int = 0

    def put(self, key: str, data: bytes, *, etag: str | None = None, headers: str = "") -> None:
        """Keep a file, under an MD5 for its entity tag unless told otherwise."""
        self.files[key] = data
        self.etags[key] = f'"{hashlib.md5(data).hexdigest()}"' if etag is None else etag
        self.headers[key] = headers

    def plan(self, key: str, *plans: Plan) -> None:
        self.plans.setdefault(key, []).extend(plans)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def link(self, kind: str, key: str, size: int = 0) -> str:
        """Give the signed URL of a file, or of a place for one of this size."""
        # Dots as well, since a path with two of them in a row leads elsewhere.
        path = f"{kind}/{quote(key, safe='').replace('.', '%2E')}"
        return f"http://127.0.0.1:{self.port}/{path}?X-Amz-Signature={SECRET}-{self.results}"

    def client(self, **options: object) -> AsyncClient:
        """Make a client of this server that does not wait long."""
        given = {"retries": QUICK, "timeouts": Timeouts(read=5), **options}
        return AsyncClient("sk-1", base_url=self.base_url, **given)  # type: ignore[arg-type]

    # Serving

    async def handle(self, peer: Peer) -> None:
        while True:
            head, _, body = (await peer.request()).partition(b"\r\n\r\n")
            line, _, fields = head.partition(b"\r\n")
            method, target, _ = line.decode().split()
            headers = httpx.Headers([tuple(f.split(": ", 1)) for f in fields.decode().split("\r\n")])  # type: ignore[misc]
            if target.startswith("/api/v1"):
                await self._api(peer, method, target.removeprefix("/api/v1"), body)
            elif method == "GET":
                await self._get(peer, target, headers)
            else:
                await self._put(peer, target, headers, body)

    async def _api(self, peer: Peer, method: str, path: str, body: bytes) -> None:
        if path.endswith("/result"):
            self.results += 1
            urls = {key: self.link("files", key) for key in self.files}
            result = {"id": TASK_ID, "task_status": self.status, "download_urls": urls}
            await peer.answer(json.dumps(result))
        elif path == "/r/files/presign":
            if self.presign_refusal is not None:
                await peer.answer(self.presign_refusal.body, status=self.presign_refusal.status or 400)
                return
            asked = json.loads(body)
            self.presigned.append(asked)
            key = f"inputs/{len(self.presigned)}/{asked['file_name']}"
            length = {"Content-Length": str(asked["file_size"])} if self.names_length else {}
            wanted = {**length, "If-None-Match": "*", **self.signed}
            url = self.link("uploads", key, asked["file_size"])
            await peer.answer(json.dumps({"file_key": key, "upload_url": url, "upload_headers": wanted}))
        elif path.endswith("/run"):
            self.submitted.append(json.loads(body))
            await peer.answer(json.dumps({"task_id": TASK_ID}), status=202)
        else:
            parameters = [
                {"key": "image", "type": "file", "accept": ["image/png", ".jpg"]},
                {"key": "mask", "type": "file"},
                {"key": "steps", "type": "number", "max": 10},
            ]
            await peer.answer(json.dumps({"id": "w-1", "parameters": parameters}))

    def _next(self, key: str) -> Plan:
        plans = self.plans.get(key)
        return plans.pop(0) if plans else AS_IT_SHOULD

    async def _get(self, peer: Peer, target: str, headers: httpx.Headers) -> None:
        parts = urlsplit(target)
        key = unquote(parts.path).removeprefix("/files/")
        get = Get(key, headers)
        self.gets.append(get)
        if int(parse_qs(parts.query)["X-Amz-Signature"][0].rpartition("-")[2]) < self.valid_from:
            get.status = 403
            await peer.answer(
                "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", status=403
            )
            return
        plan = self._next(key)
        if plan.status is not None:
            get.status = plan.status
            if plan.cut is not None:
                await peer.send(f"HTTP/1.1 {plan.status} X\r\nContent-Length: {plan.cut + 1}\r\n\r\n".encode())
                await peer.stream.aclose()
                raise anyio.EndOfStream
            await peer.answer(plan.body, status=plan.status, headers=plan.headers)
            return
        await self._serve(peer, get, plan)

    async def _serve(self, peer: Peer, get: Get, plan: Plan) -> None:
        data, etag = self.files[get.key], self.etags[get.key]
        tag = (f"ETag: {etag}\r\n" if etag else "") + self.headers[get.key]
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", get.headers.get("range", ""))
        get.status = 200
        if match and not plan.no_range and get.headers.get("if-range", etag) == etag:
            get.start = int(match[1]) + plan.shifted
            if get.start >= len(data):
                get.status = 416
                await peer.answer("<Error/>", status=416, headers=f"Content-Range: bytes */{len(data)}\r\n")
                return
            get.status = 206
            stop = int(match[2]) + 1 if match[2] else len(data)
            tag += f"Content-Range: bytes {get.start}-{stop - 1}/{len(data)}\r\n"
            data = data[get.start : stop]
        length = f"Content-Length: {len(data) if plan.promised is None else plan.promised}\r\n"
        if plan.chunked:
            length = "Transfer-Encoding: chunked\r\n"
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n"
        await peer.send(f"HTTP/1.1 {get.status} X\r\n{tag}{length}\r\n".encode())
        data = data if plan.cut is None else data[: plan.cut]
        get.sent = len(data)
        await peer.send(data)
        if plan.stall:
            await peer.until_closed()
        if plan.by_reset:
            await peer.reset()
        if plan.cut is not None:
            await peer.stream.aclose()
            raise anyio.EndOfStream

    async def _put(self, peer: Peer, target: str, headers: httpx.Headers, body: bytes) -> None:
        key = unquote(urlsplit(target).path).removeprefix("/uploads/")
        self.put_attempts.append(headers)
        plan = self._next("upload")
        if plan.status is not None:
            await peer.answer(plan.body, status=plan.status, headers=plan.headers)
            return
        if plan.stall:
            await peer.until_closed()
            raise anyio.EndOfStream
        if plan.cut is not None:
            await peer.reset()
            raise anyio.EndOfStream
        if key in self.puts:
            await peer.answer("<Error><Code>PreconditionFailed</Code></Error>", status=412)
            return
        self.puts[key] = Stored(body, headers)
        if plan.lost:
            await peer.reset()
            raise anyio.EndOfStream
        await peer.answer("")


@asynccontextmanager
async def virtual_shelf() -> AsyncIterator[Shelf]:
    """Have a storage in memory, for a test that carries `virtual`; its client works without threads."""
    shelf = Shelf(port=80)
    with no_threads():
        async with connections_to(RawServer(shelf.handle, None).serve):
            yield shelf


@asynccontextmanager
async def a_shelf(shelf: Shelf | None = None) -> AsyncIterator[Shelf]:
    """Run a storage for as long as this is open."""
    shelf = Shelf() if shelf is None else shelf
    async with raw_server(shelf.handle) as server:
        shelf.port = server.port
        yield shelf
