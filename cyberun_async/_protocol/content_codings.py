"""What `Content-Encoding` says of a body.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-content-codings
"""

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
    names = (name.strip().strip('"').lower() for name in content_encoding.split(","))
    return tuple(_COMPRESSIONS[name] for name in names if name in _COMPRESSIONS)


def name_as_stored(name: str, content_encoding: str) -> str:
    """Give the name of a file that is kept compressed as it is stored: `a.json.gz`, unless it ends so already."""
    endings = [_EXTENSIONS.get(coding, "") for coding in compressions(content_encoding)]
    if endings[:1] == [".gz"] and name.lower().endswith((".gz", ".tgz", ".svgz")):
        return name
    return name + "".join(ending for ending in endings if not name.lower().endswith(ending.lower()))
