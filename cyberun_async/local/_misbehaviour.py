"""What can go wrong with one reply: each a small ASGI application around the real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._http import error_response
from ._oddities import Oddities
from ._wire import wire_of

Misbehaviour = Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]]
ResetPoint = Literal["start", "head", "headers", "body"]


class _Whole:
    """A reply, collected before any of it goes out."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""
        self.stream_has_begun = asyncio.Event()

    async def collect(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")
            if self.body and _is(self.start, b"text/event-stream"):
                self.stream_has_begun.set()

    def set_header(self, name: bytes, value: bytes) -> None:
        kept = [(key, old) for key, old in self.start["headers"] if key.lower() != name]
        self.start["headers"] = [*kept, (name, value)]

    async def send(self, send: Send) -> None:
        self.set_header(b"content-length", str(len(self.body)).encode())
        await send(self.start)
        await send({"type": "http.response.body", "body": self.body})


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> _Whole:
    """Collect a reply; of an event stream, which may never end, what is said first."""
    reply = _Whole()
    whole = asyncio.ensure_future(app(scope, receive, reply.collect))
    begun = asyncio.ensure_future(reply.stream_has_begun.wait())
    try:
        await asyncio.wait([whole, begun], return_when=asyncio.FIRST_COMPLETED)
    finally:
        begun.cancel()
        whole.cancel()
        await asyncio.wait([whole, begun])
    if not whole.cancelled():
        whole.result()
    return reply


def _is(start: Message, kind: bytes) -> bool:
    """Whether a reply is of a content type."""
    return any(name.lower() == b"content-type" and value.startswith(kind) for name, value in start["headers"])


def status(code: int, message: str, headers: Mapping[str, str]) -> Misbehaviour:
    """Refuse without acting."""

    async def reject(_: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await error_response(code, message, headers)(scope, receive, send)

    return reject


def latency(seconds: float) -> Misbehaviour:
    """Take real time before acting."""

    async def wait(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(seconds)
        await app(scope, receive, send)

    return wait


async def lose_reply(app: ASGIApp, scope: Scope, receive: Receive, _: Send) -> None:
    """Act, then cut the connection instead of answering."""
    await _collect(app, scope, receive)
    await wire_of(scope).reset()


def reset(at: ResetPoint) -> Misbehaviour:
    """Cut the connection: before anything is read, within the head, after the head, or within the body."""

    async def cut(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        wire = wire_of(scope)
        if at == "head":
            wire.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
        elif at in {"headers", "body"}:
            reply = await _collect(app, scope, receive)
            reply.set_header(b"content-length", str(len(reply.body)).encode())
            await send(reply.start)
            sent = reply.body[: len(reply.body) // 2] if at == "body" else b""
            await send({"type": "http.response.body", "body": sent, "more_body": True})
        await wire.reset()

    return cut


def truncate(keep: int) -> Misbehaviour:
    """End the connection politely after `keep` bytes of a body that was promised to be longer."""

    async def cut(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await _collect(app, scope, receive)
        reply.set_header(b"content-length", str(len(reply.body)).encode())
        await send(reply.start)
        await send({"type": "http.response.body", "body": reply.body[:keep], "more_body": True})
        await wire_of(scope).close()

    return cut


def rewrite(change: Callable[[bytes], bytes]) -> Misbehaviour:
    """Send another body than the real one, whole and with its right length."""

    async def answer(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await _collect(app, scope, receive)
        reply.body = change(reply.body)
        await reply.send(send)

    return answer


def claim(content_type: str) -> Misbehaviour:
    """Claim another content type for the real body."""

    async def answer(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def claimed(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.lower() != b"content-type"]
                message = {**message, "headers": [*kept, (b"content-type", content_type.encode("latin-1"))]}
            await send(message)

        await app(scope, receive, claimed)

    return answer


def edit_json(change: Callable[[dict[str, object]], None]) -> Misbehaviour:
    """Change the JSON object of a reply; a reply of another kind goes out as it is."""

    async def edit(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        reply = _Whole()

        async def edited(message: Message) -> None:
            await reply.collect(message)
            if not _is(reply.start, b"application/json"):
                await send(message)
            elif message["type"] != "http.response.start" and not message.get("more_body"):
                reply.body = _changed(reply.body, change)
                await reply.send(send)

        await app(scope, receive, edited)

    return edit


def _changed(body: bytes, change: Callable[[dict[str, object]], None]) -> bytes:
    try:
        value = json.loads(body)
    except ValueError:  # Another fault was there before.
        return body
    if isinstance(value, dict):
        change(value)
    return json.dumps(value).encode()


def trickle(size: int, every: float) -> Misbehaviour:
    """Send the body `size` bytes at a time, `every` real seconds."""

    async def slowly(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def drop_by_drop(message: Message) -> None:
            body = message.get("body", b"")
            for start in range(0, len(body), size):
                await asyncio.sleep(every)
                await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
            await send({**message, "body": b""} if "body" in message else message)

        await app(scope, receive, drop_by_drop)

    return slowly


def odd_answers(seed: int) -> Misbehaviour:
    """Give each answer, and each event of a stream, in another form that a client can live with."""
    oddities = Oddities(seed)

    async def odd(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        operation = scope["state"]["exchange"].operation
        if operation == "tasks.list" and oddities.ignores_filters():
            kept = [part for part in scope["query_string"].split(b"&") if not part.startswith(b"status=")]
            scope["query_string"] = b"&".join(kept)
        if operation == "tasks.events":
            await edit_events(lambda: lambda blocks: [oddities.event(block) for block in blocks])(
                app, scope, receive, send
            )
            return
        reply = await _collect(app, scope, receive)
        if _is(reply.start, b"application/json"):
            value = oddities.answer(operation, reply.start["status"], json.loads(reply.body))
            reply.body = json.dumps(value).encode()
        await reply.send(send)

    return odd


# Streams


def cut_stream(after: int, how: Literal["reset", "close"]) -> Misbehaviour:
    """Break a stream after a number of bytes of its body."""

    async def cut(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        left = after

        async def counted(message: Message) -> None:
            nonlocal left
            body = message.get("body", b"")
            if message["type"] == "http.response.start":
                await send(message)
            elif len(body) < left:
                left -= len(body)
                await send(message)
            elif left >= 0:
                await send({**message, "body": body[:left], "more_body": True})
                left = -1
                await (wire_of(scope).reset() if how == "reset" else wire_of(scope).close())

        await app(scope, receive, counted)

    return cut


def mute_stream(every: float | None) -> Misbehaviour:
    """Open a stream and never send an event; with `every`, send a comment each so many real seconds."""

    async def mute(_: ASGIApp, __: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        left = asyncio.ensure_future(_gone(receive))
        try:
            while not left.done():
                await asyncio.wait([left], timeout=every)
                if not left.done():
                    await send({"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True})
        finally:
            left.cancel()

    return mute


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


EditEvents = Callable[[list[bytes]], list[bytes]]


def edit_events(begin: Callable[[], EditEvents]) -> Misbehaviour:
    """Change the events of a stream, each of which is given with its blank line, and leave other replies as they are.

    `begin` is called once per stream.
    """

    async def edit(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        change = begin()
        is_stream = False

        async def edited(message: Message) -> None:
            nonlocal is_stream
            body = message.get("body", b"")
            if message["type"] == "http.response.start":
                is_stream = _is(message, b"text/event-stream")
            elif body and is_stream:
                blocks = [block + b"\n\n" for block in body.split(b"\n\n") if block]
                message = {**message, "body": b"".join(change(blocks))}
            await send(message)

        await app(scope, receive, edited)

    return edit
