"""What a batch leaves on the disk: a folder for each item, and a summary."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from cyberun_async import AsyncClient, CyberunError, InvalidParameters, Outcome
from cyberun_async._protocol.filenames import safe_name

SUMMARY = "summary.json"

MAX_NAME_LENGTH = 120
"""Bytes of a folder's name: file systems that encrypt names take 143, and it may get a digest."""


class Results:
    """The folder of a batch.

    Args:
        folder: Where it is.
        journal: The journal, which may be in there.

    """

    def __init__(self, folder: Path, journal: Path) -> None:
        """Take the place of the journal out of what items may have."""
        self._folder = folder
        self._taken = [SUMMARY]
        with suppress(ValueError):
            inside = journal.resolve().relative_to(folder.resolve())
            self._taken.extend(part.casefold() for part in inside.parts[:1])

    async def save(self, client: AsyncClient, outcome: Outcome) -> None:
        """Write down what became of an item, last of all, so that what is written down is also there.

        Raises:
            CyberunError: Its files cannot be fetched.
            OSError: They cannot be written.

        """
        folder = self.folder_of(outcome.key)
        note = folder / "outcome.json"
        fields = {
            "key": outcome.key,
            "task_id": outcome.task_id,
            "status": outcome.result.status if outcome.result else None,
            "output": outcome.result.output if outcome.result else None,
            "error": str(outcome.error) if outcome.error else None,
            "is_uncertain": outcome.is_uncertain,
        }
        text = json.dumps(fields, indent=2) + "\n"
        is_refused = outcome.task_id is None or isinstance(outcome.error, InvalidParameters)
        if await to_thread.run_sync(_is_settled, note, text, is_refused):
            return
        await to_thread.run_sync(_make_folder, folder)
        if outcome.succeeded and outcome.task_id is not None:
            # It also takes the name, which a file of the task may have.
            begun = json.dumps(fields | {"error": "its files are not all there yet"}, indent=2) + "\n"
            await to_thread.run_sync(write_whole, note, begun)
            await client.download(outcome.task_id, folder)
        await to_thread.run_sync(write_whole, note, text)

    def save_summary(self, fields: Mapping[str, object]) -> None:
        """Write the summary.

        Raises:
            CyberunError: It cannot be written.

        """
        path = self._folder / SUMMARY
        try:
            write_whole(path, json.dumps(fields) + "\n")
        except OSError as error:
            raise CyberunError(f"{path} cannot be written: {error.strerror}") from None

    def folder_of(self, key: str) -> Path:
        """Give the folder of an item: one that is its own on every file system."""
        name = safe_name(key)
        while len(name.encode()) > MAX_NAME_LENGTH:
            name = name[:-1]
        is_plain = (
            name == key
            # Some file systems take Lake for lake, and one way to write an accent for the other.
            and name == unicodedata.normalize("NFC", name.casefold())
            and not any(name == taken or name.startswith(f"{taken}-") for taken in self._taken)
            and not re.search(r"-[0-9a-f]{8}\Z", name)
        )
        return self._folder / (name if is_plain else f"{name}-{_digest(key)}")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:8]


def _is_settled(note: Path, text: str, is_refused: bool) -> bool:
    """Whether a note stays as it is: it says the same, or is of a task, and the item was refused this time."""
    try:
        there = note.read_bytes()
        fields = json.loads(there)
    except (OSError, ValueError, RecursionError):
        return False
    return there == text.encode() or (is_refused and isinstance(fields, dict) and bool(fields.get("task_id")))


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole, or as it was before.

    Raises:
        OSError: It cannot be written.

    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        # A write that finds the disk full does not say of which file.
        raise OSError(error.errno, error.strerror, str(path)) from None
