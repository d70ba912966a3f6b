"""From `-p key=value` to what a workflow takes."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import AsyncClient, InvalidParameters, ParameterDef


@Parameter(name="*")
@dataclass(frozen=True)
class Given:
    """The parameters as the command line has them."""

    pairs: Annotated[
        tuple[str, ...],
        Parameter(
            name=["--param", "-p"],
            negative="",
            show_default=False,
            help="Set a parameter by `key=value`, and one that takes a file by `key=@path`; can be repeated.",
        ),
    ] = ()
    file: Annotated[
        Path | None,
        Parameter(
            name=["--params-file", "-P"],
            allow_leading_hyphen=True,
            help="Read parameters from this file, a JSON object, `-` for stdin; those of `-p` go before them.",
        ),
    ] = None


async def read_parameters(client: AsyncClient, workflow: str, given: Given) -> dict[str, object]:
    """Give each value the type that the workflow's definition has for it; the submission checks and uploads them.

    Raises:
        InvalidParameters: Some cannot be read as their type.

    """
    texts, values = _split(given.pairs), _load(given.file)
    if not texts and not values:
        return {}
    definitions = (await client.workflows.get(workflow)).parameters
    values |= typed(texts, definitions)
    return values | _files(values, definitions)


def _split(pairs: Sequence[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair]:
        raise InvalidParameters([f"-p takes key=value, not {pair!r}" for pair in wrong])
    return {key: text for key, _, text in (pair.partition("=") for pair in pairs)}


def _load(file: Path | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        values = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidParameters([f"-P {file} cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise InvalidParameters([f"-P {file} is not JSON: {error}"]) from None
    if not isinstance(values, dict):
        raise InvalidParameters([f"-P {file} must be a JSON object of parameters"])
    return values


def typed(texts: Mapping[str, str], definitions: Sequence[ParameterDef]) -> dict[str, object]:
    """Read each text as the type that its parameter has; those that the workflow does not have stay texts."""
    types = {each.key: each.type for each in definitions}
    values: dict[str, object] = {}
    problems = []
    for key, text in texts.items():
        try:
            values[key] = _READERS.get(types.get(key, ""), str)(text)
        except (ValueError, KeyError):
            problems.append(f"{key!r} must be a {types[key]}, not {text!r}")
    if problems:
        raise InvalidParameters(problems)
    return values


def _number(text: str) -> object:
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

_READERS: Mapping[str, Callable[[str], object]] = {"number": _number, "boolean": lambda text: _WORDS[text.lower()]}


def _files(values: Mapping[str, object], definitions: Sequence[ParameterDef]) -> dict[str, Path]:
    """Find the `@path` of each file parameter; an `@` in a prompt is a part of it."""
    keys = {each.key for each in definitions if each.type == "file"}
    texts = {key: value for key, value in values.items() if key in keys and isinstance(value, str)}
    paths = {key: Path(text[1:]) for key, text in texts.items() if text.startswith("@")}
    problems = [f"{key!r}: there is no file {str(path)!r}" for key, path in paths.items() if not path.is_file()]
    for key, text in texts.items():
        if key not in paths and Path(text).is_file():
            problems.append(f"{key!r} names a file here: write {key}=@{text} to upload it")
    if problems:
        raise InvalidParameters(problems)
    return paths
