"""Declare how the fields of a record stand on the wire, and what it keeps of a response beyond them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

import attrs

from cyberun_async._protocol.redaction import redact

T = TypeVar("T")

WIRE_NAME = "cyberun_async.wire_name"
"""The metadata key that holds a field's name on the wire where ours differs; `None` for a field that is not on the wire."""

READ = "cyberun_async.read"
"""The metadata key of the function that converts a field's value, where its type alone does not say how."""

ALIASES = "cyberun_async.aliases"
"""The metadata key of the names that are read where the field's own name gives nothing."""

HIDDEN = "cyberun_async.hidden"
"""The metadata key of what a field holds that `to_dict()` leaves out unless it is asked for; see `Hidden`."""

Hidden = Literal["url", "secret"]
"""A presigned URL or what belongs to one; or another secret."""


def on_wire(
    name: str | None = None,
    *,
    aliases: tuple[str, ...] = (),
    read: Callable[[object, object], object] | None = None,
    hidden: Hidden | None = None,
) -> Mapping[str, object]:
    """Give the metadata of a field.

    Args:
        name: Its name on the wire, if it differs from ours.
        aliases: Names that are read where that name gives nothing.
        read: Converts its value, if its type alone does not say how; a hook of the codec.
        hidden: What it holds that is shown only on request.

    """
    metadata: dict[str, object] = {READ: read, ALIASES: aliases, HIDDEN: hidden}
    return metadata if name is None else {**metadata, WIRE_NAME: name}


NOT_ON_WIRE: Mapping[str, object] = {WIRE_NAME: None}
"""The metadata of a field that is ours."""


def wire(
    name: str | None = None,
    *,
    aliases: tuple[str, ...] = (),
    read: Callable[[object, object], object] | None = None,
    hidden: Hidden | None = None,
    **options: Any,
) -> Any:
    """Declare a field with a default; see `on_wire`. The other options are those of `attrs.field`."""
    if hidden is not None:
        options["repr"] = False
    return attrs.field(metadata=on_wire(name, aliases=aliases, read=read, hidden=hidden), **options)


def holds_secret(kind: type) -> bool:
    """Whether a record of this kind has a secret in one of its fields."""
    return attrs.has(kind) and any(field.metadata.get(HIDDEN) == "secret" for field in attrs.fields(kind))


class Extra(Mapping[str, object]):
    """A read-only mapping of raw JSON values by their names on the wire.

    Its `repr` has the number of values and none of them, since presigned URLs may be among them.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        """Take the values as they are; the mapping is not copied."""
        self._values = values

    def __getitem__(self, name: str) -> object:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self)} extra {'value' if len(self) == 1 else 'values'}>"

    def __reduce__(self) -> tuple[object, ...]:
        return extra_of, (self._values,)


def redact_repr(cls: type[T]) -> type[T]:
    """Have a class show no key and no signature, in whichever of its fields a server has put one.

    The class is made with `repr=False`: attrs would write and compile a `__repr__` for each, which costs an import 0.1 ms.
    """
    cls.__repr__ = _redacted  # type: ignore[method-assign]
    return cls


def _redacted(record: Any) -> str:
    shown = (f"{field.name}={getattr(record, field.name)!r}" for field in attrs.fields(type(record)) if field.repr)
    return redact(f"{type(record).__qualname__}({', '.join(shown)})")


NO_EXTRA = Extra({})
"""Shared by all records that have nothing extra."""


def extra_of(values: Mapping[str, object] | None) -> Extra:
    """Give the values as what a record keeps; the shared empty mapping where there are none."""
    return Extra(values) if values else NO_EXTRA


def extra_field() -> Any:
    """Declare a record's `extra`, which counts for neither `repr`, `==` nor `hash`."""
    return attrs.field(default=NO_EXTRA, repr=False, eq=False, kw_only=True, metadata=NOT_ON_WIRE)
