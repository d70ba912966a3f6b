"""From JSON to records and back: what is taken, what is refused, and how the place of a mistake is named."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from types import NoneType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

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
from cyberun_async._protocol.codec import decode_json, structure
from cyberun_async._protocol.fields import extra_field, wire
from cyberun_async._protocol.json_text import encode_json, parse_json
from cyberun_async._protocol.mismatch_log import MismatchLog
from cyberun_async._protocol.pages import Page

MOMENT = datetime(2025, 2, 10, 14, 1, 30, tzinfo=timezone.utc)


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
    extra: Mapping[str, object] = extra_field()


@table(
    ("answer", "record"),
    [
        pytest.param({}, Record(), id="empty"),
        pytest.param({"count": 3.0}, Record(count=3), id="whole number with a point"),
        pytest.param({"count": " 7 "}, Record(count=7), id="whole number as text"),
        pytest.param({"count": "7.0"}, Record(count=7), id="whole number with a point as text"),
        pytest.param({"count": "12345678901234567890"}, Record(count=12345678901234567890), id="long number as text"),
        pytest.param({"count": ""}, Record(), id="empty text for a number"),
        pytest.param({"ratio": "0.35"}, Record(ratio=0.35), id="number as text"),
        pytest.param({"ratio": "7"}, Record(ratio=7.0), id="whole number as text for a float"),
        pytest.param({"name": 5}, Record(name="5"), id="number for text"),
        pytest.param({"name": 5.0}, Record(name="5"), id="number with a point for text"),
        pytest.param({"is_on": "True"}, Record(is_on=True), id="boolean as text"),
        pytest.param({"is_on": "false"}, Record(is_on=False), id="false as text"),
        pytest.param({"is_on": ""}, Record(), id="empty text for a boolean"),
        pytest.param({"when": ""}, Record(), id="empty text for a timestamp"),
        pytest.param({"when": " "}, Record(), id="blank text for a timestamp"),
        pytest.param({"when": "0001-01-01T00:00:00Z"}, Record(), id="the zero time of Go"),
        pytest.param({"when": 0}, Record(), id="zero for a timestamp"),
        pytest.param({"when": -62135596800}, Record(), id="the zero time of Go in seconds"),
        pytest.param({"when": "2025-02-10 14:01:30"}, Record(when=MOMENT), id="a space instead of T"),
        pytest.param({"when": "2025-02-10T14:01:30+0000"}, Record(when=MOMENT), id="an offset without a colon"),
        pytest.param({"when": "2025-02-10 14:01:30 +0000 UTC"}, Record(when=MOMENT), id="as Go prints it"),
        pytest.param({"when": " 2025-02-10T14:01:30Z "}, Record(when=MOMENT), id="blanks around a timestamp"),
        pytest.param({"when": 1739196090}, Record(when=MOMENT), id="seconds"),
        pytest.param({"when": 1739196090000}, Record(when=MOMENT), id="milliseconds"),
        pytest.param({"when": "1739196090"}, Record(when=MOMENT), id="seconds as text"),
        pytest.param({"when": "1739196090000"}, Record(when=MOMENT), id="milliseconds as text"),
        pytest.param({"status": " Running"}, Record(status=TaskStatus.RUNNING), id="a status in another case"),
        pytest.param({"status": "canceled"}, Record(status=TaskStatus.CANCELLED), id="a status of another spelling"),
        pytest.param({"status": ""}, Record(), id="an empty status"),
        pytest.param({"parts": {}}, Record(), id="an empty object for a list"),
        pytest.param({"parts": {"7": {}}}, Record(parts=(Part(size=7),)), id="items by what tells them apart"),
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


MISFITS: list[Any] = [
    pytest.param("name", ["x"], "expected a string, not list", id="string"),
    pytest.param("count", 1.9, "expected a whole number, not float", id="fraction"),
    pytest.param("count", True, "expected a whole number, not bool", id="boolean for a number"),
    pytest.param("ratio", "x", "expected a number, not str", id="text for a float"),
    pytest.param("ratio", False, "expected a number, not bool", id="boolean for a float"),
    pytest.param("ratio", 10**400, "expected a number that a float can hold", id="too large"),
    pytest.param("ratio", "1e999", "expected a number that a float can hold", id="too large in text"),
    pytest.param("is_on", 1, "expected true or false, not int", id="number for a boolean"),
    pytest.param("when", 5, "expected a timestamp, not a number beyond any date", id="number for a timestamp"),
    pytest.param("when", "soon", "expected a timestamp as in RFC 3339, not other text", id="no timestamp"),
    pytest.param("when", [], "expected a timestamp, not list", id="list for a timestamp"),
    pytest.param("status", 5, "expected a status, not int", id="status"),
    pytest.param("part", {"size": "x"}, ".size: expected a number, not str", id="nested"),
    pytest.param("part", {"size": None}, "size is missing", id="null for what is needed"),
    pytest.param("parts", {"a": 1}, "expected a list, not dict", id="list"),
    pytest.param("texts", [], "expected an object, not list", id="mapping"),
    pytest.param("theirs", {}, "expected a string, not dict", id="by its name on the wire"),
]


@pytest.mark.parametrize(("field", "value", "problem"), MISFITS)
def test_what_does_not_fit_costs_its_field(
    field: str, value: object, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A value that does not fit is as if it were not there; it is kept, and logged once without the value."""
    log = MismatchLog()
    for _ in range(2):
        record = structure({"anything": 1, field: value, "new": 2}, Record, log)

        assert record == Record(anything=1)
        assert record.extra == {field: value, "new": 2}
    assert caplog.messages == [f"Record.{field} differs from its documentation ({problem}); this is logged once"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize(
    ("field", "value", "expected", "problem"),
    [
        pytest.param("parts", [{"size": 1}, 5], (Part(size=1),), "[1]: expected an object, not int", id="in a list"),
        pytest.param("parts", [None], (), "[0]: expected an object, not NoneType", id="null in a list"),
        pytest.param("texts", {"a b": [], "c": 5}, {"c": "5"}, "[…]: expected a string, not list", id="in a mapping"),
    ],
)
def test_a_part_that_does_not_fit_costs_that_part(
    field: str, value: object, expected: object, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad item costs that item, and the value is kept as it came."""
    record = structure({field: value}, Record, MismatchLog())

    assert record == Record(**{field: expected})  # type: ignore[arg-type]
    assert record.extra == {field: value}
    assert caplog.messages == [f"Record.{field} differs from its documentation ({problem}); this is logged once"]


def test_each_client_logs_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    """One client's log says nothing of what another has seen, and each field has its line."""
    for log in (MismatchLog(), MismatchLog()):
        structure({"count": [], "name": []}, Record, log)

    assert len(caplog.messages) == 4


@table(
    ("answer", "problem"),
    [
        pytest.param([], "$: expected an object, not list", id="record"),
        pytest.param({}, "$: size is missing", id="missing"),
        pytest.param({"size": None}, "$: size is missing", id="null"),
        pytest.param({"size": ""}, "$: size is missing", id="empty"),
        pytest.param({"size": [1]}, "$.size: expected a whole number, not list", id="of another type"),
    ],
)
def test_structure_refuses(answer: object, problem: str) -> None:
    """Only where what is needed is not there, the answer is refused, with the path to the place."""
    with pytest.raises(DecodeError) as caught:
        structure(answer, Part)

    assert problem == caught.value.problem
    assert str(caught.value) == f"the data is not what the API documents: {problem}; pass it on as it was received"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_every_missing_name_is_told() -> None:
    """One look at the error tells all that is missing."""
    with pytest.raises(DecodeError, match=r"^the data .*: \$: file_key, upload_url is missing; "):
        structure({}, PresignedUpload)


@table(
    ("text", "reason"),
    [
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b"<html>", "Expecting value", id="HTML"),
        pytest.param(b'{"id": "x"', "Expecting ',' delimiter", id="cut off"),
        pytest.param(b'{"id": "x"} {}', "Extra data", id="two values"),
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


@table(
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


@table("text", [b'{"id": "x"}', '{"id": "x"}'])
def test_decode_json(text: bytes | str) -> None:
    """An answer comes as bytes, the data of an event as text."""
    assert decode_json(text, Task) == Task(id="x")


@table(
    ("answer", "page"),
    [
        pytest.param({"task_list": []}, Page(), id="empty"),
        pytest.param({"task_list": None}, Page(), id="null"),
        pytest.param({"page_meta": {}}, Page(), id="only the length, and not even that"),
        pytest.param({"page_meta": {"total_count": 0}}, Page((), None, 0), id="only the length"),
        pytest.param({"task_list": [{"id": "a"}]}, Page((Task(id="a"),)), id="no length"),
        pytest.param({"task_list": [], "page_meta": None}, Page(), id="length is null"),
        pytest.param([{"id": "a"}], Page((Task(id="a"),)), id="a bare array"),
        pytest.param([], Page(), id="an empty array"),
        pytest.param({"task_list": {}}, Page(), id="an empty object"),
        pytest.param({"data": [{"id": "a"}]}, Page((Task(id="a"),)), id="an envelope"),
        pytest.param(
            {"data": {"task_list": [{"id": "a"}], "page_meta": {"total_count": 7}}},
            Page((Task(id="a"),), None, 7),
            id="an envelope around all",
        ),
        pytest.param(
            {"data": {"items": [{"id": "a"}]}, "page_meta": {"total_count": 7}},
            Page((Task(id="a"),), None, 7),
            id="an envelope beside the length",
        ),
        pytest.param({"tags": ["x"], "found": [{"id": "a"}]}, Page((Task(id="a"),)), id="the list of objects"),
        pytest.param({"task_list": [{"id": "a"}, {}, 5]}, Page((Task(id="a"),), None, None, 2), id="two bad items"),
        pytest.param({"task_list": [], "page_meta": "1/3"}, Page(), id="length is text"),
        pytest.param({"task_list": [], "page_meta": 5}, Page(), id="length is a number"),
        pytest.param(
            {"task_list": [], "page_meta": {"per_page": "20", "total_count": "42"}}, Page((), 20, 42), id="as text"
        ),
        pytest.param({"task_list": [], "page_meta": {"total_count": []}}, Page(), id="length is a list"),
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


@table(
    ("answer", "problem"),
    [
        pytest.param("x", "$: expected an object, not str", id="text"),
        pytest.param({}, "$: task_list is missing", id="nothing"),
        pytest.param({"hello": "world"}, "$: task_list is missing", id="something else"),
        pytest.param({"data": {"hello": "world"}}, "$: task_list is missing", id="something else in an envelope"),
        pytest.param({"task_list": "x"}, "$: task_list is missing", id="text in its place"),
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


@table(
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


@table(
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
