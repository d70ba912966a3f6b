"""Misbehaving on request: which call, how often, and what goes wrong."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from . import _misbehaviour as misbehaviour
from ._misbehaviour import EditEvents, Misbehaviour, ResetPoint
from ._operations import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Which requests a fault strikes.

    Attributes:
        on: The call, such as `tasks.get`, or a pattern such as `tasks.*`.
        times: How many requests it strikes; None strikes all.
        after: How many matching requests it lets pass first.
        task_id: Only requests about this task.
        probability: Of striking each matching request, by the seed of `LocalCyberun(seed=...)`.
    """

    on: str = "*"
    times: int | None = 1
    after: int = 0
    task_id: str | None = None
    probability: float = 1.0

    def covers(self, exchange: Exchange) -> bool:
        """Whether the request is of the kind that is meant."""
        return fnmatchcase(exchange.operation, self.on) and self.task_id in {None, exchange.task_id}


@dataclass(slots=True, eq=False)
class Fault:
    """One fault, as it was asked for, with the number of requests that it has struck.

    `name` says what goes wrong, in the name of the method that made it.
    """

    name: str
    aim: Aim
    misbehave: Misbehaviour = field(repr=False)
    seen: int = 0
    struck: int = 0

    def strikes(self, exchange: Exchange, dice: random.Random) -> bool:
        """Decide over one request."""
        if not self.aim.covers(exchange) or (self.aim.times is not None and self.struck >= self.aim.times):
            return False
        self.seen += 1
        if self.seen <= self.aim.after or dice.random() >= self.aim.probability:
            return False
        self.struck += 1
        return True


