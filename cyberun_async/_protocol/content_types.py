"""The content types of input files, and which of them a parameter accepts."""

import re
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[,;|]")

UNKNOWN = "application/octet-stream"

# A table of our own, since the one of the standard library differs between systems and releases, and reads files.
_BY_EXTENSION = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".csv": "text/csv",
    ".exr": "image/x-exr",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".obj": "model/obj",
    ".ogg": "audio/ogg",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".stl": "model/stl",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".zip": "application/zip",
}

_EXTENSIONS = {kind: extension for extension, kind in _BY_EXTENSION.items()} | {
    "image/tiff": ".tiff",
    "image/jpeg": ".jpg",
}

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", b"", ".png"),
    (b"\xff\xd8\xff", b"", ".jpg"),
    (b"GIF8", b"", ".gif"),
    (b"RIFF", b"WEBP", ".webp"),
)


def content_type_of(name: str) -> str:
    """Give the content type that a file's name stands for."""
    return _BY_EXTENSION.get(_extension(name), UNKNOWN)


def name_of_type(content_type: str) -> str:
    """Give a name to a file of which only the content type is known."""
    kind = content_type.partition(";")[0].strip().lower()
    return f"file{_EXTENSIONS.get(kind) or _EXTENSIONS.get(_meant_by(kind) or '', '')}"


def name_of_picture(data: bytes) -> str:
    """Give a name to a file that has none: pictures are known by their first bytes."""
    for start, kind, extension in _SIGNATURES:
        if data.startswith(start) and data[8:].startswith(kind):
            return f"file{extension}"
    return "file"


def is_accepted(accept: Iterable[str], name: str, content_type: str) -> bool:
    """Whether a file is one of those that a parameter accepts.

    The grammar is not documented; what is understood is that of HTML (`image/png`, `image/*`, `.png`), and extensions
    without their dot. A file without name and type is left to the server.

    Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id
    """
    patterns = [pattern.strip().lower() for entry in accept for pattern in _SEPARATORS.split(entry) if pattern.strip()]
    extension, kind = _extension(name), content_type.partition(";")[0].strip().lower()
    if not patterns or (not extension and kind == UNKNOWN):
        return True
    return any(_matches(pattern, extension, kind) for pattern in patterns)


def _matches(pattern: str, extension: str, kind: str) -> bool:
    if pattern in {"*", "*/*"}:
        return True
    if "/" not in pattern:
        pattern = pattern.removeprefix("*")
        if kind.startswith(f"{pattern}/"):
            return True
        same_kind = _BY_EXTENSION.get(f".{pattern.lstrip('.')}")
        return extension == f".{pattern.lstrip('.')}" or (same_kind is not None and kind == same_kind)
    return kind.startswith(pattern[:-1]) if pattern.endswith("/*") else kind in (pattern, _meant_by(pattern))


def _meant_by(kind: str) -> str | None:
    """Give the type that is meant by one which is written like an extension: `image/jpg`, `audio/mp3`."""
    return _BY_EXTENSION.get(f".{kind.partition('/')[2]}")


def _extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return f".{extension.lower()}" if dot and stem else ""
