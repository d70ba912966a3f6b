"""From JSON to records and back: what is taken, what is refused, and how the place of a mistake is named."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import NoneType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyberun_async import (
    Agent,
    Container,
    DecodeError,
    InvalidParameters,
    Invocation,
    PresignedUpload,
    Task,
    TaskStatus,
    Workflow,
)
from cyberun_async._protocol.codec import decode_json, structure, wire
from cyberun_async._protocol.json_text import encode_json, parse_json
from cyberun_async._protocol.pages import Page


@attrs.frozen(kw_only=True)
class Part:
    """Something inside of a record."""

    size: int


@attrs.frozen(kw_only=True)
class Record:
    """One field of each kind."""

    name: str | None = None
    count: int | None = None
    ratio: float | None = None
    is_on: bool | None = None
    when: datetime | None = None
    status: TaskStatus | None = None
    anything: object = None
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    texts: Mapping[str, str] = attrs.field(factory=dict)
    open: Mapping[str, object] = attrs.field(factory=dict)
    ours: str | None = wire("theirs", default=None)


@pytest.mark.parametrize(
    ("answer", "record"),
    [
        pytest.param({}, Record(), id="empty"),
        pytest.param({"count": 3.0}, Record(count=3), id="whole number with a point"),
        pytest.param({"ratio": 1}, Record(ratio=1.0), id="number without a point"),
        pytest.param({"ratio": -0.5e-3}, Record(ratio=-0.0005), id="exponent"),
        pytest.param({"theirs": "x", "ours": "y"}, Record(ours="x"), id="name on the wire"),
        pytest.param({"anything": [1, {"x": None}]}, Record(anything=[1, {"x": None}]), id="anything"),
        pytest.param({"open": {"x": None, "y": [1]}}, Record(open={"x": None, "y": [1]}), id="null kept where all is"),
        pytest.param({"texts": {"x": None, "y": "z"}}, Record(texts={"y": "z"}), id="null left out of texts"),
        pytest.param({"parts": [{"size": 1}, {"size": 2}]}, Record(parts=(Part(size=1), Part(size=2))), id="list"),
        pytest.param({"parts": None, "texts": None}, Record(), id="null for a list and an object"),
    ],
)
def test_structure(answer: object, record: Record) -> None:
    """Names are ours, `null` is missing, and numbers are taken as they are written."""
    structured = structure(answer, Record)

    assert structured == record
    assert [type(value) for value in attrs.astuple(structured)] == [type(value) for value in attrs.astuple(record)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param([], "$: expected an object, not list", id="record"),
        pytest.param({"name": 5}, "$.name: expected a string, not int", id="string"),
        pytest.param({"count": 1.9}, "$.count: expected a whole number, not float", id="fraction"),
        pytest.param({"count": "1"}, "$.count: expected a whole number, not str", id="text for a number"),
        pytest.param({"count": True}, "$.count: expected a whole number, not bool", id="boolean for a number"),
        pytest.param({"ratio": "1"}, "$.ratio: expected a number, not str", id="text for a float"),
        pytest.param({"ratio": False}, "$.ratio: expected a number, not bool", id="boolean for a float"),
        pytest.param({"ratio": 10**400}, "$.ratio: expected a number that a float can hold", id="too large"),
        pytest.param({"is_on": 1}, "$.is_on: expected true or false, not int", id="number for a boolean"),
        pytest.param({"when": 5}, "$.when: expected a timestamp, not int", id="number for a timestamp"),
        pytest.param({"when": "soon"}, "$.when: expected a timestamp as in RFC 3339, not 'soon'", id="no timestamp"),
        pytest.param({"status": 5}, "$.status: expected a status word, not int", id="status"),
        pytest.param({"part": {"size": "x"}}, "$.part.size: expected a whole number, not str", id="nested"),
        pytest.param({"part": {"size": None}}, "$.part: size is missing", id="null for what is required"),
        pytest.param({"parts": [{"size": 1}, 5]}, "$.parts[1]: expected an object, not int", id="in a list"),
        pytest.param({"parts": [None]}, "$.parts[0]: expected an object, not NoneType", id="null in a list"),
        pytest.param({"parts": {}}, "$.parts: expected a list, not dict", id="list"),
        pytest.param({"texts": {"a b": 5}}, "$.texts['a b']: expected a string, not int", id="in a mapping"),
        pytest.param({"texts": []}, "$.texts: expected an object, not list", id="mapping"),
        pytest.param({"theirs": 5}, "$.theirs: expected a string, not int", id="by its name on the wire"),
    ],
)
def test_structure_refuses(answer: object, problem: str) -> None:
    """What is not as promised is refused, with the path to the place."""
    with pytest.raises(DecodeError) as caught:
        structure(answer, Record)

    assert problem == caught.value.problem
    assert str(caught.value) == f"the data is not what the API promises: {problem}; pass it on as it was received"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_every_missing_name_is_told() -> None:
    """One look at the error tells all that is missing."""
    with pytest.raises(DecodeError, match=r"^the data .*: \$: file_key, upload_url is missing; "):
        structure({}, PresignedUpload)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b"<html>", "Expecting value", id="HTML"),
        pytest.param(b'{"id": "x"', "Expecting ',' delimiter", id="cut off"),
        pytest.param(b'{"id": "x"} {}', "Extra data", id="two values"),
        pytest.param(b'{"id": "\xff"}', "utf-8", id="not UTF-8"),
        pytest.param(b'{"x": NaN}', "NaN is not a JSON number", id="NaN"),
        pytest.param(b'{"x": [-Infinity]}', "-Infinity is not a JSON number", id="infinity"),
        pytest.param(b'{"x": 1e999}', "1e999 is not a JSON number", id="infinite by its exponent"),
        pytest.param(b'{"x": ' + b"9" * 5000 + b"}", "integer string conversion", id="too many digits"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="nested lists"),
        pytest.param(b'{"a":' * 100_000, "nested too deeply", id="nested objects"),
    ],
)
def test_not_json(text: bytes, reason: str) -> None:
    """What is not JSON, or is more than any answer of the API, is refused and not shown."""
    with pytest.raises(DecodeError) as caught:
        parse_json(text)

    assert caught.value.problem.startswith("not JSON (")
    assert reason in caught.value.problem
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        pytest.param("5", int, 5, id="number"),
        pytest.param("5.0", int, 5, id="number with a point"),
        pytest.param("0.35", float, 0.35, id="fraction"),
        pytest.param("true", bool, True, id="boolean"),
        pytest.param('"x"', str, "x", id="text"),
    ],
)
def test_values_by_themselves(text: str, kind: Any, value: object) -> None:
    """A value outside of a record is held to the same rules."""
    assert decode_json(text, kind) == value


@pytest.mark.parametrize("text", [b'{"id": "x"}', '{"id": "x"}'])
def test_decode_json(text: bytes | str) -> None:
    """An answer comes as bytes, the data of an event as text."""
    assert decode_json(text, Task) == Task(id="x")


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        pytest.param({"task_list": []}, Page(), id="empty"),
        pytest.param({"task_list": None}, Page(), id="null"),
        pytest.param({"page_meta": {}}, Page(), id="only the length, and not even that"),
        pytest.param({"page_meta": {"total_count": 0}}, Page((), None, 0), id="only the length"),
        pytest.param({"task_list": [{"id": "a"}]}, Page((Task(id="a"),)), id="no length"),
        pytest.param({"task_list": [], "page_meta": None}, Page(), id="length is null"),
        pytest.param({"items": [{"id": "a"}]}, Page((Task(id="a"),)), id="a name that is not documented"),
        pytest.param(
            {"x": [5], "job_list": [{"id": "a"}]}, Page((Task(id="a"),)), id="a name like the documented ones"
        ),
        pytest.param({"a_list": [5], "task_list": [{"id": "a"}]}, Page((Task(id="a"),)), id="another list before it"),
        pytest.param(
            {"task_list": [], "page_meta": {"current_page": 1, "per_page": 20, "total_count": 42}},
            Page((), 20, 42),
            id="as documented",
        ),
    ],
)
def test_page(answer: object, page: Page[Task]) -> None:
    """A page is its list, whatever that is called, and what the server says of its length."""
    assert page == structure(answer, Page[Task])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param([], "$: expected an object, not list", id="a list"),
        pytest.param({}, "$: task_list is missing", id="nothing"),
        pytest.param({"hello": "world"}, "$: task_list is missing", id="something else"),
        pytest.param({"task_list": {}, "x": []}, "$.task_list: expected a list, not dict", id="an empty object"),
        pytest.param({"task_list": "x"}, "$.task_list: expected a list, not str", id="text"),
        pytest.param({"task_list": [{}]}, "$.task_list[0]: id is missing", id="item"),
        pytest.param({"items": [{}]}, "$.items[0]: id is missing", id="item of an undocumented list"),
        pytest.param({"task_list": [], "page_meta": 5}, "$.page_meta: expected an object, not int", id="meta"),
        pytest.param(
            {"task_list": [], "page_meta": {"total_count": "42"}},
            "$.page_meta.total_count: expected a whole number, not str",
            id="total",
        ),
    ],
)
def test_page_refuses(answer: object, problem: str) -> None:
    """An answer without a list in it is no page."""
    with pytest.raises(DecodeError) as caught:
        structure(answer, Page[Task])

    assert problem == caught.value.problem


def test_nothing_is_expected() -> None:
    """Where the answer does not matter, anything will do."""
    assert structure({"is_success": True}, NoneType) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["id", "task_status", "task_list", "page_meta", "parameters", "key"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    answer=JSON,
    kind=st.sampled_from([Task, Workflow, Agent, Container, Invocation, Page[Task], Page[Workflow], Record]),
)
def test_any_json_is_taken_or_refused(answer: object, kind: Any) -> None:
    """Whatever a server sends, it becomes a record or an error of ours."""
    with suppress(DecodeError):
        structure(answer, kind)


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_any_bytes_are_taken_or_refused(data: bytes | str) -> None:
    """Whatever bytes come, they become a value or an error of ours."""
    with suppress(DecodeError):
        parse_json(data)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param({"prompt": "ein Wärter"}, '{"prompt":"ein Wärter"}', id="not ASCII"),
        pytest.param({"steps": 30, "cfg": 1.5}, '{"steps":30,"cfg":1.5}', id="numbers"),
        pytest.param({"status": TaskStatus.RUNNING}, '{"status":"running"}', id="status"),
        pytest.param({"x": (1, [None, True])}, '{"x":[1,[null,true]]}', id="nested"),
    ],
)
def test_encode_json(body: Mapping[str, object], text: str) -> None:
    """A body is compact JSON in UTF-8."""
    assert encode_json(body).decode() == text
    assert json.loads(text)


RING: dict[str, object] = {}
RING["ring"] = RING


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"x": float("nan")}, id="NaN"),
        pytest.param({"x": float("inf")}, id="infinity"),
        pytest.param({"x": b"bytes"}, id="bytes"),
        pytest.param({"x": datetime(2025, 1, 1)}, id="timestamp"),  # noqa: DTZ001 - the zone does not matter here
        pytest.param({("a", "b"): 1}, id="tuple for a key"),
        pytest.param({"x": "\ud800"}, id="lone surrogate"),
        pytest.param(RING, id="ring"),
    ],
)
def test_encode_json_refuses(body: Mapping[str, object]) -> None:
    """What has no JSON form is refused before anything is sent."""
    with pytest.raises(InvalidParameters, match="the values must be of the kinds that JSON has"):
        encode_json(body)