class Faults:
    """What is to go wrong, as `server.faults`; each method adds one fault, and takes an `Aim`'s fields.

    ```python
    server.faults.status(503, on="tasks.get", times=3)
    server.faults.lose_reply(on="workflows.run")
    server.faults.cut_stream(after=200)
    ```

    By default a fault strikes the next request it fits, once. Several that fit strike together, the first outermost.
    Latency, trickles and heartbeats take real time, because a client's time limits do.
    """

    def __init__(self, seed: int) -> None:
        """Misbehave in nothing yet."""
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.fired: list[tuple[str, Exchange]] = []
        """The name of each fault that struck, and the request that it struck, in order."""

    def __repr__(self) -> str:
        """Show how many there are, and how many have struck."""
        return f"<{type(self).__name__}: {self.count}, struck {len(self.fired)} times>"

    @property
    def count(self) -> int:
        """How many there are, those that have struck for the last time included."""
        return len(self._faults)

    def clear(self) -> None:
        """Behave from now on."""
        with self._lock:
            self._faults.clear()

    def striking(self, exchange: Exchange) -> list[Fault]:
        """Give the faults that strike a request, and note them."""
        with self._lock:
            faults = [fault for fault in self._faults if fault.strikes(exchange, self._dice)]
            self.fired.extend((fault.name, exchange) for fault in faults)
        return faults

    def _add(self, name: str, misbehave: Misbehaviour, aim: Aim) -> Fault:
        fault = Fault(name, aim, misbehave)
        with self._lock:
            self._faults.append(fault)
        return fault

    # Any call

    def status(
        self, code: int, *, message: str = "out of order", headers: Mapping[str, str] | None = None, **aim: object
    ) -> Fault:
        """Refuse with a status, without acting."""
        return self._add("status", misbehaviour.status(code, message, headers or {}), _aim(aim))

    def latency(self, seconds: float, **aim: object) -> Fault:
        """Take real time before acting."""
        return self._add("latency", misbehaviour.latency(seconds), _aim(aim))

    def lose_reply(self, **aim: object) -> Fault:
        """Act, then cut the connection instead of answering."""
        return self._add("lose_reply", misbehaviour.lose_reply, _aim(aim))

    def reset(self, at: ResetPoint = "start", **aim: object) -> Fault:
        """Cut the connection at the `start`, within the `head`, after the `headers`, or within the `body`."""
        return self._add("reset", misbehaviour.reset(at), _aim(aim))

    def truncate(self, keep: int, **aim: object) -> Fault:
        """End the connection politely after `keep` bytes of a body that was promised to be longer."""
        return self._add("truncate", misbehaviour.truncate(keep), _aim(aim))

    def short(self, keep: int, **aim: object) -> Fault:
        """Send only the first `keep` bytes of a body, as if they were all."""
        return self._add("short", misbehaviour.rewrite(lambda body: body[:keep]), _aim(aim))

    def oversize(self, size: int, **aim: object) -> Fault:
        """Enlarge a JSON response by `size` bytes."""
        return self._add("oversize", misbehaviour.edit_json(lambda value: value.update(padding="x" * size)), _aim(aim))

    def content_type(self, content_type: str, **aim: object) -> Fault:
        """Claim another content type."""
        return self._add("content_type", misbehaviour.claim(content_type), _aim(aim))

    def malformed(self, body: str = '{"id": ', **aim: object) -> Fault:
        """Send this instead of JSON."""
        return self._add("malformed", misbehaviour.rewrite(lambda _: body.encode()), _aim(aim))

    def trickle(self, *, size: int = 1, every: float = 0.01, **aim: object) -> Fault:
        """Send the body `size` bytes at a time, `every` real seconds."""
        return self._add("trickle", misbehaviour.trickle(size, every), _aim(aim))

    # What tasks say

    def unknown_fields(self, **aim: object) -> Fault:
        """Add undocumented fields to a JSON response."""
        return self._add("unknown_fields", misbehaviour.edit_json(_add_unknown_fields), _aim(aim))

    def unknown_status(self, word: str = "hibernating", **aim: object) -> Fault:
        """Use another value for the task's status, in a task, a result or a list."""
        return self._add("unknown_status", misbehaviour.edit_json(lambda value: _say(word, value)), _aim(aim))

    def odd_answers(self, *, seed: int = 0, **aim: object) -> Fault:
        """Answer all calls in ways that differ from the API's pages, and that a client can live with.

        Optional fields of answers and events are left out, hold something else, or are joined by new ones; times, numbers,
        statuses, lists, links, errors and definitions are written in other forms, and filters may be ignored. How each
        task ends can still be reported. By default it strikes every request.
        """
        return self._add("odd_answers", misbehaviour.odd_answers(seed), _aim({"times": None, **aim}))

    def lagging_result(self, **aim: object) -> Fault:
        """Let the result say that the task still runs."""
        return self._add("lagging_result", misbehaviour.edit_json(_still_running), _aim({"on": "tasks.result", **aim}))

    def link_lifetime(self, seconds: float, **aim: object) -> Fault:
        """Hand out presigned URLs that are valid for so many seconds of the server's clock; with 0 they have expired already."""

        async def shorten(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"]["exchange"].link_lifetime = seconds
            await app(scope, receive, send)

        return self._add("link_lifetime", shorten, _aim(aim))

    # Streams

    def cut_stream(self, *, after: int, how: Literal["reset", "close"] = "reset", **aim: object) -> Fault:
        """Break an event stream after so many bytes, by a reset or by a polite close."""
        return self._add("cut_stream", misbehaviour.cut_stream(after, how), _stream_aim(aim))

    def silent_stream(self, **aim: object) -> Fault:
        """Open an event stream and say nothing on it."""
        return self._add("silent_stream", misbehaviour.mute_stream(None), _stream_aim(aim))

    def heartbeats(self, *, every: float = 0.05, **aim: object) -> Fault:
        """Open an event stream and send comments on it, forever."""
        return self._add("heartbeats", misbehaviour.mute_stream(every), _stream_aim(aim))

    def duplicate_events(self, **aim: object) -> Fault:
        """Tell each event twice."""
        return self._add("duplicate_events", misbehaviour.edit_events(lambda: _twice), _stream_aim(aim))

    def reorder_events(self, **aim: object) -> Fault:
        """Tell each event after the one that follows it."""
        return self._add("reorder_events", misbehaviour.edit_events(_in_swapped_pairs), _stream_aim(aim))

    def conflicting_end(self, event: str = "failed", **aim: object) -> Fault:
        """Tell another end than the true one."""

        def lie(blocks: list[bytes]) -> list[bytes]:
            return [_ending_in(event, block) if _is_last(block) else block for block in blocks]

        return self._add("conflicting_end", misbehaviour.edit_events(lambda: lie), _stream_aim(aim))


class FaultLayer:
    """The layer around each call that lets the faults strike."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        for fault in reversed(self._faults.striking(scope["state"]["exchange"])):
            app = _wrap(fault.misbehave, app)
        await app(scope, receive, send)


def _wrap(misbehave: Misbehaviour, app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await misbehave(app, scope, receive, send)

    return wrapped


def _aim(fields: Mapping[str, object]) -> Aim:
    return Aim(**fields)  # type: ignore[arg-type]


def _stream_aim(fields: Mapping[str, object]) -> Aim:
    return _aim({"on": "tasks.events", **fields})


def _add_unknown_fields(value: dict[str, object]) -> None:
    value |= {"x_new_field": {"nested": [1, None]}, "x_another": None}


def _say(word: str, value: dict[str, object]) -> None:
    for item in value.get("task_list") or [value]:  # type: ignore[attr-defined]
        item["task_status"] = word


def _still_running(value: dict[str, object]) -> None:
    nothing = dict.fromkeys(("task_output", "download_url", "download_urls", "expires_at", "completed_at"))
    value |= {"task_status": "running", "task_error": "", **nothing}


def _twice(blocks: list[bytes]) -> list[bytes]:
    return [block for block in blocks for _ in range(2)]


def _in_swapped_pairs() -> EditEvents:
    held: list[bytes] = []

    def swap(blocks: list[bytes]) -> list[bytes]:
        held.extend(blocks)
        if len(held) % 2 and not _is_last(held[-1]):
            return []
        pairs = [held[start : start + 2][::-1] for start in range(0, len(held), 2)]
        held.clear()
        return [block for pair in pairs for block in pair]

    return swap


def _is_last(block: bytes) -> bool:
    return block.startswith((b"event: completed", b"event: failed", b"event: cancelled"))


def _ending_in(event: str, block: bytes) -> bytes:
    data = json.loads(block.partition(b"data: ")[2])
    lie = {"task_id": data["task_id"], "status": event} | ({"error": "so it says"} if event == "failed" else {})
    return f"event: {event}\ndata: {json.dumps(lie)}\n\n".encode()
