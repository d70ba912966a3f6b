"""By what the parameters of an item are recognized: a digest, in which a file counts by what it is. (dedup, idempotent)

A digest that depends on a file begins with the way in which files were compared, so that a journal written with the
other one, or by the first version, which compared the spelling of paths, is still understood.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import anyio.to_thread

from cyberun_async._batch.fingerprint import fingerprint
from cyberun_async._batch.outcome import Parameters
from cyberun_async._errors import StorageError
from cyberun_async._protocol.files import InputFile, input_file, is_path
from cyberun_async._validators import check_one_of

CompareFiles = Literal["content", "size_and_time"]
"""By what a journal knows a file parameter again, beside its path."""

BLOCK = 1024 * 1024

MAX_KNOWN = 1024
"""Files whose digests are kept: items of one batch often share a few."""


class FileDigests:
    """Gives the digests of parameters; a file that many items share is read once.

    Args:
        compare: By what files are compared.

    Raises:
        ConfigurationError: By no such thing.

    """

    def __init__(self, compare: CompareFiles) -> None:
        check_one_of(compare, "compare_files", *get_args(CompareFiles))
        self._compare = compare
        self._known: dict[tuple[object, ...], str] = {}

    def __repr__(self) -> str:
        """Show by what files are compared, and how many were read."""
        return f"<{type(self).__name__} by {self._compare}, {len(self._known)} files>"

    async def digest(self, parameters: Parameters) -> str:
        """Give the digest of an item's parameters.

        Raises:
            InvalidParameters: Something in them cannot be recognized again.
            StorageError: A file cannot be read.

        """
        return await self._digest(parameters, self._compare)

    async def is_same(self, digest: str, parameters: Parameters) -> bool:
        """Whether a digest of a journal is that of these parameters, by whatever files were compared when it was written."""
        compare, separator, _ = digest.partition(":")
        if compare in get_args(CompareFiles):
            return digest == await self._digest(parameters, compare)
        return not separator and digest == await anyio.to_thread.run_sync(fingerprint, parameters)

    async def _digest(self, parameters: Parameters, compare: str) -> str:
        if not any(map(_may_take_time, parameters.values())):
            return fingerprint(parameters)
        return await anyio.to_thread.run_sync(self._read, parameters, compare)

    # In a thread

    def _read(self, parameters: Parameters, compare: str) -> str:
        files = {
            key: self._identity(file, compare) for key, value in parameters.items() if (file := _file_on_disk(value))
        }
        digest = fingerprint({**parameters, **files})
        return f"{compare}:{digest}" if files else digest

    def _identity(self, file: InputFile, compare: str) -> Mapping[str, object]:
        assert is_path(file.source)
        try:
            path = Path(os.fsdecode(os.path.realpath(file.source)))
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                # A pipe has no end before its writer has, and what is read of it is gone.
                raise ValueError("it is no regular file")
            if compare == "content":
                version: object = self._content(path, status)
            else:
                version = [status.st_size, status.st_mtime_ns]
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            reason = f"it cannot be read: {said}; a journal recognises an item by the contents of its files"
            raise StorageError(reason, file=file.name) from error
        # What follows from the path's spelling does not count; what was given besides does.
        usual = InputFile(file.source)
        given = {field: getattr(file, field) for field in ("name", "content_type")}
        given = {field: value for field, value in given.items() if value != getattr(usual, field)}
        return {"path": str(path), compare: version, **given}

    def _content(self, path: Path, status: os.stat_result) -> str:
        # Whatever is written to a file changes the time of its last change, which no program can set.
        version = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if (known := self._known.get(version)) is not None:
            return known
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                digest.update(block)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[version] = digest.hexdigest()
        return digest.hexdigest()


def _may_take_time(value: object) -> bool:
    """Whether it takes a disk, or long, to know a value again."""
    return isinstance(value, (InputFile, os.PathLike, bytes, bytearray))


def _file_on_disk(value: object) -> InputFile | None:
    if isinstance(value, InputFile):
        return value if is_path(value.source) else None
    return input_file(value) if isinstance(value, os.PathLike) else None
