"""Where parameters are checked: whether they fit a workflow's definition of them. (validate, min, max, options, required)

Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from reprlib import repr as shorten

from cyberun_async._protocol.files import is_file_like, problem_of_text, problems_with_file
from cyberun_async._protocol.json_schema import range_of
from cyberun_async._protocol.workflows import ParameterDef, Workflow

OTHERS = ParameterDef(key="")
"""Stands for the definitions of a workflow that could not be read: any key may be one of theirs."""


def definitions_of(workflow: Workflow) -> tuple[ParameterDef, ...]:
    """Give what a workflow takes, as far as it could be read."""
    return (*workflow.parameters, OTHERS) if "parameters" in workflow.extra else workflow.parameters


def problems_with(parameters: Mapping[str, object], definitions: Sequence[ParameterDef]) -> list[str]:
    """Give one sentence for each way in which the parameters do not fit; a type that is not known fits anything.

    A definition without parameters is no definition: the server may have left them out.
    """
    if not definitions:
        return []
    known = {definition.key: definition for definition in definitions if definition != OTHERS}
    is_complete = OTHERS not in definitions
    problems = [_unknown(key, list(known)) for key in parameters if is_complete and key not in known]
    for key, definition in known.items():
        if key in parameters:
            problems.extend(_problems(parameters[key], definition))
        elif definition.required:
            problems.append(f"{key!r} is required")
    return problems


def _unknown(key: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}"
    return f"{key!r} is not a parameter of this workflow ({hint})"


def _problems(value: object, definition: ParameterDef) -> Iterator[str]:
    if value is None:
        what_to_do = "it is required" if definition.required else "leave it out to use the default"
        yield f"{definition.key!r} must not be None: {what_to_do}"
    elif check := _CHECKS.get(definition.type):
        for problem in check(value, definition):
            yield f"{definition.key!r} {problem}"


def _text(value: object, _: ParameterDef) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"must be a string, not {type(value).__name__}"


def _number(value: object, definition: ParameterDef) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"must be a number, not {type(value).__name__}"
        return
    if isinstance(value, float) and not isfinite(value):
        yield f"must be a finite number, not {value!r}"
        return
    least, most = range_of(definition)
    if least is not None and value < least:
        yield f"must be at least {least:.15g}, not {value!r}"
    elif most is not None and value > most:
        yield f"must be at most {most:.15g}, not {value!r}"


def _boolean(value: object, _: ParameterDef) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"must be True or False, not {type(value).__name__}"


def _whole_number(value: object, definition: ParameterDef) -> Iterator[str]:
    if isinstance(value, float) and isfinite(value) and not value.is_integer():
        yield f"must be a whole number, not {value!r}"
    else:
        yield from _number(value, definition)


def _choice(value: object, definition: ParameterDef) -> Iterator[str]:
    # A server that writes numbers as text in one place may do so in the other.
    options = definition.options
    is_one = str(value) in map(str, options) or (isinstance(value, (int, float)) and value in options)
    if options and not is_one:
        yield f"must be one of {', '.join(map(repr, definition.options))}, not {shorten(value)}"


def _file(value: object, definition: ParameterDef) -> Iterator[str]:
    if is_file_like(value):
        yield from problems_with_file(value, definition.accept)
    elif isinstance(value, str):
        if problem := problem_of_text(value):
            yield problem
    else:
        yield f"must be a file (a path, bytes, an open file) or the key of an uploaded one, not {type(value).__name__}"


_CHECKS: Mapping[str, Callable[[object, ParameterDef], Iterator[str]]] = {
    "string": _text,
    "number": _number,
    "integer": _whole_number,
    "boolean": _boolean,
    "select": _choice,
    "file": _file,
}
