"""The items of a batch, from their file: all of them are read and checked before the first is submitted."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyberun_async import InvalidParameters, ParameterDef
from cyberun_async._batch.journal_rows import is_storable
from cyberun_async._protocol.json_text import encode_json
from cyberun_async._protocol.validation import problems_with
from cyberun_async.cli._parameters import read_values

Fields = dict[str, object]


@dataclass(frozen=True)
class Line:
    """One line of the file.

    Attributes:
        number: Its number, from 1.
        fields: What stands there, by name; empty where it cannot be read.
        problem: Why it cannot be read.

    """

    number: int
    fields: Fields
    problem: str | None = None


@dataclass(frozen=True)
class Lines:
    """The lines of a file.

    Attributes:
        path: The file.
        key: The field that names each item; without one its line number does.
        lines: Those that are not blank.

    """

    path: Path
    key: str | None
    lines: Sequence[Line]

    @property
    def are_texts(self) -> bool:
        """Whether every field is text, which is read as what its parameter takes."""
        return _is_csv(self.path)


@dataclass(frozen=True)
class Problem:
    """Why a line cannot be submitted.

    Attributes:
        line: Its number, from 1.
        text: The reason.

    """

    line: int
    text: str


@dataclass(frozen=True)
class Items:
    """What a file holds.

    Attributes:
        by_key: The parameters of each item.
        problems: What is wrong with any of them.

    """

    by_key: dict[str, Fields]
    problems: list[Problem]


def read_lines(path: Path, key: str | None) -> Lines:
    """Read a file of JSON Lines, or a CSV.

    Raises:
        InvalidParameters: It cannot be read, or none of its lines has the key.

    """
    lines = [*(_rows if _is_csv(path) else _objects)(_text(path))]
    readable = [line.fields for line in lines if not line.problem]
    if key is not None and readable and not any(key in fields for fields in readable):
        names = ", ".join(dict.fromkeys(name for fields in readable for name in fields))
        raise InvalidParameters([f"{path} has no field {key!r} for --key: there are {names}"])
    return Lines(path, key, lines)


def check_items(lines: Lines, definitions: Sequence[ParameterDef]) -> Items:
    """Read each item as what the workflow takes."""
    items = Items({}, [])
    first_lines: dict[str, int] = {}
    for line in lines.lines:
        if line.problem:
            problems = [line.problem]
        else:
            name, problem = _name(line, lines.key, first_lines)
            first_lines.setdefault(name, line.number)
            fields = {field: value for field, value in line.fields.items() if field != lines.key}
            items.by_key[name], problems = _parameters(fields, definitions, are_texts=lines.are_texts)
            problems = [problem, *problems] if problem else problems
        items.problems.extend(Problem(line.number, text) for text in problems)
    return items


def _name(line: Line, key: str | None, first_lines: Mapping[str, int]) -> tuple[str, str | None]:
    """Give the key of an item, and what is wrong with it."""
    name = line.number if key is None else line.fields.get(key)
    if name is None:
        return f"line {line.number}", f"the key {key!r} is missing"
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        return f"line {line.number}", f"the key {name!r} must be a text or a whole number"
    if str(name) in first_lines:
        return str(name), f"the key {str(name)!r} is there already, in line {first_lines[str(name)]}"
    return str(name), None if is_storable(str(name)) else f"the key {name!r} is not valid text"


def _parameters(fields: Fields, definitions: Sequence[ParameterDef], *, are_texts: bool) -> tuple[Fields, list[str]]:
    """Give the parameters of an item, and what is wrong with them."""
    if are_texts:
        values, problems = read_values({name: str(text) for name, text in fields.items()}, {}, definitions)
    else:
        values, problems = read_values({}, fields, definitions)
    return values, problems or problems_with(values, definitions) or _problems_of_json(values)


def _problems_of_json(values: Fields) -> list[str]:
    """Find what no request can carry; a file is sent by itself."""
    try:
        encode_json({name: value for name, value in values.items() if not isinstance(value, Path)})
    except InvalidParameters as error:
        return list(error.problems)
    return []


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidParameters([f"{path} cannot be read: {error.strerror}"]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidParameters([f"{path} cannot be read: line {line} is not UTF-8"]) from None


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _rows(text: str) -> Iterator[Line]:
    """Read a CSV; a cell that is empty is left out."""
    # Strict: else a quote that is never closed would take all that follows for one cell.
    rows = csv.reader(_with_ends(text), strict=True)
    try:
        names = next(rows, [])
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            yield Line(1, {}, f"the head has {twice[0]!r} twice")
        for row in rows:
            if len(row) > len(names):
                problem = f"it has {len(row)} cells, and the head has {len(names)}: quote what has a comma in it"
                yield Line(rows.line_num, {}, problem)
            elif row:
                yield Line(rows.line_num, {name: cell for name, cell in zip(names, row, strict=False) if cell})
    except csv.Error as error:
        yield Line(rows.line_num, {}, f"it is not CSV: {error}; what comes after it was not read")


def _objects(text: str) -> Iterator[Line]:
    """Read JSON Lines; a blank one is none."""
    for number, line in enumerate(_with_ends(text), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Line(number, {}, f"it is not JSON: {error}")
        else:
            is_object = isinstance(fields, dict)
            yield Line(
                number, fields if is_object else {}, None if is_object else "it must be a JSON object of parameters"
            )


def _with_ends(text: str) -> Iterator[str]:
    """Give lines as files have them: `splitlines()` would also break where a text has a separator of its own."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
