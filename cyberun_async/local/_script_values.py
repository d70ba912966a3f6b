"""The life of a task as JSON: for scripts that come over HTTP, or from a file.

A step is an object with one key, the name of a function of `scripts`, and its arguments: an object has them by name, any
other value is the first one, and `null` stands for none: `{"status": "running"}`, `{"progress": {"step": 3, "total": 20}}`,
`{"complete": null}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import scripts
from ._control_values import MIB, MOST, YEAR, Check, number_between, or_none, text_up_to, whole_between
from ._http import ApiError

MAX_STEPS = 10_000

_TEXT = text_up_to(2000), "text of at most 2,000 characters"
_OBJECT = (lambda value: isinstance(value, Mapping)), "an object"
_STEPS = whole_between(0, MOST), "a whole number from 0"

_MAKERS: Mapping[str, tuple[Callable[..., scripts.Step], Mapping[str, tuple[Check, str]]]] = {
    "status": (scripts.status, {"word": (text_up_to(200), "text of at most 200 characters")}),
    "after": (scripts.after, {"seconds": (number_between(0, YEAR), "a number of seconds from 0 to a year")}),
    "progress": (
        scripts.progress,
        {
            "step": _STEPS,
            "total": (whole_between(1, MOST), "a whole number from 1"),
            "node": (or_none(_TEXT[0]), _TEXT[1]),
            "fraction": (or_none(number_between(-MOST, MOST)), "a number"),
            "stage": (or_none(_TEXT[0]), _TEXT[1]),
            "message": (or_none(_TEXT[0]), _TEXT[1]),
        },
    ),
    "complete": (scripts.complete, {"output": (or_none(_OBJECT[0]), "an object")}),
    "fail": (scripts.fail, {"message": _TEXT}),
    "cancel": (scripts.cancel, {}),
    "error": (scripts.error, {"message": _TEXT}),
    "event": (scripts.event, {"name": _TEXT, "data": _OBJECT}),
    "raw": (lambda text: scripts.raw(text.encode()), {"text": (text_up_to(MIB), "text")}),
}


@dataclass(frozen=True, slots=True)
class Script:
    """How the next tasks of a workflow live: `times` of them, or all where that is None."""

    workflow: str
    steps: Sequence[scripts.Step]
    times: int | None = 1


def read_script(value: object) -> Script:
    """Read a script from JSON: `workflow`, `steps`, and perhaps `times`.

    Raises:
        ApiError: 400, which says where it is wrong.
    """
    if not isinstance(value, Mapping):
        raise ApiError(400, "a script must be an object with workflow and steps")
    workflow, steps, times = value.get("workflow"), value.get("steps"), value.get("times", 1)
    if not text_up_to(200)(workflow) or not workflow:
        raise ApiError(400, "workflow must be a slug")
    if not isinstance(steps, list) or len(steps) > MAX_STEPS:
        raise ApiError(400, f"steps must be a list of at most {MAX_STEPS} steps")
    if not or_none(whole_between(1, MOST))(times):
        raise ApiError(400, "times must be a whole number from 1, or null for every task")
    if unknown := set(value) - {"workflow", "steps", "times"}:
        raise ApiError(400, f"a script has workflow, steps and times, not {min(map(str, unknown))[:100]}")
    made = [_step(step, f"steps[{number}]") for number, step in enumerate(steps)]
    return Script(str(workflow), made, times)


def _step(value: object, place: str) -> scripts.Step:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ApiError(400, f'{place} must be an object with one key, such as {{"status": "running"}}')
    ((name, given),) = value.items()
    if name not in _MAKERS:
        raise ApiError(400, f"{place} must be one of: {', '.join(_MAKERS)}")
    make, checks = _MAKERS[name]
    arguments = given if isinstance(given, Mapping) else {} if given is None else dict(zip(checks, [given]))  # noqa: B905 - one at most
    if given is not None and not arguments and not isinstance(given, Mapping):
        raise ApiError(400, f"{place}.{name} takes nothing: write null")
    for argument, item in arguments.items():
        check, expected = checks.get(argument, (None, ""))
        if check is None:
            raise ApiError(
                400, f"{place}.{name} has no {str(argument)[:100]}: it takes {', '.join(checks) or 'nothing'}"
            )
        if not check(item):
            raise ApiError(400, f"{place}.{name}.{argument} must be {expected}")
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        raise ApiError(400, f"{place}.{name}: {error}") from None
    return make(**arguments)
