"""The response to a submission: which task it made.

Each submission is billed, so its response is never thrown away: wherever a server says the id, it is found there.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from cyberun_async._errors import DecodeError, InvalidParameters
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.paths import segment
from cyberun_async._protocol.tasks import Submitted

_ENVELOPES = ("task", "data", "result", "response", "payload")

_TASK_PATH = re.compile(r".*/tasks/([^/]+)/?", re.DOTALL)


def read_submitted(body: bytes, headers: Mapping[str, str]) -> Submitted:
    """Find the id of a task in the response to its submission: in `task_id`, `id`, the same in an envelope, or the path of `Location`.

    Beside an error, which some servers send with a 200, an `id` is that of the request.

    Raises:
        DecodeError: There is none, or there are two that differ.

    """
    value, problem = _parse(body)
    ids = {where: task_id for where, task_id in _ids(value, headers) if task_id is not None}
    if not ids:
        raise DecodeError(problem)
    if len({task_id.lower() for task_id in ids.values()}) > 1:
        named = ", ".join(f"{where} {task_id!r}" for where, task_id in ids.items())
        raise DecodeError(f"it names different tasks: {named}")
    return Submitted(next(iter(ids.values())))


def _parse(body: bytes) -> tuple[object, str]:
    """Give the body's value, and what is wrong with it as long as nothing else names the task."""
    try:
        value = parse_json(body)
    except DecodeError as error:
        return None, error.problem
    if not isinstance(value, dict):
        return None, f"$: expected an object, not {type(value).__name__}"
    if said := _error(value):
        return value, f"it says {said!r}, and names no task"
    return value, "$: task_id is missing"


def _error(value: object) -> str:
    error = value.get("error_message") if isinstance(value, dict) else None
    return error.strip() if isinstance(error, str) else ""


def _ids_in(value: object, place: str = "", *, is_error: bool = False) -> Iterator[tuple[str, str | None]]:
    if isinstance(value, dict):
        is_error = is_error or bool(_error(value))
        yield f"{place}task_id", _id(value.get("task_id"))
        yield f"{place}id", None if is_error else _id(value.get("id"))
        for name in _ENVELOPES:
            yield from _ids_in(value.get(name), f"{name}.", is_error=is_error)


def _ids(value: object, headers: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    yield from _ids_in(value)
    yield "Location", _id_in_path(headers.get("location", ""))


def _id(value: object) -> str | None:
    """Give an id as text, or `None` where the value cannot stand for a task in a path."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value):
        value = str(int(value))
    # In place of what is no text there is a replacement character, with which no task can be found again.
    if not isinstance(value, str) or "\N{REPLACEMENT CHARACTER}" in value:
        return None
    try:
        segment(value.strip(), "task_id")
    except InvalidParameters:
        return None
    return value.strip()


def _id_in_path(location: str) -> str | None:
    try:
        path = urlsplit(location).path
    except ValueError:
        return None
    found = _TASK_PATH.fullmatch(path)
    return _id(unquote(found[1])) if found else None
