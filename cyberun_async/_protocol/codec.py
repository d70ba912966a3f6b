"""From JSON to records: one converter, its hooks held for each type."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.pages import Page, PageMeta
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.timestamps import parse_timestamp

T = TypeVar("T")

Hook = Callable[[object, type], object]
"""Structures a value into a type."""

WIRE_NAME = "cyberun_async.wire_name"
"""The metadata key that holds a field's name on the wire where ours differs."""


def wire(name: str, **options: Any) -> Any:
    """Declare a field whose name on the wire differs from ours; the options are those of `attrs.field`."""
    return attrs.field(metadata={WIRE_NAME: name}, **options)


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """Structure a JSON text.

    Raises:
        DecodeError: It is not JSON, or not of the promised shape.

    """
    return structure(parse_json(data), kind)


def structure(value: object, kind: type[T]) -> T:
    """Structure a parsed JSON value.

    Raises:
        DecodeError: It is not of the promised shape; the message has the path to the place.

    """
    try:
        result: T = structure_hook(kind)(value, kind)  # type: ignore[arg-type]
    except _Misfit as misfit:
        raise DecodeError(str(misfit)) from None
    return result


@cache
def structure_hook(kind: Any) -> Any:
    """Give the function that structures into a type; looked up once for each type."""
    return _converter().get_structure_hook(kind)


@cache
def _converter() -> Converter:
    converter = Converter(detailed_validation=False)
    for kind, hook in _STRICT.items():
        converter.register_structure_hook(kind, hook)
    for is_kind, factory in (
        (attrs.has, _record_hook),
        (_is_list, _list_hook),
        (_is_mapping, _mapping_hook),
        (_is_page, _page_hook),
    ):
        converter.register_structure_hook_factory(is_kind, partial(factory, converter=converter))
    converter.register_structure_hook_func(lambda kind: kind is object, _anything)
    return converter


class _Misfit(Exception):
    """A value is not of the promised shape."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.path = ""

    def below(self, step: str) -> "_Misfit":
        """Say that the value is part of another one."""
        self.path = step + self.path
        return self

    def __str__(self) -> str:
        return f"${self.path}: {self.problem}"


def _expected(what: str, value: object) -> _Misfit:
    return _Misfit(f"expected {what}, not {type(value).__name__}")


def _record_hook(cls: type, converter: Converter) -> Hook:
    """Structure a record: our names for the wire's, `null` the same as missing, and what is not known left out."""
    fields = {}
    for field in attrs.fields(cls):
        kind = _without_none(field.type)
        fields[field.metadata.get(WIRE_NAME, field.name)] = (field.name, kind, converter.get_structure_hook(kind))
    required = {field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING}

    def hook(value: object, _: type) -> object:
        if not isinstance(value, dict):
            raise _expected("an object", value)
        arguments: dict[str, object] = {}
        key: object = None
        try:
            for key, item in value.items():
                if item is not None and (field := fields.get(key)) is not None:
                    name, kind, build = field
                    # Most values are what they are to become, and a call costs more than this look.
                    arguments[name] = item if type(item) is kind else build(item, kind)
        except _Misfit as misfit:
            raise misfit.below(f".{key}") from None
        if not required <= arguments.keys():
            missing = [key for key, (name, _, _) in fields.items() if name in required - arguments.keys()]
            raise _Misfit(f"{', '.join(missing)} is missing")
        return cls(**arguments)

    return hook


def _without_none(kind: Any) -> Any:
    """Give the type that remains of `X | None`, since `null` never comes this far."""
    others = [part for part in get_args(kind) if part is not NoneType]
    return others[0] if isinstance(kind, UnionType) and len(others) == 1 else kind


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _list_hook(kind: type, converter: Converter) -> Hook:
    (item_kind, _) = get_args(kind)
    build = converter.get_structure_hook(item_kind)

    def hook(value: object, _: type) -> object:
        if not isinstance(value, list):
            raise _expected("a list", value)
        items = []
        for number, item in enumerate(value):
            try:
                items.append(build(item, item_kind))
            except _Misfit as misfit:
                raise misfit.below(f"[{number}]") from None
        return tuple(items)

    return hook


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _mapping_hook(kind: type, converter: Converter) -> Hook:
    item_kind = get_args(kind)[1]
    build = converter.get_structure_hook(item_kind)
    is_open = item_kind is object

    def hook(value: object, _: type) -> object:
        if not isinstance(value, dict):
            raise _expected("an object", value)
        items = {}
        for key, item in value.items():
            if item is None and not is_open:
                continue
            try:
                items[key] = build(item, item_kind)
            except _Misfit as misfit:
                raise misfit.below(f"[{key!r}]") from None
        return items

    return hook


def _is_page(kind: Any) -> bool:
    return get_origin(kind) is Page


def _page_hook(kind: type, converter: Converter) -> Hook:
    """Structure a page by its list."""
    item_kind: Any = get_args(kind)[0]
    items_kind: Any = tuple[item_kind, ...]
    build = converter.get_structure_hook(items_kind)
    build_meta = converter.get_structure_hook(PageMeta)

    def hook(value: object, _: type) -> object:
        if not isinstance(value, dict):
            raise _expected("an object", value)
        name = _name_of_list(value, item_kind)
        try:
            items = build(_or_empty(value.get(name), []), items_kind)
        except _Misfit as misfit:
            raise misfit.below(f".{name}") from None
        try:
            meta = build_meta(_or_empty(value.get("page_meta"), {}), PageMeta)
        except _Misfit as misfit:
            raise misfit.below(".page_meta") from None
        return Page(items, meta.per_page, meta.total_count)

    return hook


def _or_empty(value: object, empty: object) -> object:
    return empty if value is None else value


def _name_of_list(page: Mapping[str, object], item_kind: type) -> str:
    """Find the list of a page: those that are documented are called `task_list` and the like, but not all are."""
    documented = f"{item_kind.__name__.lower()}_list"
    if documented in page:
        return documented
    lists = [name for name, item in page.items() if isinstance(item, list)]
    if not lists and "page_meta" not in page:
        problem = f"{documented} is missing"
        raise _Misfit(problem)
    return next((name for name in lists if name.endswith("_list")), lists[0] if lists else documented)


def _string(value: object, _: type) -> str:
    if type(value) is not str:
        raise _expected("a string", value)
    return value


def _integer(value: object, _: type) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise _expected("a whole number", value)


def _number(value: object, _: type) -> float:
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _Misfit("expected a number that a float can hold") from None
    raise _expected("a number", value)


def _boolean(value: object, _: type) -> bool:
    if type(value) is not bool:
        raise _expected("true or false", value)
    return value


def _moment(value: object, _: type) -> datetime:
    if type(value) is not str:
        raise _expected("a timestamp", value)
    try:
        return parse_timestamp(value)
    except ValueError:
        problem = f"expected a timestamp as in RFC 3339, not {value!r}"
        raise _Misfit(problem) from None


def _status(value: object, _: type) -> TaskStatus:
    if type(value) is not str:
        raise _expected("a status word", value)
    return TaskStatus(value)


def _anything(value: object, _: type) -> object:
    return value


def _nothing(_: object, __: type) -> None:
    return None


_STRICT: Mapping[type, Callable[[Any, type], object]] = {
    str: _string,
    int: _integer,
    float: _number,
    bool: _boolean,
    datetime: _moment,
    TaskStatus: _status,
    NoneType: _nothing,
}
