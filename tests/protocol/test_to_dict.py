"""`to_dict()`: what a record says as JSON, in the service's own names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.samples import CONTAINER, ID, PRESIGNED, RESULT, SAMPLES, WEBHOOK, Sample
from support.tables import table

from cyberun_async import (
    CompletedEvent,
    Container,
    ErrorEvent,
    OutputFile,
    PresignedUpload,
    ProgressEvent,
    Record,
    StatusEvent,
    Task,
    TaskEvent,
    TaskResult,
    TaskStatus,
    UnknownEvent,
    Variable,
    Webhook,
    decode_event,
    encode_event,
    webhooks,
)
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.tasks import Submitted

ONE_RECORD = {
    name: sample
    for name, sample in SAMPLES.items()
    if getattr(sample.kind, "__origin__", None) is not Page and sample.kind is not Submitted
}
URL = "https://bucket.test/a.png?X-Amz-Signature=deadbeef0123456789"


@table("sample", ONE_RECORD.values(), ids=ONE_RECORD)
def test_the_documented_samples(sample: Sample) -> None:
    """Every documented field comes back under its own name, with its own value."""
    # The samples leave every enumeration out, which for a parameter's type is an empty text.
    json_value = json.loads(json.dumps(sample.json).replace('{"key":', '{"type": "", "key":'))
    record = structure(json_value, sample.kind)
    expected = {name: value for name, value in json_value.items() if value != ""}
    written = record.to_dict(include_urls=True, include_secrets=True)
    assert {name: written.get(name) for name in expected} == expected


def test_urls_are_left_out() -> None:
    """Presigned URLs are there only if they are asked for, and so are the headers that are signed with one."""
    result = structure(RESULT, TaskResult)
    assert not {"download_url", "download_urls"} & set(result.to_dict())
    assert "X-Amz" not in json.dumps(result.to_dict())
    assert result.to_dict(include_urls=True)["download_urls"] == RESULT["download_urls"]
    file = result.files[0]
    assert file.to_dict() == {"key": file.key, "name": file.name, "expires_at": "2025-02-10T15:01:30Z", "task_id": ID}
    assert file.to_dict(include_urls=True)["url"] == file.url
    presigned = structure(PRESIGNED, PresignedUpload)
    assert presigned.to_dict() == {"file_key": PRESIGNED["file_key"]}
    assert presigned.to_dict(include_urls=True) == PRESIGNED


def test_urls_elsewhere() -> None:
    """A signature in an output, in what does not fit its field and in unknown fields is cut out; under a URL's own name nothing is kept."""
    value = {
        "id": ID,
        "task_status": "completed",
        "task_output": {"preview": URL, "all": [{"url": URL}]},
        "download_url": [[URL]],
        "thumbnail": URL,
    }
    result = structure(value, TaskResult)
    written = result.to_dict()
    assert "deadbeef" not in json.dumps(written)
    assert written["task_output"] == {
        "preview": "https://bucket.test/a.png?[signature]",
        "all": [{"url": "https://bucket.test/a.png?[signature]"}],
    }
    assert "download_url" not in written
    assert result.to_dict(include_urls=True) == {**value, "download_urls": {}}


def test_secrets_are_left_out() -> None:
    """A webhook's secret and the values of an environment are there only if they are asked for."""
    webhook = structure(WEBHOOK, Webhook)
    assert "whsec_" not in json.dumps(webhook.to_dict(include_urls=True))
    assert webhook.to_dict(include_secrets=True) == WEBHOOK
    container = structure(CONTAINER, Container)
    assert container.to_dict()["env_config"] == [{"env_name": "MODEL"}]
    assert container.to_dict(include_secrets=True)["env_config"] == CONTAINER["env_config"]


def test_what_has_no_value_is_left_out() -> None:
    """A field without a value is not there, while zero and an empty list are."""
    assert Task(id=ID).to_dict() == {"id": ID, "task_status": "unknown", "retry_count": 0, "agent_labels": []}


def test_unknown_fields() -> None:
    """What the service sends beyond the known fields is in it, and a value that fits its field goes first."""
    task = structure({"id": ID, "task_status": "paused", "queue": {"place": 3}, "retry_count": "some"}, Task)
    written = task.to_dict()
    assert written["queue"] == {"place": 3}
    assert written["task_status"] == "paused"
    assert written["retry_count"] == 0


