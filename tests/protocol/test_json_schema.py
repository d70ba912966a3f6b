"""A workflow's parameters as JSON Schema: what fits the schema passes the check before a submission."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.samples import WORKFLOW
from support.tables import table

from cyberun_async import ParameterDef, Workflow
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.validation import definitions_of, problems_with


def schema_of(*parameters: ParameterDef, **fields: Any) -> dict[str, Any]:
    return Workflow(id="1", parameters=parameters, **fields).json_schema()


def test_the_documented_sample() -> None:
    """The documented workflow gives this schema."""
    assert structure(WORKFLOW, Workflow).json_schema() == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Text to image",
        "description": "Draws what you say",
        "type": "object",
        "properties": {"steps": {"title": "Steps", "description": "How many"}},
        "required": ["steps"],
        "additionalProperties": False,
    }


@table(
    ("definition", "schema"),
    [
        (ParameterDef(key="k", type="string", default="x"), {"type": "string", "default": "x"}),
        (ParameterDef(key="k", type="number", min=1, max=9.5), {"type": "number", "minimum": 1, "maximum": 9.5}),
        (ParameterDef(key="k", type="number", min=0, max=0), {"type": "number"}),
        (ParameterDef(key="k", type="number", min=5, max=1), {"type": "number"}),
        (ParameterDef(key="k", type="number", min=0), {"type": "number", "minimum": 0}),
        (ParameterDef(key="k", type="integer", max=3), {"type": "integer", "maximum": 3}),
        (ParameterDef(key="k", type="boolean", default=False), {"type": "boolean", "default": False}),
        (ParameterDef(key="k", type="select", options=("a", 2)), {"enum": ["a", 2]}),
        (ParameterDef(key="k", type="select"), {}),
        (ParameterDef(key="k", type="file"), {"type": "string", "minLength": 1}),
        (
            ParameterDef(key="k", type="file", accept=("image/png",)),
            {"type": "string", "minLength": 1, "x-accept": ["image/png"]},
        ),
        (ParameterDef(key="k", type="colour"), {}),
        (ParameterDef(key="k", default=float("nan")), {}),
    ],
)
def test_parameters(definition: ParameterDef, schema: dict[str, object]) -> None:
    """Each type of a parameter has its schema; a type that is not known fits anything."""
    assert schema_of(definition)["properties"] == {"k": schema}


def test_a_default_of_what_is_required() -> None:
    """A form does not fill in what the service does not."""
    assert schema_of(ParameterDef(key="k", required=True, default=3))["properties"] == {"k": {}}


@table("workflow", [Workflow(id="1"), structure({"id": "1", "parameters": [{"key": "a"}, 3]}, Workflow)])
def test_an_incomplete_definition(workflow: Workflow) -> None:
    """Where parameters are missing, or could not be read, other keys are not ruled out."""
    assert "additionalProperties" not in workflow.json_schema()


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Check a value against the few keywords that are used here, as draft 2020-12 has them."""
    if "enum" in schema:
        return any(type(value) is type(each) and value == each for each in schema["enum"])
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    kinds = {
        "object": isinstance(value, dict),
        "string": isinstance(value, str),
        "number": is_number,
        "integer": is_number and float(value).is_integer(),
        "boolean": isinstance(value, bool),
    }
    if not kinds.get(schema.get("type", ""), True):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return (
            set(schema["required"]) <= set(value)
            and (schema.get("additionalProperties", True) or set(value) <= set(properties))
            and all(fits(properties.get(name, {}), item) for name, item in value.items())
        )
    if is_number:
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return not isinstance(value, str) or len(value) >= schema.get("minLength", 0)


NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(-5, 5) | st.floats(-5, 5)
VALUES = st.text(alphabet="ab", max_size=2) | NUMBERS | st.booleans()
DEFINITIONS = st.builds(
    ParameterDef,
    key=NAMES,
    type=st.sampled_from(["string", "number", "integer", "boolean", "select", ""]),
    required=st.booleans(),
    min=st.none() | NUMBERS,
    max=st.none() | NUMBERS,
    options=st.lists(st.text(alphabet="ab", max_size=2) | st.integers(-3, 3), max_size=3).map(tuple),
)


@given(st.lists(DEFINITIONS, max_size=3, unique_by=lambda each: each.key), st.dictionaries(NAMES, VALUES))
def test_agrees_with_the_check(definitions: list[ParameterDef], values: dict[str, Any]) -> None:
    """What fits the schema passes the check; what does not is refused, but for options of another type."""
    workflow = Workflow(id="1", parameters=tuple(definitions))
    schema = workflow.json_schema()
    json.dumps(schema, allow_nan=False)
    problems = problems_with(values, definitions_of(workflow))
    if fits(schema, values):
        assert not problems
    elif definitions and not any(each.type == "select" for each in definitions):
        assert problems
