"""Decode JSON into records: strict about the few fields that are needed, liberal about all others.

A field without a default is needed: without it the response is a `DecodeError`. Any other field takes the value if it
fits, what it converts to if it can mean only one thing (`conversions`), and else its default. What a record does not
know, and what did not fit, is kept in its `extra`, and the latter is logged.

Each hook takes a value, which is never `null`, and the log. It gives the structured value; `Partial` where not all of
it could be read; or it raises `StructureError`.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.conversions import CONVERSIONS, Partial, StructureError, expected
from cyberun_async._protocol.fields import ALIASES, READ, WIRE_NAME, extra_of
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.list_responses import find_list, in_envelope
from cyberun_async._protocol.mismatch_log import LOG_OF_PROCESS, MismatchLog
from cyberun_async._protocol.pages import Page, PageMeta
from cyberun_async._protocol.redaction import redact

T = TypeVar("T")

_NOTHING = (None, "")

Hook = Callable[[Any, Any], object]
"""Structures a value; its second argument, for which cattrs has the type, is the log of mismatches."""


def decode_json(data: bytes | str, kind: type[T], log: MismatchLog = LOG_OF_PROCESS) -> T:
    """Structure a JSON text.

    Raises:
        DecodeError: It is not JSON, or lacks what is needed.

    """
    return structure(parse_json(data), kind, log)


def structure(value: object, kind: type[T], log: MismatchLog = LOG_OF_PROCESS) -> T:
    """Structure a parsed JSON value.

    Raises:
        DecodeError: It lacks what is needed; the message has the path to the place.

    """
    try:
        result: T = structure_hook(kind)(value, log)  # type: ignore[arg-type]
    except StructureError as error:
        inner = in_envelope(value, kind.__name__.lower()) if attrs.has(kind) else None
        if inner is not None:
            return structure(inner, kind, log)
        # A name or a moment that it quotes is the server's own choice.
        raise DecodeError(redact(str(error))) from None
    return result


def item_builder(kind: Any, log: MismatchLog) -> Callable[[str, object], object] | None:
    """Give what structures the items of a page one by one, ahead of the page; `None` where it is no page."""
    if not _is_page(kind):
        return None
    item_kind = get_args(kind)[0]
    documented, build = _documented_list(item_kind), structure_hook(item_kind)

    def item_of(name: str, item: object) -> object:
        try:
            return build(item, log) if name in {"", documented} else item
        except StructureError:  # It costs that item, once the page is structured.
            return item

    return item_of


def _documented_list(item_kind: Any) -> str:
    return f"{item_kind.__name__.lower()}_list"


@cache
def structure_hook(kind: Any) -> Any:
    """Give the function that structures into a type; looked up once for each type."""
    return _converter().get_structure_hook(kind)


@cache
def _converter() -> Converter:
    converter = Converter(detailed_validation=False)
    for kind, convert in CONVERSIONS.items():
        converter.register_structure_hook(kind, convert)
    converter.register_structure_hook(NoneType, _nothing)
    for is_kind, factory in (
        (attrs.has, _record_hook),
        (_is_list, _list_hook),
        (_is_mapping, _mapping_hook),
        (_is_page, _page_hook),
    ):
        converter.register_structure_hook_factory(is_kind, partial(factory, converter=converter))
    converter.register_structure_hook_func(lambda kind: kind is object, _anything)
    return converter


def _anything(value: object, _: object) -> object:
    return value


def _nothing(_: object, __: object) -> None:
    return None


def _record_hook(cls: type, converter: Converter) -> Hook:
    return _Record(cls, converter).structure


class _Record:
    """Structures one kind of record: our names for the wire's, and `null` the same as missing."""

    def __init__(self, cls: type, converter: Converter) -> None:
        """Look up once what each field takes."""
        self._cls = cls
        self._fields: dict[str, tuple[str, Any, Hook]] = {}
        self._aliases: list[tuple[str, tuple[str, ...]]] = []
        self._needed: dict[str, str] = {}
        self._settle = getattr(cls, "_settle", None)
        self._keeps_extra = hasattr(cls, "extra")
        for field in attrs.fields(cls):
            name = field.metadata.get(WIRE_NAME, field.name)
            if name is None:
                continue
            read = field.metadata.get(READ)
            # A field that has a reader of its own takes no value unread: no value is of the type `None`.
            kind = None if read else _without_none(field.type)
            self._fields[name] = (field.name, kind, read or converter.get_structure_hook(kind))
            if aliases := field.metadata.get(ALIASES):
                self._aliases.append((name, aliases))
            if field.default is attrs.NOTHING:
                self._needed[name] = field.name
        self._needed_names = tuple(self._needed.values())

    def structure(self, value: object, log: MismatchLog) -> object:  # noqa: C901 - calls would cost more than the work
        if not isinstance(value, dict):
            raise expected("an object", value)
        field_of = self._fields.get
        arguments: dict[str, object] = {}
        extra: dict[str, object] | None = None
        for key, item in value.items():
            field = field_of(key)
            if field is not None:
                name, kind, build = field
                # Most values are what they are to become, and a call costs more than this test.
                if type(item) is kind:
                    arguments[name] = item
                    continue
                if item is not None:
                    try:
                        built = build(item, log)
                    except StructureError as error:
                        built = Partial(None, error.as_part)
                    if type(built) is not Partial:
                        if built is not None:
                            arguments[name] = built
                        continue
                    self._take_part(arguments, key, built, log)
            if item is not None:
                extra = {} if extra is None else extra
                extra[key] = item
        if extra is not None or self._settle is not None:
            self._complete(arguments, extra, value, log)
        for name in self._needed_names:
            if not arguments.get(name) and arguments.get(name) in _NOTHING:
                raise self._lacking(arguments, value, log)
        return self._cls(**arguments)

    def _complete(
        self,
        arguments: dict[str, object],
        extra: dict[str, object] | None,
        value: Mapping[str, object],
        log: MismatchLog,
    ) -> None:
        """Read what stands under other names, let the record have its say, and keep the rest."""
        for key, aliases in self._aliases if extra else ():
            for alias in aliases:
                if extra and alias in extra and arguments.get(self._fields[key][0]) in _NOTHING:
                    self._read_alias(arguments, key, alias, extra, log)
        if self._settle is not None:
            extra = self._settle(arguments, extra, value)
        if extra and self._keeps_extra:
            arguments["extra"] = extra_of(extra)

    def _read_alias(
        self, arguments: dict[str, object], key: str, alias: str, extra: dict[str, object], log: MismatchLog
    ) -> None:
        name, kind, build = self._fields[key]
        item = extra[alias]
        try:
            built = item if type(item) is kind else build(item, log)
        except StructureError as error:
            built = Partial(None, error.as_part)
        if isinstance(built, Partial):
            self._take_part(arguments, key, built, log)
        elif built is not None:
            arguments[name] = built
            del extra[alias]

    def _take_part(self, arguments: dict[str, object], key: str, part: Partial, log: MismatchLog) -> None:
        name = self._fields[key][0]
        if part.value is not None:
            arguments[name] = part.value
        if key not in self._needed:  # Without such a field there is an error instead.
            log(f"{self._cls.__name__}.{key}", part.problem)

    def _lacking(
        self, arguments: Mapping[str, object], value: Mapping[str, object], log: MismatchLog
    ) -> StructureError:
        """Say what is wrong with the fields that are needed."""
        lacking = [key for key, name in self._needed.items() if arguments.get(name) in _NOTHING]
        for key in lacking:
            try:
                if value.get(key) is not None:
                    self._fields[key][2](value[key], log)
            except StructureError as error:
                return error.below(f".{key}")
        return StructureError(f"{', '.join(lacking)} is missing")


