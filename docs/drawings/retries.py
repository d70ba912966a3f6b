"""What is retried, and after how long, as the client's own functions decide it."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable, Iterator
from itertools import chain
from urllib.parse import unquote

import httpx

from cyberun_async import CyberunError, Retries, TransportError
from cyberun_async._protocol import agents, containers, endpoints, users, webhooks, workflows
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.error_responses import api_error
from cyberun_async._transport.error_mapping import transport_error
from cyberun_async._transport.retry import delay_before_retry

MODULES = (workflows, endpoints, agents, containers, users, webhooks)

READING = Call("GET", "/", object)
SUBMITTING = Call("POST", "/", object, repeatable=False)

SILENCES = {
    "the name did not resolve, the port was closed, or TLS failed": httpx.ConnectError("refused"),
    "no connection in time": httpx.ConnectTimeout("late"),
    "the proxy refused": httpx.ProxyError("refused"),
    "the connection broke": httpx.ReadError("reset"),
    "no response in time": httpx.ReadTimeout("late"),
}
REFUSALS = {
    **{str(status): api_error(status, {}, b"", method="", path="") for status in (400, 401, 403, 404, 408, 409, 422)},
    "429": api_error(429, {}, b"", method="", path=""),
    "429 with `Retry-After: 7`": api_error(429, {"retry-after": "7"}, b"", method="", path=""),
    "429 with `Retry-After: 90`": api_error(429, {"retry-after": "90"}, b"", method="", path=""),
    **{str(status): api_error(status, {}, b"", method="", path="") for status in (500, 501, 502, 503, 504, 505)},
}

SAMPLES = {
    "ref": "…",
    "parameters": {},
    "task_id": "…",
    "name": "a.png",
    "size": 1,
    "content_type": "image/png",
    "slug": "…",
    "method": "POST",
    "path": "/",
    "webhook_id": "…",
    "display_name": "mine",
    "url": "https://app.example.com/",
    "events": ["task.failed"],
    "status": None,
}
"""One value for each argument of an endpoint, so that each can be asked for its call."""


def _failures() -> Iterator[tuple[str, CyberunError]]:
    yield from REFUSALS.items()
    for what, error in SILENCES.items():
        yield what, transport_error(READING, error)
    broken = httpx.ConnectError("certificate")
    broken.__cause__ = ssl.SSLCertVerificationError("expired")
    yield "a certificate that does not verify", transport_error(READING, broken)


def _answer(call: Call[object], failure: CyberunError) -> str:
    least, most = (
        delay_before_retry(call, failure, 1, elapsed=0.0, retries=Retries(), jitter=lambda chance=chance: chance)
        for chance in (0.0, 1.0)
    )
    if least is None or most is None:
        return "no"
    return f"after {least:g} to {most:g} s"


def failures() -> str:
    """Write what becomes of a call after each failure; answers that are treated alike share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for what, failure in _failures():
        is_silence = isinstance(failure, TransportError)
        arrived = ("maybe" if failure.may_have_been_sent else "no") if is_silence else "yes"
        outcome = (arrived, _answer(READING, failure), _answer(SUBMITTING, failure))
        rows.setdefault(outcome, []).append(what)
    lines = ["| what happened | arrived? | reading | submitting |"]
    lines.append("| --- | --- | --- | --- |")
    lines += [
        f"| {', '.join(what) if outcome[0] == 'yes' else '; '.join(what)} | {' | '.join(outcome)} |"
        for outcome, what in rows.items()
    ]
    return "\n".join(lines)


def calls() -> str:
    """Write which calls are taken for reading, and which for submitting."""
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for name, function in chain.from_iterable(inspect.getmembers(module, inspect.isfunction) for module in MODULES):
        if "Call[" in str(function.__annotations__.get("return")) and not name.startswith("_"):
            call = _sample(function)
            kinds[call.repeatable].append(f"`{call.method} {unquote(call.path)}`")
    lines = ["| treated as | calls |", "| --- | --- |"]
    lines.append(f"| reading: safe to send twice | {', '.join(kinds[True])} |")
    lines.append(f"| submitting: takes effect each time it arrives | {', '.join(kinds[False])} |")
    return "\n".join(lines)


def _sample(function: Callable[..., Call[object]]) -> Call[object]:
    parameters = inspect.signature(function).parameters.values()
    needed = [each for each in parameters if each.default is each.empty]
    return function(
        *(SAMPLES[each.name] for each in needed if each.kind is not each.KEYWORD_ONLY),
        **{each.name: SAMPLES[each.name] for each in needed if each.kind is each.KEYWORD_ONLY},
    )
