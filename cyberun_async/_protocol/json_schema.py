"""What a workflow takes, as JSON Schema: for forms, tools of language models and slash commands. (draft 2020-12)

https://json-schema.org/draft/2020-12/schema
"""

from typing import TYPE_CHECKING

from cyberun_async._protocol.record import json_value

if TYPE_CHECKING:
    from cyberun_async._protocol.workflows import ParameterDef, Workflow

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES = {"string": "string", "number": "number", "integer": "integer", "boolean": "boolean", "file": "string"}


def schema_of(workflow: "Workflow") -> dict[str, object]:
    """Give the schema of the parameters that a workflow takes."""
    schema: dict[str, object] = {"$schema": DIALECT, "type": "object"}
    schema |= _annotations(title=workflow.display_name or workflow.slug, description=workflow.description)
    schema["properties"] = {each.key: _property_of(each) for each in workflow.parameters}
    schema["required"] = [each.key for each in workflow.parameters if each.required]
    # Where a definition is missing or could not be read, another key may be one of its own.
    if workflow.parameters and "parameters" not in workflow.extra:
        schema["additionalProperties"] = False
    return schema


def _property_of(definition: "ParameterDef") -> dict[str, object]:
    schema = _annotations(title=definition.label, description=definition.description)
    if definition.type in _TYPES:
        schema["type"] = _TYPES[definition.type]
    if definition.type in {"number", "integer"}:
        least, most = range_of(definition)
        schema |= _annotations(minimum=least, maximum=most)
    elif definition.type == "select" and definition.options:
        schema["enum"] = json_value(list(definition.options))
    elif definition.type == "file":
        # The key of an uploaded file; what the file may be is no part of it.
        schema["minLength"] = 1
        schema |= _annotations(**{"x-accept": list(definition.accept) or None})
    return schema | _annotations(default=None if definition.required else definition.default)


def _annotations(**values: object) -> dict[str, object]:
    written = {name: json_value(value) for name, value in values.items()}
    return {name: value for name, value in written.items() if value is not None}


def range_of(definition: "ParameterDef") -> tuple[float | None, float | None]:
    """Give the limits of a number, where one can be within them; Go writes two that are not set as 0."""
    low, high = definition.min, definition.max
    is_none = low is not None and high is not None and (high < low or low == high == 0)
    return (None, None) if is_none else (low, high)