def _without_none(kind: Any) -> Any:
    """Give the type that remains of `X | None`, since `null` never comes this far."""
    others = [part for part in get_args(kind) if part is not NoneType]
    return others[0] if isinstance(kind, UnionType) and len(others) == 1 else kind


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _list_hook(kind: type, converter: Converter) -> Hook:
    """Structure a list; an item that does not fit costs that item."""
    (item_kind, _) = get_args(kind)
    build = converter.get_structure_hook(item_kind)
    name = _first_needed(item_kind)

    def hook(value: object, log: MismatchLog) -> object:
        if name is not None and isinstance(value, dict) and all(isinstance(item, dict) for item in value.values()):
            # The items' ids may be their names in an object.
            value = [{name: key, **item} for key, item in value.items()]
        if not isinstance(value, list):
            raise expected("a list", value)
        items: list[object] = []
        problem = ""
        for number, item in enumerate(value):
            if type(item) is item_kind:
                items.append(item)
                continue
            try:
                items.append(build(item, log))
            except StructureError as error:
                problem = problem or error.below(f"[{number}]").as_part
        return Partial(tuple(items), problem) if problem else tuple(items)

    return hook


def _first_needed(kind: Any) -> str | None:
    """Give the name on the wire of the first field that a record cannot be without."""
    fields = attrs.fields(kind) if attrs.has(kind) else ()
    needed = (field.metadata.get(WIRE_NAME, field.name) for field in fields if field.default is attrs.NOTHING)
    return next(needed, None)


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _mapping_hook(kind: type, converter: Converter) -> Hook:
    """Structure a mapping; a value that does not fit costs that value."""
    item_kind = get_args(kind)[1]
    build = converter.get_structure_hook(item_kind)
    is_open = item_kind is object

    def hook(value: object, log: MismatchLog) -> object:
        if not isinstance(value, dict):
            raise expected("an object", value)
        if is_open:
            return value
        items: dict[str, object] = {}
        problem = ""
        for key, item in value.items():
            if item is None:
                continue
            try:
                items[key] = build(item, log)
            except StructureError as error:
                problem = problem or error.below("[…]").as_part
        return Partial(items, problem) if problem else items

    return hook


def _is_page(kind: Any) -> bool:
    return get_origin(kind) is Page


def _page_hook(kind: type, converter: Converter) -> Hook:
    """Structure a page by its list; an item that does not fit costs that item."""
    item_kind: Any = get_args(kind)[0]
    items_kind: Any = tuple[item_kind, ...]
    build = converter.get_structure_hook(items_kind)
    build_meta = converter.get_structure_hook(PageMeta)
    name = _documented_list(item_kind)

    def hook(value: object, log: MismatchLog) -> object:
        found = find_list(value, name)
        if found is None:
            raise StructureError(f"{name} is missing") if isinstance(value, dict) else expected("an object", value)
        items = build(found.items, log)
        if type(items) is Partial:
            log(name, items.problem)
            items = items.value
        meta = PageMeta()
        if isinstance(found.meta, dict):
            meta = build_meta(found.meta, log)
        elif found.meta is not None:
            log("page_meta", expected("an object", found.meta).as_part)
        return Page(items, meta.per_page, meta.total_count, len(found.items) - len(items))

    return hook
