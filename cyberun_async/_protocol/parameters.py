"""Whether parameters fit a workflow's definition of them.

Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite

from cyberun_async._protocol.workflows import ParameterDef


def problems_with(parameters: Mapping[str, object], definitions: Sequence[ParameterDef]) -> list[str]:
    """Give one sentence for each way in which the parameters do not fit; a type that is not known fits anything."""
    known = {definition.key: definition for definition in definitions}
    problems = [_unknown(key, list(known)) for key in parameters if key not in known]
    for key, definition in known.items():
        if key in parameters:
            problems.extend(_misfits(parameters[key], definition))
        elif definition.required:
            problems.append(f"{key!r} is required")
    return problems


def _unknown(key: str, known: Sequence[str]) -> str:
    close = get_close_matches(str(key), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; it takes {', '.join(known) or 'none'}"
    return f"{key!r} is not a parameter of this workflow{hint}"


def _misfits(value: object, definition: ParameterDef) -> Iterator[str]:
    if value is None:
        yield f"{definition.key!r} is None: leave it out to use the default"
    elif check := _CHECKS.get(definition.type):
        for misfit in check(value, definition):
            yield f"{definition.key!r} {misfit}"


def _text(value: object, _: ParameterDef) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"must be a string, not {type(value).__name__}"


def _number(value: object, definition: ParameterDef) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"must be a number, not {type(value).__name__}"
    elif not isfinite(value):
        yield f"must be a finite number, not {value!r}"
    elif definition.min is not None and value < definition.min:
        yield f"must be at least {definition.min:g}, not {value!r}"
    elif definition.max is not None and value > definition.max:
        yield f"must be at most {definition.max:g}, not {value!r}"


def _boolean(value: object, _: ParameterDef) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"must be True or False, not {type(value).__name__}"


def _choice(value: object, definition: ParameterDef) -> Iterator[str]:
    if definition.options and value not in definition.options:
        yield f"must be one of {', '.join(map(repr, definition.options))}, not {value!r}"


def _file(value: object, _: ParameterDef) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield "must be the file_key of an uploaded file"


_CHECKS: Mapping[str, Callable[[object, ParameterDef], Iterator[str]]] = {
    "string": _text,
    "number": _number,
    "boolean": _boolean,
    "select": _choice,
    "file": _file,
}
