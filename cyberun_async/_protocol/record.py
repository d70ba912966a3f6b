"""Records as JSON: `to_dict()`, in the service's own names. (serialise, as_dict, JSON response)"""

from collections.abc import Mapping
from datetime import datetime
from math import isfinite

import attrs

from cyberun_async._protocol.fields import ALIASES, HIDDEN, WIRE_NAME
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.timestamps import format_timestamp


class Record:
    """A frozen value that the service has sent: the base of every record, event and delivery."""

    __slots__ = ()

    def to_dict(self, *, include_urls: bool = False, include_secrets: bool = False) -> dict[str, object]:
        """Give the record as a dictionary of JSON values, by the names that the service uses.

        A field without a value is left out, and what the service has sent beyond the known fields is part of it. Every
        value is one that any JSON encoder takes: timestamps are text, and a number that JSON does not have is `None`.

        Args:
            include_urls: Whether presigned URLs are in it; anyone who has one can fetch the file, or send it, until it
                expires. Without them, the signature of any URL in other text is `[signature]`, as in a `repr`.
            include_secrets: Whether a webhook's secret and the values of a container's environment are in it.

        Example:
            ```python
            task = await client.tasks.get(task_id)
            return JSONResponse(task.to_dict())
            ```

        """
        writer = _Writer(include_urls=include_urls, include_secrets=include_secrets)
        return writer.object_of(self)


@attrs.frozen
class _Writer:
    include_urls: bool
    include_secrets: bool

    def object_of(self, record: Record) -> dict[str, object]:
        """Give the fields that have a value; what is extra gives way to a field of its name."""
        written: dict[str, object] = {}
        left_out: set[str] = set()
        for field in attrs.fields(type(record)):  # type: ignore[arg-type]
            name = field.metadata.get(WIRE_NAME, field.name)
            if name is None:
                continue
            hidden = field.metadata.get(HIDDEN)
            value = getattr(record, field.name)
            if hidden is None:
                value = self.value_of(value)
            elif self.includes(hidden):
                value = json_value(value)
            else:
                # A value that did not fit the field is no less secret.
                left_out.update((name, *field.metadata.get(ALIASES, ())))
                continue
            if value is not None:
                written[name] = value
        extra: Mapping[str, object] = getattr(record, "extra", {})
        others = {name: self.value_of(value) for name, value in extra.items() if name not in left_out}
        return {**others, **written}

    def includes(self, hidden: str) -> bool:
        return self.include_urls if hidden == "url" else self.include_secrets

    def value_of(self, value: object) -> object:
        """Give a value as JSON has it."""
        if isinstance(value, Record):
            return self.object_of(value)
        if isinstance(value, str):
            text = _text_of(value)
            return text if self.include_urls else redact(text)
        if isinstance(value, Mapping):
            return {_text_of(str(name)): self.value_of(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value_of(item) for item in value]
        return _scalar_of(value)


def json_value(value: object) -> object:
    """Give a value as JSON has it, with nothing left out."""
    return _Writer(include_urls=True, include_secrets=True).value_of(value)


def _scalar_of(value: object) -> object:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return format_timestamp(value)
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


def _text_of(text: str) -> str:
    """Give text that can be encoded: half a surrogate pair, which JSON can hold, has no bytes."""
    # Not the text itself, which may be a status with methods of its own.
    plain = str.__str__(text)
    try:
        plain.encode()
    except UnicodeEncodeError:
        return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain
