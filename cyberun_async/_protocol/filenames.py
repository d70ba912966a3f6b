"""The names that downloaded files get; nothing here waits or reads a disk.

Storage keys and output keys are chosen by a server and by those who named its files: they count as
hostile. No safe name starts with a dot, so a temporary file that does never stands in its way.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from urllib.parse import unquote

MAX_BYTES = 200
"""The longest safe name in UTF-8; file systems take 255, and temporary names need some of them."""

# What Windows does not allow (https://learn.microsoft.com/windows/win32/fileio/naming-a-file), and "~",
# because "PROGRA~1" is there another name for a file with a longer one.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*~]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) ?(?:\.|\Z)", re.IGNORECASE)

# Shown as nothing, though printable to Unicode: joiners, fillers, variation selectors, the blank of
# Braille. Some file systems ignore them, all readers do.
_UNSEEN = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

_EXTENSION = re.compile(r"(?:\.tar)?\.[^. ]{1,16}\Z", re.IGNORECASE)

# Not `urlsplit`, which raises for some hosts, with the URL in its message (RFC 3986, appendix B).
_AROUND_URL_PATH = re.compile(r"\A(?:[^:/?#]+:)?(?://[^/?#]*)?|[?#].*", re.DOTALL)


def safe_name(wanted: str) -> str:
    """Turn `wanted` into one harmless path component for Linux, macOS and Windows.

    The name is NFC, at most `MAX_BYTES` long with its extension kept, and never empty. It is always
    the same for the same `wanted`, and a safe name stays as it is.
    """
    name = _FORBIDDEN.sub("_", _visible(wanted)).strip(" .") or "file"
    if _RESERVED.match(name):
        name = f"_{name}"
    return name if len(name.encode()) <= MAX_BYTES else join_name(*split_extension(name))


def unique_names(wanted: Sequence[str]) -> tuple[str, ...]:
    """Give each wanted name a safe one of its own, in the same order.

    No two are equal on any file system, case-insensitive and normalising ones included. The first
    to want a name gets it; each later one gets a number ("image-2.png") that makes its name one
    that no other wants.
    """
    return tuple(_distinct([safe_name(name) for name in wanted]))


def name_from_key(key: str) -> str:
    """Give the last segment of a storage key as a wanted name.

    `tasks/019c65a0-…/output_00001_.png` gives `output_00001_.png`.
    """
    return re.split(r"[/\\]", key.rstrip("/\\"))[-1]


def name_from_url(url: str) -> str:
    """Give the last segment of a URL's path, percent-decoded, as a wanted name.

    Nothing of the query, where the signature is, gets into the name.
    """
    return name_from_key(unquote(_AROUND_URL_PATH.sub("", url)))


def name_from_output(output_key: str, stored_as: str) -> str:
    """Give an output key the extension of the file behind it, as a wanted name.

    `9.images.0` stored as `image.png` gives `9.images.0.png`; a key that ends so already stays as
    it is.

    Source: https://docs.cyberun.cloud/api-reference/task/get-task-result (`download_urls`).
    """
    extension = split_extension(stored_as)[1]
    if output_key.lower().endswith(extension.lower()):
        return output_key
    return output_key + extension


def _visible(text: str) -> str:
    seen = _UNSEEN.sub("", "".join(c for c in text if c.isprintable() or c.isspace()))
    # Last, since what was taken out may have kept two characters from composing.
    return unicodedata.normalize("NFC", " ".join(seen.split()))


def _distinct(names: Sequence[str]) -> Iterator[str]:
    taken = {_identity(name) for name in names}
    numbers: dict[str, Iterator[int]] = {}
    for name in names:
        identity = _identity(name)
        if identity not in numbers:
            numbers[identity] = count(2)
            yield name
        else:
            candidates = numbered_names(name, numbers[identity])
            free = next(c for c in candidates if _identity(c) not in taken)
            taken.add(_identity(free))
            yield free


def numbered_names(name: str, numbers: Iterable[int]) -> Iterator[str]:
    """Give a name with each number before its extension: `image-2.png`."""
    stem, extension = split_extension(name)
    return (join_name(stem, f"-{number}{extension}") for number in numbers)


def _identity(name: str) -> str:
    # Coarser than any file system: some compare in upper case, some fold, some decompose.
    folded = unicodedata.normalize("NFD", name).upper().casefold()
    return unicodedata.normalize("NFD", folded)


def split_extension(name: str) -> tuple[str, str]:
    """Give the stem and the extension of a name, with its dot; `.tar.gz` is one."""
    extension = _EXTENSION.search(name)
    return (name[: extension.start()], extension[0]) if extension else (name, "")


def join_name(stem: str, ending: str, most: int = MAX_BYTES) -> str:
    """Join a stem and an ending, with no more bytes of UTF-8 than that; the stem is what is shortened."""
    room = most - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(" .") + ending
