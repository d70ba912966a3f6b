"""What may be written to a terminal or a pipe, and how."""

import json
from collections.abc import Mapping
from datetime import datetime

from cyberun_async._protocol.timestamps import format_timestamp


def printable(text: str) -> str:
    """Take out what could move a cursor or recolour a terminal: servers and files choose some of the text."""
    return "".join(character if character.isprintable() else " " for character in text)


def write_line(text: str) -> None:
    """Write one line of what was asked for, at once, so that a pipe can follow it."""
    print(text, flush=True)


def write_json(fields: Mapping[str, object]) -> None:
    """Write one object on one line; fields without a value are left out."""
    write_line(json.dumps({key: value for key, value in fields.items() if value is not None}, default=_encode))


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return format_timestamp(value)
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)
