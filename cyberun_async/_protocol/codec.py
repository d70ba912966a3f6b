"""From JSON to records: one converter, its hooks held for each type."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter, transform_error
from cattrs.gen import make_dict_structure_fn, override

from cyberun_async._errors import DecodeError, InvalidParameters
from cyberun_async._protocol.pages import Page
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


def encode_json(value: Mapping[str, object]) -> bytes:
    """Write a request's body.

    Raises:
        InvalidParameters: Something in it has no JSON form.

    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameters([f"the values must be of the kinds that JSON has ({error})"]) from None


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """Structure a JSON text.

    Raises:
        DecodeError: It is not JSON, or not of the promised shape.

    """
    return structure(parse_json(data), kind)


def parse_json(data: bytes | str) -> object:
    """Parse a JSON text.

    Raises:
        DecodeError: It is not JSON, or nested deeper than any answer of the API.

    """
    try:
        value: object = json.loads(data, parse_constant=_no_json_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        message = f"not JSON ({reason})"
        raise DecodeError(message) from None
    return value


def _no_json_number(word: str) -> object:
    message = f"{word} is not a JSON number"
    raise ValueError(message)


def structure(value: object, kind: type[T]) -> T:
    """Structure a parsed JSON value.

    Raises:
        DecodeError: It is not of the promised shape; the message has the path to the place.

    """
    try:
        result: T = structure_hook(kind)(value, kind)
    except Exception as error:  # noqa: BLE001 - cattrs lets any error of a hook through
        raise DecodeError(_explain(value, kind, error)) from None
    return result


@cache
def structure_hook(kind: Any) -> Any:  # noqa: ANN401 - what goes in and out depends on the type
    """Give the function that structures into a type; looked up once for each type."""
    return _converter(detailed=False).get_structure_hook(kind)


def _explain(value: object, kind: type, error: Exception) -> str:
    """Structure once more, slowly, to learn where it went wrong."""
    try:
        _converter(detailed=True).structure(value, kind)
    except Exception as detailed:  # noqa: BLE001 - the second look must not raise what the first hid
        try:
            return "; ".join(transform_error(detailed, format_exception=_reason))
        except Exception:  # noqa: BLE001 - cattrs explains only what it raised itself
            return _reason(detailed, None)
    return _reason(error, None)


def _reason(error: BaseException, _: type | None) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


@cache
def _converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    for kind, hook in _STRICT.items():
        converter.register_structure_hook(kind, hook)
    for is_kind, factory in ((attrs.has, _record_hook), (_is_list, _list_hook), (_is_page, _page_hook)):
        converter.register_structure_hook_factory(is_kind, partial(factory, converter=converter))
    converter.register_structure_hook_func(lambda kind: kind is object, _anything)
    return converter


def _is_list(kind: Any) -> bool:  # noqa: ANN401 - any type form
    return get_origin(kind) is tuple


def _is_page(kind: Any) -> bool:  # noqa: ANN401 - any type form
    return get_origin(kind) is Page


def _record_hook(cls: type, converter: Converter) -> Hook:
    """Structure a record: our names for the wire's, and `null` the same as missing."""
    names = {
        field.name: override(rename=field.metadata[WIRE_NAME])
        for field in attrs.fields(cls)
        if WIRE_NAME in field.metadata
    }
    build: Hook = make_dict_structure_fn(cls, converter, **names)  # type: ignore[arg-type, assignment]

    def hook(value: object, kind: type) -> object:
        if not isinstance(value, dict):
            raise TypeError(_expected("an object", value))
        return build({key: item for key, item in value.items() if item is not None}, kind)

    return hook


def _list_hook(kind: type, converter: Converter) -> Hook:
    """Structure a JSON list; cattrs alone would take a string for a list of its letters."""
    (item_kind, _) = get_args(kind)
    build = converter.get_structure_hook(item_kind)

    def hook(value: object, _: type) -> object:
        if not isinstance(value, list):
            raise TypeError(_expected("a list", value))
        return tuple([build(item, item_kind) for item in value])

    return hook


def _page_hook(kind: type, converter: Converter) -> Hook:
    """Structure a page by its one list: the list's name differs from endpoint to endpoint, and not all are documented."""
    items_kind: Any = tuple[get_args(kind)[0], ...]  # type: ignore[valid-type, misc]
    build = converter.get_structure_hook(items_kind)

    def hook(value: object, _: type) -> object:
        if not isinstance(value, dict):
            raise TypeError(_expected("an object", value))
        meta = value.get("page_meta")
        total = meta.get("total_count") if isinstance(meta, dict) else None
        items = next((item for item in value.values() if isinstance(item, list)), [])
        return Page(items=build(items, items_kind), total=None if total is None else _integer(total, int))

    return hook


def _expected(what: str, value: object) -> str:
    return f"expected {what}, not {type(value).__name__}"


def _string(value: object, _: type) -> str:
    if type(value) is not str:
        raise TypeError(_expected("a string", value))
    return value


def _integer(value: object, _: type) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise TypeError(_expected("a whole number", value))


def _number(value: object, _: type) -> float:
    if type(value) not in {int, float}:
        raise TypeError(_expected("a number", value))
    return float(value)  # type: ignore[arg-type]


def _boolean(value: object, _: type) -> bool:
    if type(value) is not bool:
        raise TypeError(_expected("true or false", value))
    return value


def _moment(value: object, _: type) -> datetime:
    if type(value) is not str:
        raise TypeError(_expected("a timestamp", value))
    return parse_timestamp(value)


def _status(value: object, _: type) -> TaskStatus:
    if type(value) is not str:
        raise TypeError(_expected("a status word", value))
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
