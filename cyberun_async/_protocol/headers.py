"""Read HTTP headers that stand in JSON."""

from collections.abc import Mapping

from cyberun_async._protocol.conversions import Partial, StructureError, expected, text_of


def headers_of(value: object, _: object = None) -> Mapping[str, str] | Partial:
    """Read headers: by name a value, which may be a number, or a list of values as Go writes them."""
    if not isinstance(value, dict):
        raise expected("an object", value)
    headers: dict[str, str] = {}
    problem = ""
    for name, item in value.items():
        if item is None:
            continue
        try:
            headers[name] = ", ".join(str(text_of(each)) for each in (item if isinstance(item, list) else [item]))
        except StructureError as error:
            problem = problem or error.problem
    return Partial(headers, problem) if problem else headers
