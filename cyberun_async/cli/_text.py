"""What may be written to a terminal or a pipe, and how; either of the two outputs may be broken."""

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TextIO

from cyberun_async._protocol.timestamps import format_timestamp


class BrokenOutput(Exception):
    """Stdout takes nothing, for another reason than that its reader went away."""

    def __init__(self, reason: str) -> None:
        """Say why."""
        super().__init__(f"the output cannot be written: {reason}")


def occupy_closed_descriptors() -> None:
    """Open the null device in place of each of the three standard streams that is closed.

    Otherwise the first connection would take its number, and what is written there would be sent to the server.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def read_stdin() -> str:
    """Read what is on stdin, a byte-order mark left out.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is no text.

    """
    if sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    buffer = getattr(sys.stdin, "buffer", None)
    text: str = sys.stdin.read() if buffer is None else buffer.read().decode("utf-8-sig")
    return text


def printable(text: str) -> str:
    """Take out what could move a cursor or recolour a terminal: servers and files choose some of the text."""
    return "".join(character if character.isprintable() else " " for character in text)


def write_line(text: str) -> None:
    """Write one line of what was asked for, at once, so that a pipe can follow it.

    Raises:
        BrokenOutput: It cannot be written.
        BrokenPipeError: Its reader went away.

    """
    with _as_broken_output():
        _write(sys.stdout, text)


def write_json(fields: Mapping[str, object]) -> None:
    """Write one object on one line; fields without a value are left out."""
    write_line(json.dumps({key: value for key, value in fields.items() if value is not None}, default=_encode))


def print_status(text: str) -> bool:
    """Write a status line to stderr, and say whether that worked: without it the command continues."""
    try:
        _write(sys.stderr, "\n".join(map(printable, text.split("\n"))))
    except OSError:
        return False
    return True


def flush_output() -> None:
    """Write what others have left in stdout's buffer.

    Raises:
        BrokenOutput: It cannot be written.
        BrokenPipeError: Its reader went away.

    """
    if sys.stdout is not None:
        with _as_broken_output():
            _flush(sys.stdout)


def silence_output() -> None:
    """Let nothing more be written to stdout: Python would try it once more on its way out, and change the exit code."""
    if sys.stdout is not None:
        _silence(sys.stdout)


@contextmanager
def _as_broken_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BrokenOutput(error.strerror or str(error)) from None


def _write(stream: TextIO | None, text: str) -> None:
    # It is how Python says that a stream was closed before the program began.
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        print(text, file=stream)
    except OSError:
        _silence(stream)
        raise
    _flush(stream)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        _silence(stream)
        raise


def _silence(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return format_timestamp(value)
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)
