"""The files of a result, from what it says of its outputs.

Source: https://docs.cyberun.cloud/api-reference/task/get-task-result
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from cyberun_async._protocol.fields import redact_repr, wire
from cyberun_async._protocol.filenames import name_from_key, name_from_output, name_from_url, unique_names
from cyberun_async._protocol.output_urls import object_of
from cyberun_async._protocol.record import Record
from cyberun_async._protocol.redaction import redact

if TYPE_CHECKING:
    from cyberun_async._protocol.tasks import TaskResult


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class OutputFile(Record):
    """One file of a result.

    Attributes:
        key: What the server calls the output (`9.images.0`), or its storage key.
        name: A file name that is safe on every system and differs from those of the result's other files.
        url: A presigned URL, valid for an hour; anyone who has it can fetch the file, so it is never shown.
        expires_at: When the URL expires, where the server says so.
        task_id: The task that made it; its result has fresh URLs.

    """

    key: str
    name: str
    url: str = wire(hidden="url")
    expires_at: datetime | None = None
    task_id: str


def files_of(result: "TaskResult") -> tuple[OutputFile, ...]:
    """Give every output file of a result, the primary one first."""
    outputs = list(_outputs_of(result))
    names = unique_names([name for _, name, _ in outputs])
    keys = _distinct([redact(key) for key, _, _ in outputs])
    return tuple(
        OutputFile(
            key=key,
            name=name,
            url=url,
            expires_at=result.expires_at if url == result.download_url else None,
            task_id=result.id,
        )
        for key, (_, _, url), name in zip(keys, outputs, names, strict=True)
    )


def _distinct(keys: list[str]) -> list[str]:
    """Give keys of which no two are equal: of two URLs, the part that differs may be redacted."""
    first: dict[str, int] = {}
    return [key if first.setdefault(key, place) == place else f"{key}#{place}" for place, key in enumerate(keys)]


def _outputs_of(result: "TaskResult") -> Iterator[tuple[str, str, str]]:
    """Give the key, the name that it asks for, and the URL of each output; names are in messages, so URLs are redacted in them."""
    primary = result.download_url
    if primary and object_of(primary) not in map(object_of, result.download_urls.values()):
        key = _text((result.output or {}).get("storage_key"))
        name = name_from_key(redact(key)) if key else name_from_url(primary)
        yield key or name, name, primary
    for key, url in result.download_urls.items():
        if url:
            stored_as = redact(_stored_as(result, key) or "") or name_from_url(url)
            yield key, name_from_output(redact(key), stored_as), url


def _stored_as(result: "TaskResult", key: str) -> str | None:
    about = (result.output or {}).get(key)
    return _text(about.get("s3_key")) if isinstance(about, Mapping) else None


def _text(value: object) -> str | None:
    """Give a storage key; of one that is a URL only the path, which is no secret."""
    if not isinstance(value, str) or not value:
        return None
    return value.partition("?")[0].partition("://")[2].partition("/")[2] or None if "://" in value else value
