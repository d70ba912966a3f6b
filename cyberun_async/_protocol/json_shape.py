"""How many values a JSON text has, and how deep it nests, before anything of it is built. (bounds, memory, depth)

The text is taken in pieces, each of which yields, so that an event loop can be let in between. Every step is a call of
a regular expression or of `str.count` over a piece: to look at each character in Python would take a hundred times as
long.
"""

import re
from collections.abc import Generator, Iterator

from cyberun_async._errors import DecodeError

MAX_DEPTH = 100
"""Containers inside of one another; no response of the API has a tenth of that."""

MAX_VALUES = 1_000_000
"""Commas and containers of a response; 16 MiB of the densest list of tasks have half as many."""

PIECE = 64 * 1024
"""Characters that are taken between two steps."""

# Each matches at its first try, however the text goes on: no text makes it try again.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)', re.DOTALL)
_REST_OF_STRING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = re.compile(r"[^\[\]{}]+")


def check_shape(text: str, most: int = MAX_VALUES) -> Generator[None, None, None]:
    """Refuse a text that would take too much memory or too deep a recursion; yields after each piece.

    Args:
        text: JSON, or what claims to be.
        most: The most commas and containers.

    Raises:
        DecodeError: It has more, or nests deeper than `MAX_DEPTH`.

    """
    values = depth = 0
    for bare in _without_strings(text):
        opened = bare.count("[") + bare.count("{")
        values += bare.count(",") + opened
        if values > most:
            raise DecodeError(f"it has more than {most} values")
        if depth + opened <= MAX_DEPTH:
            depth += opened - bare.count("]") - bare.count("}")
        else:
            depth = _depth_after(bare, depth)
        yield


def _without_strings(text: str) -> Iterator[str]:
    """Give the text in pieces, less its strings, any of which may be longer than a piece."""
    at = 0
    while at < len(text):
        bare = _STRING.split(text[at : at + PIECE])
        at += PIECE
        # Between the parts is how each string ends: by a quote, or by that of the piece, perhaps within an escape.
        if len(bare) > 1 and bare[-2] != '"':
            rest = _REST_OF_STRING.match(text, at - len(bare[-2]))
            at = len(text) if rest is None else rest.end()
        yield "".join(bare[::2])


def _depth_after(bare: str, depth: int) -> int:
    for bracket in _NO_BRACKET.sub("", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise DecodeError("not JSON (nested too deeply)")
    return depth
