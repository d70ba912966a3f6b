"""From `-p key=value` to what a workflow takes."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cyberun_async import AsyncClient, CyberunError, InvalidParameters, NotFoundError, ParameterDef, Workflow
from cyberun_async._protocol.files import is_path_in_form
from cyberun_async._resources.slug_suggestions import nearest_slugs
from cyberun_async.cli._text import read_stdin


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
            help="Set a parameter: `key=value`, or a file: `key=@path`.",
        ),
    ] = ()
    file: Annotated[
        Path | None,
        Parameter(
            name=["--params-file", "-P"],
            allow_leading_hyphen=True,
            help="Read parameters from a JSON file, `-` for stdin; `-p` goes first.",
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
    read, problems = read_values(texts, values, (await get_workflow(client, workflow)).parameters)
    if problems:
        raise InvalidParameters(problems)
    return read


async def get_workflow(client: AsyncClient, name: str) -> Workflow:
    """Read a workflow; where there is none of that name, the error names the nearest slugs."""
    try:
        return await client.workflows.get(name)
    except NotFoundError as error:
        with suppress(CyberunError):
            error.suggest(nearest_slugs(name, [each.slug async for each in client.workflows.list() if each.slug]))
        raise


def read_values(
    texts: Mapping[str, str], values: Mapping[str, object], definitions: Sequence[ParameterDef]
) -> tuple[dict[str, object], list[str]]:
    """Read parameters that come as text, and those that come as JSON, and find the files that they name.

    Returns:
        The parameters, and one sentence for each that cannot be read.

    """
    types = {each.key: each.type for each in definitions}
    read, problems = dict(values), []
    for key, text in texts.items():
        try:
            read[key] = _READERS.get(types.get(key, ""), str)(text)
        except (ValueError, KeyError):
            problems.append(f"{key!r} must be a {types[key]}, not {text!r}")
    for key, value in read.items():
        if types.get(key) == "file" and isinstance(value, str):
            path, problem = _file(key, value)
            read[key] = path or value
            problems += [problem] if problem else []
    return read, problems


def _split(pairs: Sequence[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair]:
        raise InvalidParameters([f"-p takes key=value, not {pair!r}" for pair in wrong])
    return {key: text for key, _, text in (pair.partition("=") for pair in pairs)}


def _load(file: Path | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        values = json.loads(read_stdin() if str(file) == "-" else file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidParameters([f"-P {file} cannot be read: {error.strerror}"]) from None
    except (ValueError, RecursionError) as error:
        raise InvalidParameters([f"-P {file} is not JSON: {error}"]) from None
    if not isinstance(values, dict):
        raise InvalidParameters([f"-P {file} must be a JSON object of parameters"])
    return values


def _number(text: str) -> object:
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

_READERS: Mapping[str, Callable[[str], object]] = {"number": _number, "boolean": lambda text: _WORDS[text.lower()]}


def _file(key: str, text: str) -> tuple[Path | None, str | None]:
    """Find the path behind `@path`, and say what is wrong with one; an `@` in a prompt is a part of it."""
    if text.startswith("@"):
        path = Path(text[1:])
        return path, None if _is_file(path) else f"{key!r}: there is no file {str(path)!r}"
    if _is_file(Path(text)) or is_path_in_form(text):
        return None, f"{key!r} names a file: write {key}=@{text} to upload it"
    return None, None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # It is too long, or has a null byte.
        return False
