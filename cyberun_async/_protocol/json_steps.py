"""Reading a large JSON text item by item, in steps between which an event loop can be let in. (incremental, streaming)

`json` builds all of a text in one go, for which 16 MiB may take seconds. Here only small containers are left to it; the
large ones that hold them are gone through in Python. What is built is the same.
"""

import re
from collections.abc import Callable, Generator
from json import JSONDecodeError
from typing import TypeVar

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.json_shape import PIECE, check_shape
from cyberun_async._protocol.json_text import may_have_halves, mended, parse_at, parse_json

T = TypeVar("T")

LARGE = 256 * 1024
"""Bytes from which on a text is read in steps; what is smaller takes a few milliseconds."""

SMALL = 8 * 1024
"""Characters in which a container ends that is left to `json`."""

ItemOf = Callable[[str, object], object]
"""Makes something of an item of a list in the outermost container, whose name there is the first argument."""

_blank = re.compile(r"[ \t\n\r]*").match


def finished(steps: Generator[None, None, T]) -> T:
    """Take all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def parse_in_steps(data: bytes, item_of: ItemOf | None = None) -> Generator[None, None, object]:
    """Parse a JSON text as `parse_json` does; a large one in steps.

    Args:
        data: The text.
        item_of: Called with each item of a large list, so that the memory of the item is free again.

    Raises:
        DecodeError: It is not JSON, nests too deeply, or has too many values.

    """
    if len(data) <= LARGE:
        return parse_json(data)
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    yield from check_shape(text)
    try:
        reader = _Reader(text, item_of)
        value, end = yield from reader.value(_skip(text, 0), "", 0)
        if _skip(text, end) < len(text):
            raise JSONDecodeError("Extra data", text, end)
    except ValueError as error:
        problem = str(error)
    else:
        return value
    raise DecodeError(f"not JSON ({problem})")


def _skip(text: str, at: int) -> int:
    blank = _blank(text, at)
    return at if blank is None else blank.end()


def _as_it_is(value: object) -> object:
    return value


class _Reader:
    """Goes through the large containers of a text."""

    def __init__(self, text: str, item_of: ItemOf | None) -> None:
        """Begin at its first character."""
        self._text = text
        self._item_of = item_of
        self._mended: Callable[[object], object] = mended if may_have_halves(text) else _as_it_is
        self._next_step = PIECE

    def value(self, at: int, name: str, depth: int) -> Generator[None, None, tuple[object, int]]:
        """Read the value that begins at a place, and say where it ends."""
        small = self._small(at)
        if small is not None:
            return small
        if self._text[at] == "[":
            return (yield from self._list(at + 1, name, depth + 1))
        return (yield from self._object(at + 1, depth + 1))

    def _small(self, at: int) -> tuple[object, int] | None:
        """Give a value that is no container, or ends soon."""
        if self._text[at : at + 1] not in {"[", "{"}:
            value, end = parse_at(self._text, at)
            return self._mended(value), end
        try:
            value, end = parse_at(self._text[at : at + SMALL], 0)
        except ValueError:  # It is large, or wrong, which shows further in.
            return None
        return self._mended(value), at + end

    def _list(self, at: int, name: str, depth: int) -> Generator[None, None, tuple[object, int]]:
        items: list[object] = []
        item_of = self._item_of if depth <= 1 + bool(name) else None
        at = _skip(self._text, at)
        if self._text[at : at + 1] == "]":
            return items, at + 1
        while True:
            small = self._small(at)
            item, at = small if small is not None else (yield from self.value(at, "", depth))
            items.append(item if item_of is None else item_of(name, item))
            at = _skip(self._text, at)
            if at >= self._next_step:
                self._next_step = at + PIECE
                yield
            if self._text[at : at + 1] == "]":
                return items, at + 1
            at = self._after_comma(at)

    def _object(self, at: int, depth: int) -> Generator[None, None, tuple[object, int]]:
        members: dict[str, object] = {}
        at = _skip(self._text, at)
        if self._text[at : at + 1] == "}":
            return members, at + 1
        while True:
            if self._text[at : at + 1] != '"':
                raise JSONDecodeError("Expecting property name enclosed in double quotes", self._text, at)
            name, at = parse_at(self._text, at)
            at = _skip(self._text, at)
            if self._text[at : at + 1] != ":":
                raise JSONDecodeError("Expecting ':' delimiter", self._text, at)
            key = str(self._mended(name))
            members[key], at = yield from self.value(_skip(self._text, at + 1), key if depth == 1 else "", depth)
            at = _skip(self._text, at)
            if at >= self._next_step:
                self._next_step = at + PIECE
                yield
            if self._text[at : at + 1] == "}":
                return members, at + 1
            at = self._after_comma(at)

    def _after_comma(self, at: int) -> int:
        if self._text[at : at + 1] != ",":
            raise JSONDecodeError("Expecting ',' delimiter", self._text, at)
        return _skip(self._text, at + 1)
