"""Input files on their way to storage."""

import os
import re
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.content_types import content_type_of, is_accepted, name_of_picture, name_of_type
from cyberun_async._protocol.fields import extra_field, redact_repr, wire
from cyberun_async._protocol.headers import headers_of
from cyberun_async._protocol.record import Record
from cyberun_async._validators import check_kind, is_whole_number

if TYPE_CHECKING:
    from typing import TypeGuard

FileSource = str | os.PathLike[str] | bytes | BinaryIO | AsyncIterable[bytes]
"""What the bytes of an input file come from."""


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class PresignedUpload(Record):
    """A place in storage that one file may be sent to.

    Source: https://docs.cyberun.cloud/api-reference/file/request-a-presigned-upload-url

    Attributes:
        file_key: The value to give for a `file` parameter; opaque.
        upload_url: A presigned URL for one PUT of the file's bytes, without a key; never shown.
        upload_headers: To be sent with that PUT exactly as they are, since they are signed; never shown.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    file_key: str
    upload_url: str = wire(hidden="url")
    upload_headers: Mapping[str, str] = wire(read=headers_of, factory=dict, hidden="url")
    extra: Mapping[str, object] = extra_field()


def is_path(source: object) -> "TypeGuard[str | os.PathLike[str]]":
    """Whether a source names a file on disk."""
    return isinstance(source, (str, os.PathLike))


def is_file_like(value: object) -> bool:
    """Whether the value of a parameter is a file to upload; text is not, since it is the key of one that was."""
    return isinstance(value, (InputFile, os.PathLike)) or _is_source(value)


def _is_source(value: object) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview)) or hasattr(value, "__aiter__") or hasattr(value, "read")


def _check_source(_: "InputFile", __: "attrs.Attribute[FileSource]", value: object) -> None:
    if not is_path(value) and not _is_source(value):
        raise InvalidParameters(
            [f"a file must be a path, bytes, a binary file or an async iterable, not {type(value).__name__}"]
        )
    if isinstance(value, str) and (problem := _problem_of_path(value)):
        raise InvalidParameters([problem])
    if not hasattr(value, "__aiter__") and iscoroutinefunction(getattr(value, "read", None)):
        raise InvalidParameters([f"{type(value).__name__}.read() is async: give the plain file inside of it"])


def _problem_of_path(text: str) -> str | None:
    """Say why text cannot be the path of a file; nothing of it is repeated: a URL may be signed, a data URI long."""
    if not text.strip():
        return "the path of a file must not be empty"
    if _DATA.match(text.lstrip()):
        return "a file must be a path or bytes, not a data URI: use InputFile.from_data_uri(...)"
    if _URL.match(text.lstrip()):
        return "a file must be a path or bytes, not a URL: fetch it, and give its bytes"
    return None


def _check_size(file: "InputFile", _: "attrs.Attribute[int | None]", size: object) -> None:
    if size is None and hasattr(file.source, "__aiter__"):
        raise InvalidParameters(["an async iterable needs its size: its exact number of bytes"])
    if size is not None and not is_whole_number(size):
        raise InvalidParameters([f"the file's size must be its exact number of bytes, not {size!r}"])


def _own_name(file: "InputFile") -> str:
    """Find a name: that of the path or of the open file, or one by the first bytes."""
    if is_path(file.source):
        return Path(file.source).name
    if isinstance(file.source, (bytes, bytearray, memoryview)):
        return name_of_picture(bytes(file.source[:16]))
    name = getattr(file.source, "name", None)
    return (Path(name).name if isinstance(name, str) else "") or "file"


def _type_of_name(file: "InputFile") -> str:
    return content_type_of(file.name)


def _text(value: str) -> str:
    # A validator would come too late: the content type is derived from the name before.
    check_kind(value, str, "the name or content type of a file", "a string")
    return value


def _shown(source: FileSource) -> str:
    """Show a path; what else there is may be long, or a secret."""
    return repr(source) if is_path(source) else f"<{type(source).__name__}>"


@attrs.frozen(eq=False)
class InputFile:
    """An input file for a `file` parameter, with its name, its media type and its size.

    A `pathlib.Path`, bytes or a file object can be given as they are, if these follow from them; text stands for a path
    only here, since as a parameter it is the key of a file that was uploaded before.

    ```python
    await client.run("img2img", {"image": InputFile("cat.png"), "mask": InputFile(data, name="mask.png")})
    ```

    Attributes:
        source: A path, also as text, bytes, a binary file object (read from its position), or an async iterable of bytes.
        name: The file's name with its extension; by default that of the path or of the open file, and `file.png` and the
            like for bytes that are a picture.
        content_type: Its media type; by default that of the name.
        size: Its exact number of bytes; required for async iterables, and for files without `seek` and `tell`.

    Raises:
        InvalidParameters: It cannot be a file; nothing was sent.

    Source: https://docs.cyberun.cloud/api-reference/file-upload

    """

    source: FileSource = attrs.field(validator=_check_source, repr=_shown)
    name: str = attrs.field(kw_only=True, default=attrs.Factory(_own_name, takes_self=True), converter=_text)
    content_type: str = attrs.field(
        kw_only=True, default=attrs.Factory(_type_of_name, takes_self=True), converter=_text
    )
    size: int | None = attrs.field(kw_only=True, default=None, validator=_check_size)

    @classmethod
    def from_data_uri(cls, uri: str, *, name: str | None = None, max_bytes: int = 64 * 1024 * 1024) -> "InputFile":
        """Make the file that a data URI holds, as a page or a language model gives it.

        It decodes at once: for more than some megabytes, `anyio.to_thread.run_sync` keeps the event loop free.

        ```python
        picture = InputFile.from_data_uri("data:image/png;base64,iVBORw0KGgo=")
        ```

        Args:
            uri: `data:[media type][;base64],DATA`; without `;base64` the data are percent-encoded.
            name: The file's name with its extension; one that fits the media type by default, such as `file.png`.
            max_bytes: The most that it may hold; 64 MiB by default.

        Raises:
            InvalidParameters: It is damaged, empty or larger; nothing was sent.

        """
        from cyberun_async._protocol.data_uri import read_data_uri

        check_kind(uri, str, "uri", "a data URI as text")
        if not is_whole_number(max_bytes, minimum=1):
            raise InvalidParameters([f"max_bytes must be a whole number above zero, not {max_bytes!r}"])
        content, media_type = read_data_uri(uri, max_bytes)
        return cls(content, name=name_of_type(media_type) if name is None else name, content_type=media_type)


def input_file(
    source: object, *, name: str | None = None, content_type: str | None = None, size: int | None = None
) -> InputFile:
    """Give the record of a file, with what was said of it."""
    if isinstance(source, InputFile):
        return source
    said = {"name": name, "content_type": content_type, "size": size}
    return InputFile(source, **{key: value for key, value in said.items() if value is not None})  # type: ignore[arg-type]


_URL = re.compile(r"[a-z][a-z0-9+.-]+://|(?:blob|file):", re.IGNORECASE)
_DATA = re.compile(r"data:", re.IGNORECASE)
_PATH = re.compile(r"[/\\]|\.{1,2}(?:[/\\]|$)|~(?:\w*[/\\]|$)|[a-z]:", re.IGNORECASE)


def is_path_in_form(text: str) -> bool:
    """Whether text has the form of a path, wherever that may lead."""
    return _PATH.match(text.lstrip()) is not None


def problem_of_text(text: str) -> str | None:
    """Say what text is that cannot be the key of an uploaded file, and what to give in its place.

    Only its form counts: reading the disk would block, and let a web user find out which files there are.
    """
    text = text.lstrip()
    if not text:
        return "must not be empty: give a file, or the key of an uploaded one"
    if _DATA.match(text):
        return "must be the key of an uploaded file, not a data URI: give InputFile.from_data_uri(...)"
    if _URL.match(text):
        return "must be the key of an uploaded file, not a URL: fetch it, and give its bytes"
    if is_path_in_form(text):
        return "must be the key of an uploaded file, not a path as text: give a pathlib.Path or an InputFile, which is uploaded"
    return None


def problems_with_file(value: object, accept: Sequence[str]) -> Iterator[str]:
    """Say in which way a file does not fit a parameter."""
    try:
        file = input_file(value)
    except InvalidParameters as error:
        yield from (f"cannot be a file: {problem}" for problem in error.problems)
    else:
        if not is_accepted(accept, file.name, file.content_type):
            yield f"must be one of {', '.join(accept)}, not {file.content_type} ({file.name})"
