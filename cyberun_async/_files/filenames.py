"""The other names that a downloaded file may get: numbered where its own is taken, shorter where it is too long."""

from collections.abc import Iterator
from itertools import count

from cyberun_async._protocol.filenames import join_name, numbered_names, split_extension


def numbered(name: str) -> Iterator[str]:
    """Give the names that a file may have in a directory where others have some: its own, then `image-2.png`, …."""
    yield name
    yield from numbered_names(name, count(2))


def shortened(name: str) -> Iterator[str]:
    """Give a name, and then shorter ones for file systems that find it too long; each keeps its extension.

    A file system that encrypts names may take no more than 143 bytes, of which a temporary name needs some.
    """
    yield name
    stem, extension = split_extension(name)
    for most in (120, 80, 40, 20):
        if len(name.encode()) > most:
            yield join_name(stem, extension, most)