@table(
    ("value", "written"),
    [
        pytest.param(math.nan, None, id="no number"),
        pytest.param(math.inf, None, id="infinity"),
        pytest.param("\ud800x", "�x", id="half a surrogate pair"),
        pytest.param("🎨", "🎨", id="beyond the basic plane"),
        pytest.param((1, 2), [1, 2], id="tuple"),
        pytest.param({3: None}, {"3": None}, id="keys are text"),
        pytest.param(10**30, 10**30, id="large number"),
        pytest.param(TaskStatus.RUNNING, "running", id="status"),
        pytest.param(datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00Z", id="moment"),
        pytest.param(True, True, id="boolean"),
    ],
)
def test_values(value: object, written: object) -> None:
    """Every value is one that a strict encoder of UTF-8 takes."""
    given_back = TaskResult(id=ID, output={"value": value}).to_dict()["task_output"]
    assert given_back == {"value": written}
    json.dumps(given_back, allow_nan=False, ensure_ascii=False).encode()
    assert type(given_back["value"]) is type(written)  # type: ignore[index]


def test_a_value_without_a_json_form() -> None:
    """What a program has put into a record itself, and JSON does not have, is a mistake that is named."""
    with pytest.raises(TypeError, match="bytes has no JSON form"):
        TaskResult(id=ID, output={"value": b"x"}).to_dict()


EVENTS: list[TaskEvent] = [
    decode_event(name, json.dumps({"task_id": ID, **data}), task_id=ID)
    for name, data in (
        ("status", {"status": "running", "timestamp": "2025-02-10T14:00:05.123456Z"}),
        ("status", {"status": "paused"}),
        ("progress", {"progress": 0.35, "current_node": "3", "step_current": 7, "step_total": 20}),
        ("progress", {"stage": "train", "message": "half way", "eta": 3}),
        (
            "completed",
            {"status": "completed", "output": {"storage_key": "a/b.png"}, "completed_at": "2025-02-10T14:01:30Z"},
        ),
        ("failed", {"status": "failed", "error": "out of memory"}),
        ("cancelled", {"status": "cancelled"}),
        ("error", {"message": "failed to fetch task status"}),
    )
]


@table("event", EVENTS, ids=lambda event: event.name)
def test_events(event: TaskEvent) -> None:
    """An event's dictionary is the data of its line, so that it is read back as the same event."""
    data = event.to_dict()
    assert decode_event(event.name, json.dumps(data), task_id="another") == event
    assert {**data, **json.loads(encode_event(event)[1])} == data


def test_an_unknown_event() -> None:
    """Its data stays text, since nothing says that it is JSON."""
    event = UnknownEvent(task_id=ID, name="gossip", data=f"see {URL}")
    assert event.to_dict() == {"task_id": ID, "name": "gossip", "data": "see https://bucket.test/a.png?[signature]"}


def test_a_webhook_event() -> None:
    """A delivery has the names of its body."""
    body = {
        "event_type": "task.completed",
        "task_id": ID,
        "task_status": "completed",
        "task_output": {"image_count": 1},
        "task_error": "",
        "timestamp": "2025-02-10T14:01:30Z",
    }
    raw = json.dumps(body).encode()
    event = webhooks.verify(raw, webhooks.sign(raw, "whsec_x"), "whsec_x")
    assert event.to_dict() == body


def test_every_record_has_it() -> None:
    """Whatever the client gives that is a record of the service is a `Record`."""
    kinds = {sample.kind for sample in ONE_RECORD.values()} | set(get_args(TaskEvent)) | {OutputFile, Variable}
    assert not [kind for kind in kinds if not issubclass(kind, Record)]


TEXT = st.text(max_size=8)
MOMENTS = st.integers(-(2**29), 2**33).map(
    lambda seconds: datetime(2000, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))) + timedelta(seconds=seconds)
)
NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """Draw a documented record, some of whose fields have other values or are missing."""
    sample = draw(st.sampled_from(list(ONE_RECORD.values())))
    value = dict(sample.json)
    for name in draw(st.lists(st.sampled_from(sorted(value)), max_size=4, unique=True)):
        if (name,) not in sample.required:
            value[name] = draw(
                JSON | MOMENTS.map(datetime.isoformat) | st.sampled_from(["running", "timeout", "ok", URL])
            )
    for name in draw(st.lists(st.sampled_from(["task_status", "status", "error", "other", "task_error"]), max_size=2)):
        value[name] = draw(JSON | st.sampled_from(["failed", "TASK_STATUS_COMPLETED", "paused", "ok"]))
    return sample.kind, value


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(answers())
def test_round_trip(answer: tuple[Any, Mapping[str, Any]]) -> None:
    """Whatever the service has sent: what was read of it and written is read as an equal record, and encodes as strict JSON."""
    kind, value = answer
    record = structure(value, kind)
    written = record.to_dict(include_urls=True, include_secrets=True)
    sent = json.dumps(written, allow_nan=False, ensure_ascii=False).encode()
    assert structure(json.loads(sent), kind) == record
    assert attrs.asdict(structure(json.loads(sent), kind), filter=_is_compared) == attrs.asdict(
        record, filter=_is_compared
    )


def _is_compared(field: Any, _: object) -> bool:
    return field.name != "extra"


@given(
    st.sampled_from([StatusEvent, ProgressEvent, CompletedEvent, ErrorEvent]),
    st.dictionaries(
        st.sampled_from(["status", "progress", "output", "message", "timestamp", "stage", "step_total"]), JSON
    ),
)
def test_round_trip_of_events(kind: Any, data: Mapping[str, Any]) -> None:
    """Likewise of events."""
    event = decode_event(kind.name, json.dumps(data), task_id=ID)
    written = event.to_dict(include_urls=True)
    assert decode_event(event.name, json.dumps(written, allow_nan=False), task_id=ID) == event
