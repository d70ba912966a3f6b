"""What `Content-Encoding` says of a body, and how it is undone.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-content-codings
"""

import zlib

_COMPRESSIONS = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "br": "br",
    "zstd": "zstd",
    "compress": "compress",
    "x-compress": "compress",
    "dcb": "dcb",
    "dcz": "dcz",
    "bzip2": "bzip2",
    "lzma": "lzma",
    "xz": "xz",
}
"""Every name of a compression in use, registered with IANA or not.

What is not one of them changes no byte, whatever it is meant to say: web frameworks send `none`, `utf-8` and an empty
value, and S3 keeps `aws-chunked`, which is of the upload.
"""

_GZIP_START = b"\x1f\x8b"

_EXTENSIONS = {
    "gzip": ".gz",
    "br": ".br",
    "zstd": ".zst",
    "compress": ".Z",
    "bzip2": ".bz2",
    "lzma": ".lzma",
    "xz": ".xz",
}


def compressions(content_encoding: str) -> tuple[str, ...]:
    """Give the compressions that were applied to a body, in order; none for one that is as it is."""
    if not content_encoding:
        return ()
    names = (name.strip().strip('"').lower() for name in content_encoding.split(","))
    return tuple(_COMPRESSIONS[name] for name in names if name in _COMPRESSIONS)


def decompress(body: bytes, content_encoding: str, most: int) -> bytes:
    """Undo the compressions of a body, and stop at `most` bytes, of which a few may expand to gigabytes.

    Raises:
        ValueError: It is compressed by what is not understood here, or is not what it says; with the reason.

    """
    for coding in reversed(compressions(content_encoding)):
        if coding not in {"gzip", "deflate"}:
            message = f"compressed by {content_encoding[:100]!r}, which was not asked for"
            raise ValueError(message)
        try:
            body = _gunzip(body, most) if coding == "gzip" else _inflate(body, most)
        except zlib.error as error:
            message = f"compressed by {content_encoding[:100]!r}, and does not expand ({error})"
            raise ValueError(message) from None
    return body[:most]


def _gunzip(body: bytes, most: int) -> bytes:
    """Expand every member; what follows the last one is padding."""
    expanded = b""
    while not expanded or body.startswith(_GZIP_START):
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        expanded += member.decompress(body, most - len(expanded))
        body = member.unused_data
        if not body or len(expanded) >= most:
            break
    return expanded


def _inflate(body: bytes, most: int) -> bytes:
    """Expand a zlib stream, or what some servers send in its place, a raw one."""
    try:
        return zlib.decompressobj().decompress(body, most)
    except zlib.error:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, most)


def name_as_stored(name: str, content_encoding: str) -> str:
    """Give the name of a file that is kept compressed as it is stored: `a.json.gz`, unless it ends so already."""
    endings = [_EXTENSIONS.get(coding, "") for coding in compressions(content_encoding)]
    if endings[:1] == [".gz"] and name.lower().endswith((".gz", ".tgz", ".svgz")):
        return name
    return name + "".join(ending for ending in endings if not name.lower().endswith(ending.lower()))
