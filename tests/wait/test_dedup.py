"""Which events are news, and how the codec of events reads and writes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async import (
    CancelledEvent,
    CompletedEvent,
    DecodeError,
    ErrorEvent,
    FailedEvent,
    ProgressEvent,
    StatusEvent,
    TaskEvent,
    TaskStatus,
    UnknownEvent,
    decode_event,
    encode_event,
)
from cyberun_async._wait.dedup import EventDeduplicator

CONNECT = "connect"


def status(word: str, source: Any = "stream") -> StatusEvent:
    return StatusEvent(task_id="T", status=TaskStatus(word), source=source)


def progress(share: float | None, **fields: Any) -> ProgressEvent:
    return ProgressEvent(task_id="T", progress=share, **fields)


STORIES = [
    pytest.param([CONNECT, status("running"), status("running")], [1], id="the same status twice"),
    pytest.param([CONNECT, status("queued", "poll"), status("queued")], [1], id="a status that a poll has told"),
    pytest.param([CONNECT, progress(0.5), progress(0.5), progress(0.6)], [1, 3], id="the same progress twice"),
    pytest.param([CONNECT, progress(0.5), status("running"), progress(0.6)], [1, 3], id="progress tells that it runs"),
    pytest.param(
        [CONNECT, status("running"), status("queued"), progress(0.1)], [1, 2, 3], id="back on a running stream"
    ),
    pytest.param(
        [CONNECT, status("running", "poll"), status("pending"), status("queued"), status("running"), progress(0.1)],
        [1, 5],
        id="a new stream tells what lies behind a poll",
    ),
    pytest.param(
        [
            CONNECT,
            progress(0.5),
            CONNECT,
            status("pending"),
            status("running"),
            progress(0.5),
            progress(0.6),
            progress(0.1),
        ],
        [1, 6, 7],
        id="retelling ends where it goes beyond",
    ),
    pytest.param(
        [CONNECT, progress(0.5), CONNECT, status("queued", "poll"), progress(0.1)],
        [1, 3, 4],
        id="a poll tells the present, also that the task went back",
    ),
    pytest.param(
        [CONNECT, status("paused"), status("running"), CONNECT, status("paused"), status("frozen")],
        [1, 2, 5],
        id="an unknown word that was told, and one that was not",
    ),
    pytest.param(
        [CONNECT, progress(None, message="a"), CONNECT, progress(None, message="b")], [1, 3], id="no share given"
    ),
    pytest.param(
        [
            CONNECT,
            UnknownEvent(task_id="T", name="x", data="1"),
            CONNECT,
            UnknownEvent(task_id="T", name="x", data="2"),
        ],
        [1, 3],
        id="unknown events have no place",
    ),
    pytest.param([CONNECT, progress(0.5), CONNECT, CompletedEvent(task_id="T")], [1, 3], id="the end is always news"),
]


@table(("story", "told"), STORIES)
def test_news(story: list[Any], told: list[int]) -> None:
    """Of all that happens, in this order, what stands at these places is handed out."""
    news = EventDeduplicator()
    handed_out = []
    for place, item in enumerate(story):
        if item is CONNECT:
            news.connected()
        elif news.accept(item):
            handed_out.append(place)

    assert handed_out == told


@table(
    ("event", "last"),
    [
        pytest.param(status("queued"), "queued", id="status"),
        pytest.param(progress(0.1), "running", id="progress"),
        pytest.param(CompletedEvent(task_id="T"), "completed", id="completed"),
        pytest.param(FailedEvent(task_id="T"), "failed", id="failed"),
        pytest.param(CancelledEvent(task_id="T"), "cancelled", id="cancelled"),
        pytest.param(ErrorEvent(task_id="T"), None, id="error"),
        pytest.param(UnknownEvent(task_id="T", name="x", data=""), None, id="unknown"),
    ],
)
def test_the_last_status(event: TaskEvent, last: str | None) -> None:
    """Each event that says how the task stands counts as its last status."""
    news = EventDeduplicator()
    news.accept(event)

    assert news.status == last


text = st.text(max_size=20)
words = st.text(min_size=1, max_size=20).filter(str.strip)
moments = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(timezone.utc) | st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
events = st.one_of(
    st.builds(StatusEvent, task_id=words, status=words.map(TaskStatus), timestamp=st.none() | moments),
    st.builds(
        ProgressEvent,
        task_id=words,
        progress=st.none() | st.floats(0, 1),
        current_node=st.none() | text,
        step_current=st.none() | st.integers(),
        step_total=st.none() | st.integers(),
        stage=st.none() | text,
        message=st.none() | text,
        timestamp=st.none() | moments,
    ),
    st.builds(
        CompletedEvent,
        task_id=words,
        output=st.none() | st.dictionaries(text, json_values, max_size=3),
        completed_at=st.none() | moments,
    ),
    st.builds(FailedEvent, task_id=words, error=st.none() | words),
    st.builds(CancelledEvent, task_id=words),
    st.builds(ErrorEvent, task_id=words, message=st.none() | words),
    st.builds(UnknownEvent, task_id=st.just("T"), name=text.map("x-{}".format), data=text),
)


@given(events)
def test_decoding_undoes_encoding(event: TaskEvent) -> None:
    """What was encoded decodes to an equal event, and takes one line of ASCII unless it is unknown."""
    name, data = encode_event(event)

    assert decode_event(name, data, task_id="T") == event
    assert isinstance(event, UnknownEvent) or (data.isascii() and "\n" not in data)


@table(
    ("event", "encoded"),
    [
        pytest.param(status("running"), {"task_id": "T", "status": "running"}, id="unset fields are left out"),
        pytest.param(
            CompletedEvent(task_id="T"), {"task_id": "T", "status": "completed"}, id="the end says its status"
        ),
        pytest.param(
            StatusEvent(
                task_id="T", status=TaskStatus.RUNNING, timestamp=datetime(2026, 2, 1, 14, 30, tzinfo=timezone.utc)
            ),
            {"task_id": "T", "status": "running", "timestamp": "2026-02-01T14:30:00Z"},
            id="moments as the server writes them",
        ),
        pytest.param(
            CompletedEvent(task_id="T", output={"a": [1]}, source="poll"),
            {"task_id": "T", "status": "completed", "output": {"a": [1]}},
            id="where it was learned is not a part of it",
        ),
    ],
)
def test_encoding_is_the_wires(event: TaskEvent, encoded: dict[str, object]) -> None:
    """An event is written as the service writes it."""
    name, data = encode_event(event)

    assert (name, json.loads(data)) == (event.name, encoded)


def test_what_has_no_json_form_is_not_encoded() -> None:
    """A hand-made event with something else inside is a `TypeError`."""
    with pytest.raises(TypeError, match="set has no JSON form"):
        encode_event(CompletedEvent(task_id="T", output={"a": set()}))


@table(
    ("name", "data"),
    [
        pytest.param("status", "{", id="not JSON"),
        pytest.param("completed", '{"output": {}', id="cut off"),
        pytest.param("failed", "out of memory", id="plain text"),
        pytest.param("progress", "[" * 100_000, id="nested without end"),
    ],
)
def test_data_that_is_not_as_promised(name: str, data: str) -> None:
    """The data of a known event that is no JSON is a `DecodeError`, which keeps its beginning."""
    with pytest.raises(DecodeError) as caught:
        decode_event(name, data, task_id="T")

    assert caught.value.body == data[:2000]


@table(
    ("name", "data", "event", "extra"),
    [
        pytest.param("status", "{}", StatusEvent(task_id="T"), {}, id="no status"),
        pytest.param("status", '{"status": 5}', StatusEvent(task_id="T"), {"status": 5}, id="status that is no text"),
        pytest.param("status", '{"status": "RUNNING"}', status("running"), {}, id="status in another case"),
        pytest.param("status", '{"task_status": "running"}', status("running"), {}, id="status by its other name"),
        pytest.param("Status", '{"status": "running"}', status("running"), {}, id="event in another case"),
        pytest.param("canceled", "{}", CancelledEvent(task_id="T"), {}, id="event of another spelling"),
        pytest.param(
            "status",
            '{"task_id": 7, "status": "running"}',
            StatusEvent(task_id="7", status=TaskStatus.RUNNING),
            {},
            id="number for an id",
        ),
        pytest.param("status", '{"task_id": [], "status": "running"}', status("running"), {}, id="list for an id"),
        pytest.param("status", "[1]", StatusEvent(task_id="T"), {"data": [1]}, id="list"),
        pytest.param("failed", '"no memory"', FailedEvent(task_id="T", error="no memory"), {}, id="text"),
        pytest.param("completed", "null", CompletedEvent(task_id="T"), {}, id="null"),
        pytest.param(
            "completed",
            '{"status": "completed", "output": ["a"]}',
            CompletedEvent(task_id="T"),
            {"output": ["a"]},
            id="list for an output",
        ),
        pytest.param("completed", '{"output": ""}', CompletedEvent(task_id="T"), {}, id="empty text for an output"),
        pytest.param(
            "completed",
            '{"task_output": {"a": 1}}',
            CompletedEvent(task_id="T", output={"a": 1}),
            {},
            id="output by its other name",
        ),
        pytest.param(
            "completed", '{"status": "failed"}', CompletedEvent(task_id="T"), {"status": "failed"}, id="contradiction"
        ),
        pytest.param(
            "failed",
            '{"error": {"message": "no memory"}}',
            FailedEvent(task_id="T", error="no memory"),
            {"error": {"message": "no memory"}},
            id="object for an error",
        ),
        pytest.param(
            "failed",
            '{"message": "no memory"}',
            FailedEvent(task_id="T", error="no memory"),
            {},
            id="error by its other name",
        ),
        pytest.param(
            "error", '{"error": "lost"}', ErrorEvent(task_id="T", message="lost"), {}, id="message by its other name"
        ),
        pytest.param(
            "progress", '{"progress": "0.35"}', ProgressEvent(task_id="T", progress=0.35), {}, id="progress as text"
        ),
        pytest.param(
            "progress", '{"progress": "35%"}', ProgressEvent(task_id="T", progress=0.35), {}, id="progress in percent"
        ),
        pytest.param("progress", '{"progress": 1}', ProgressEvent(task_id="T", progress=1.0), {}, id="whole progress"),
        pytest.param(
            "progress", '{"progress": 35}', ProgressEvent(task_id="T"), {"progress": 35}, id="progress beyond 1"
        ),
        pytest.param("progress", '{"progress": -1.5}', ProgressEvent(task_id="T"), {"progress": -1.5}, id="below 0"),
        pytest.param(
            "progress", '{"progress": "half"}', ProgressEvent(task_id="T"), {"progress": "half"}, id="no number"
        ),
        pytest.param("progress", '{"progress": "%"}', ProgressEvent(task_id="T"), {"progress": "%"}, id="only a sign"),
        pytest.param("progress", '{"progress": ""}', ProgressEvent(task_id="T"), {}, id="empty progress"),
        pytest.param(
            "progress",
            '{"step_current": 1.5, "step_total": "20", "current_node": 3}',
            ProgressEvent(task_id="T", step_total=20, current_node="3"),
            {"step_current": 1.5},
            id="half a step",
        ),
        pytest.param(
            "cancelled",
            '{"x": 1, "source": "poll"}',
            CancelledEvent(task_id="T"),
            {"x": 1, "source": "poll"},
            id="new fields",
        ),
    ],
)
def test_one_bad_field_costs_that_field(name: str, data: str, event: TaskEvent, extra: dict[str, object]) -> None:
    """The kind of an event is all that is needed: what else there is of it is read as far as it fits, and kept."""
    decoded = decode_event(name, data, task_id="T")

    assert decoded == event
    assert not isinstance(decoded, UnknownEvent)
    assert decoded.extra == extra


def test_the_source_is_ours_to_say() -> None:
    """A field of that name on the wire is not ours."""
    assert decode_event("cancelled", '{"source": "poll"}', task_id="T").source == "stream"


def test_text_of_a_subclass() -> None:
    """A name, data or an id may be of a subclass of `str`, such as a status."""
    assert decode_event(TaskStatus.CANCELLED, "{}", task_id="T") == CancelledEvent(task_id="T")
