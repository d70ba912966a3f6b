"""Where the bytes of an input file come from, read in blocks."""

import inspect
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

import anyio.to_thread

from cyberun_async._errors import CyberunError, StorageError
from cyberun_async._protocol.files import InputFile, is_path

BLOCK_SIZE = 1024 * 1024
"""Bytes read in one go: large enough that changing threads costs less than the disk."""

T = TypeVar("T")


class Source(Protocol):
    """An input file, open.

    Attributes:
        size: Its exact number of bytes.

    """

    size: int

    async def rewind(self) -> bool:
        """Go back to the beginning, and say whether that can be done."""

    async def read(self) -> bytes:
        """Give the next block, or nothing at the end."""

    async def has_changed(self) -> bool:
        """Whether what was read may be of two versions."""

    async def aclose(self) -> None:
        """Close what was opened here."""


async def open_source(file: InputFile) -> Source:
    """Open an input file and find out its size.

    Raises:
        StorageError: It cannot be read, or is not of the size that was given.

    """
    source: Source
    if isinstance(file.source, (bytes, bytearray, memoryview)):
        source = _Bytes(file.source)
    elif hasattr(file.source, "__aiter__"):
        source = _Iterable(file)
    else:
        source = await in_thread(file, _File, file)
    if file.size is not None and file.size != source.size:
        await source.aclose()
        raise StorageError(
            f"it has {source.size} bytes, not the {file.size} that were given; give its exact size", file=file.name
        )
    return source


class _Bytes:
    """Bytes in memory, as they are now."""

    def __init__(self, data: "bytes | bytearray | memoryview") -> None:
        view = memoryview(data)
        self._data = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        self._at = 0
        self.size = len(self._data)

    async def rewind(self) -> bool:
        self._at = 0
        return True

    async def read(self) -> bytes:
        block = bytes(self._data[self._at : self._at + BLOCK_SIZE])
        self._at += len(block)
        return block

    async def has_changed(self) -> bool:
        return False

    async def aclose(self) -> None:
        self._data.release()


class _Iterable:
    """Bytes that come from elsewhere, once."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._blocks: AsyncIterator[bytes] | None = None
        self.size = file.size or 0

    async def rewind(self) -> bool:
        return self._blocks is None

    async def read(self) -> bytes:
        if self._blocks is None:
            self._blocks = self._file.source.__aiter__()  # type: ignore[union-attr]
        try:
            # An empty block is not the end.
            while not (block := await self._blocks.__anext__()):
                pass
        except StopAsyncIteration:
            return b""
        return check_block(self._file, block)

    async def has_changed(self) -> bool:
        return False

    async def aclose(self) -> None:
        """Leave it to its owner."""


class _File:
    """A file on disk, or an object with `read()` from where it stands; made in a thread."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._is_ours = is_path(file.source)
        self._io = _opened(file)
        try:
            self._start, self.size = _measured(self._io, file)
            self._version = _version(self._io)
        except BaseException:
            if self._is_ours:
                self._io.close()
            raise
        # Some give all they have at once, and take no number.
        self._most = (BLOCK_SIZE,) if _takes_a_number(self._io.read) else ()

    async def rewind(self) -> bool:
        if self._start is not None:
            await in_thread(self._file, self._io.seek, self._start)
        return self._start is not None

    async def read(self) -> bytes:
        return check_block(self._file, await in_thread(self._file, self._io.read, *self._most))

    async def has_changed(self) -> bool:
        return await in_thread(self._file, _version, self._io) != self._version

    async def aclose(self) -> None:
        if self._is_ours:
            await in_thread(self._file, self._io.close)


def _opened(file: InputFile) -> BinaryIO:
    if is_path(file.source):
        if file.size is None and stat.S_ISFIFO(Path(file.source).stat().st_mode):
            # Opening a pipe waits for a writer, perhaps for ever, and cannot be cancelled.
            raise StorageError("it cannot be measured; give its size", file=file.name)
        # Raw, since whole blocks are read; typed as what it stands in for.
        return cast("BinaryIO", Path(file.source).open("rb", buffering=0))
    return cast("BinaryIO", file.source)


def _measured(source: BinaryIO, file: InputFile) -> tuple[int | None, int]:
    """Give where an open file stands, unless it cannot go back there, and how many bytes it has from there on.

    Raises:
        StorageError: It cannot say how many, and its size was not given.

    """
    start = _position(source)
    if start is not None:
        with suppress(ValueError, OSError):  # What is compressed knows its end only once it was read.
            source.seek(0, os.SEEK_END)
            size = source.tell() - start
            source.seek(start)
            return start, size
    if file.size is None:
        raise StorageError("it cannot be measured; give its size", file=file.name)
    return start, file.size


def _position(source: BinaryIO) -> int | None:
    """Give where an open file stands, if it can go back there.

    Not everything that can be read has the methods for it: `SpooledTemporaryFile` has no `seekable` before Python 3.11,
    and others have nothing but `read`.
    """
    if getattr(source, "closed", False) is True:
        raise ValueError("it is closed")
    seekable = getattr(source, "seekable", None)
    if not hasattr(source, "seek") or not hasattr(source, "tell") or (seekable is not None and not seekable()):
        return None
    try:
        return source.tell()
    except (OSError, ValueError):
        return None


def _takes_a_number(read: Callable[..., object]) -> bool:
    try:
        inspect.signature(read).bind(BLOCK_SIZE)
    except TypeError:
        return False
    except ValueError:  # Some built-in functions do not say what they take.
        return True
    return True


def _version(file: BinaryIO) -> tuple[int, ...]:
    """Give what changes with a file on disk; nothing does with one in memory."""
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError, TypeError, ValueError):
        return ()
    return (status.st_mtime_ns, status.st_size)


def check_block(file: InputFile, block: object) -> bytes:
    """Give a block, if that is what it is."""
    if isinstance(block, (bytearray, memoryview)):
        return bytes(block)
    if not isinstance(block, bytes):
        raise StorageError(
            f"reading it gives {type(block).__name__}, not bytes; open it in binary mode", file=file.name
        )
    return block


async def in_thread(file: InputFile, work: Callable[..., T], *args: object) -> T:
    """Do what blocks, and raise what fails there as a `StorageError` about the file."""
    try:
        return await anyio.to_thread.run_sync(work, *args)
    except CyberunError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StorageError(
            f"it cannot be read: {reason}; check that it exists, is open and may be read", file=file.name
        ) from error
