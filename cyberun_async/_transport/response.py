"""What the server said to one call, and the record or the error that it stands for. (decode, structure, 4xx, 5xx)"""

from collections.abc import Generator
from types import NoneType
from typing import TypeVar

import attrs
import httpx

from cyberun_async._errors import APIError, DecodeError
from cyberun_async._protocol.base_url import not_found_advice
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.codec import item_builder, structure
from cyberun_async._protocol.error_responses import api_error
from cyberun_async._protocol.fields import holds_secret
from cyberun_async._protocol.json_steps import parse_in_steps
from cyberun_async._protocol.mismatch_log import MismatchLog
from cyberun_async._protocol.redaction import redact, redacted
from cyberun_async._protocol.secret import Key
from cyberun_async._protocol.tasks import Task, TaskResult, check_task, with_task_id

T = TypeVar("T")

_TO_WHAT_WAS_MADE = (301, 302, 303)
"""Redirects that do not repeat a POST; the pages of the first two, as of a proxy's login, have ids of their own."""


@attrs.frozen(eq=False)
class Response:
    """What the server said to one call; its body within the limit."""

    status: int
    headers: httpx.Headers = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    token: Key = attrs.field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the call was carried out."""
        return 200 <= self.status < 300

    @property
    def is_json(self) -> bool:
        """Whether it looks like the API's own: its error responses are JSON, and those of what stands before it are pages."""
        return self.body.lstrip()[:1] == b"{"


def is_result(call: Call[object], response: Response) -> bool:
    """Whether a response says what was asked for, and is no error response."""
    # A redirect is how some servers say where the task is that they have made.
    text = response.body if response.status == httpx.codes.SEE_OTHER else b""
    is_elsewhere = response.status in _TO_WHAT_WAS_MADE and can_be_read(call, text, response.headers)
    return response.is_success or is_elsewhere


def read_in_steps(call: Call[T], response: Response, mismatches: MismatchLog) -> Generator[None, None, T]:
    """Read what a response says, a large one in steps, between which the event loop may be let in.

    Raises:
        DecodeError: It is not what the API documents.

    """
    if call.returns is NoneType:
        return None  # type: ignore[return-value]
    if call.returns is Response:
        return response  # type: ignore[return-value]
    try:
        return (yield from _structured(call, response, mismatches))
    except DecodeError as error:
        failure = decode_error(call, error.problem, response.token, response.body)
    # In there, the first error would become its context, whose frames hold the whole response.
    raise failure


def _structured(call: Call[T], response: Response, mismatches: MismatchLog) -> Generator[None, None, T]:
    """Structure a body, and refuse what is about another task than was asked about."""
    if call.read is not None:
        return call.read(response.body, response.headers)
    value = yield from parse_in_steps(response.body, item_builder(call.returns, mismatches))
    if call.task_id is not None:
        value = with_task_id(value, call.task_id)
    record = structure(value, call.returns, mismatches)
    if call.task_id is not None and isinstance(record, (Task, TaskResult)):
        check_task(record.id, call.task_id)
    return record


def can_be_read(call: Call[object], body: bytes, headers: httpx.Headers) -> bool:
    """Whether a call reads its responses by itself, and finds what it asked for in this one, or in a part of it."""
    try:
        return call.read is not None and call.read(body, headers) is not None
    except DecodeError:
        return False


def error_of(call: Call[object], response: Response, base_url: str) -> APIError:
    """Give the error that an error response stands for; one from no Cyberun may be a mistake in the base URL."""
    return api_error(
        response.status,
        response.headers,
        response.body,
        method=call.method,
        path=call.path,
        secrets=(response.token,),
        advice=not_found_advice(base_url) if response.status == httpx.codes.NOT_FOUND else None,
        task_id=call.task_id,
    )


def decode_error(call: Call[object], problem: str, token: Key, body: bytes = b"") -> DecodeError:
    """Give the error for a response that is not what the API documents."""
    if holds_secret(call.returns):
        # Nobody knows that secret yet, so it could not be found in a text that has no form.
        body = b""
    return DecodeError(
        redact(problem, [token]),
        method=call.method,
        path=call.path,
        body=redacted(body, (token,)),
        task_id=call.task_id,
    )
