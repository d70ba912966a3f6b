"""Every documented sample with any one field, and any two, replaced by any JSON value, removed, or joined by unknown ones.

What is needed always comes out, and only where that is gone there is an error.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.samples import ID, PAGE_META, SAMPLES, Json, Path, Sample, places
from support.sampling import count
from support.tables import table

from cyberun_async import DecodeError, StatusEvent, Task, UnknownEvent, decode_event, webhooks
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.error_responses import api_error
from cyberun_async._protocol.error_text import body_text
from cyberun_async._protocol.mismatch_log import MismatchLog
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.tasks import with_task_id

LINK = "https://s3.example.com/a?X-Amz-Signature=f00"
GONE = object()
"""Stands for a field that is removed."""

values: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["", "0", "7.0", "35%", "true", "0001-01-01T00:00:00Z", 1739196090, 10**400, LINK, "Canceled"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "key", "url", "message", "9"]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=6,
)
EDGES: Sequence[Json] = (
    GONE,
    None,
    True,
    0,
    7.5,
    -1,
    10**400,
    "",
    " ",
    "0",
    "x",
    LINK,
    [],
    [None],
    [[]],
    ["x", 5],
    [{}],
    {},
    {"x": LINK},
    {"x": {"y": [None]}},
)


def bent(value: Json, changes: Mapping[Path, Json]) -> Json:
    """Give a copy with other values at some places, as far as these are still there."""
    for path, item in changes.items():
        with suppress(KeyError, IndexError, TypeError):  # An earlier change may have taken the place away.
            value = _bent_at(value, path, item)
    return value


def _bent_at(value: Json, path: Path, item: Json) -> Json:
    """Copy only what is on the way to the place: a copy of everything would take most of the time."""
    name, *rest = path
    changed = copy.copy(value)
    if rest:
        changed[name] = _bent_at(value[name], tuple(rest), item)
    elif item is GONE:
        del changed[name]
    elif isinstance(changed, (dict, list)):
        changed[name] = copy.deepcopy(item)
    return changed


def fields_of(sample: Json, needed: Sequence[Path]) -> list[Path]:
    """Give the places of a sample that nobody needs, and a new one in each of its objects."""
    known = [
        path for path, _ in places(sample) if path not in needed and not any(n[: len(path)] == path for n in needed)
    ]
    objects = [(), *[path for path, value in places(sample) if isinstance(value, dict)]]
    return [*known, *[(*path, "zz_new") for path in objects]]


def check_record(record: Any) -> None:
    """A record can be shown, compared and sent, and nothing it shows opens a file."""
    assert "X-Amz" not in repr(record)
    again = pickle.loads(pickle.dumps(record))
    assert again == record
    assert again.extra == record.extra


def check_copies(record: Any) -> None:
    """A record can be copied, which goes the way of pickling and takes longer."""
    for again in (copy.deepcopy(record), copy.copy(record)):
        assert again == record
        assert again.extra == record.extra


def needed_places(sample: Sample) -> list[Path]:
    """Give the places that a sample is nothing without: those in its list are only needed by their items."""
    return [path for path in sample.required if len(path) == 1 and not str(path[0]).endswith("_list")]


def check_sample(sample: Sample, changes: Mapping[Path, Json]) -> None:
    """Whatever was changed, what is needed comes out."""
    record: Any = structure(bent(sample.json, changes), sample.kind, MismatchLog())
    for each in record.items if isinstance(record, Page) else [record]:
        check_record(each)
        if len(changes) > 1:
            check_copies(each)
    if isinstance(record, Page):
        return
    for path in needed_places(sample):
        names = {
            field.metadata.get("cyberun_async.wire_name", field.name): field.name
            for field in attrs.fields(type(record))
        }
        assert getattr(record, names[path[0]]) == sample.json[path[0]]
    assert "X-Amz" not in repr(getattr(record, "files", ()))


ONE_LIST = {name: sample for name, sample in SAMPLES.items() if get_args(sample.kind)}
EACH = [pytest.param(sample, id=name) for name, sample in SAMPLES.items()]


@table("sample", EACH)
def test_any_one_field_of_a_sample(sample: Sample) -> None:
    """Each field of each sample is replaced by each kind of value: no value of a field costs another."""
    for path in fields_of(sample.json, needed_places(sample)):
        list_name = path[0] if len(path) == 1 and str(path[0]).endswith("_list") else None
        for value in EDGES:
            if list_name is None:
                check_sample(sample, {path: value})
            else:
                try:
                    check_sample(sample, {path: value})
                except DecodeError:
                    assert not isinstance(value, list)  # The list itself was what is needed.


@given(st.data())
@settings(max_examples=count(sample=60, soak=20_000))
def test_any_two_fields_of_a_sample(data: st.DataObject) -> None:
    """Two fields at once, replaced by anything."""
    sample = data.draw(st.sampled_from(list(SAMPLES.values())))
    paths = [path for path in fields_of(sample.json, needed_places(sample)) if not str(path[-1]).endswith("_list")]
    changes = data.draw(st.dictionaries(st.sampled_from(paths), values | st.just(GONE), min_size=1, max_size=2))

    check_sample(sample, changes)


@given(st.data())
@settings(max_examples=count(sample=25, soak=5_000))
def test_an_answer_without_what_is_needed(data: st.DataObject) -> None:
    """Where what is needed is replaced by anything, there is a record or an error of ours."""
    sample = data.draw(st.sampled_from(list(SAMPLES.values())))
    path = data.draw(st.sampled_from(sorted(sample.required, key=str)))
    changed = bent(sample.json, {path: data.draw(values | st.just(GONE))})

    with suppress(DecodeError):
        structure(changed, sample.kind, MismatchLog())


@table("name", list(ONE_LIST))
def test_one_bad_item_costs_that_item(name: str) -> None:
    """A list with items that are none has all the others."""
    sample = SAMPLES[name]
    (list_name,) = [key for key in sample.json if key.endswith("_list")]
    (item,) = sample.json[list_name]
    good = structure(sample.json, sample.kind).items

    page = structure({list_name: [{}, item, None, "x", {"id": []}], "page_meta": PAGE_META}, sample.kind, MismatchLog())

    assert (page.items, page.unreadable, page.total) == (good, 4, 42)


# Events

EVENTS: Mapping[str, Json] = {
    "status": {"task_id": ID, "status": "running", "timestamp": "2026-02-01T14:30:05Z"},
    "progress": {
        "task_id": ID,
        "progress": 0.35,
        "current_node": "3",
        "step_current": 7,
        "step_total": 20,
        "timestamp": "2026-02-01T14:30:10Z",
        "stage": "train",
        "message": "step 7 of 20",
    },
    "completed": {
        "task_id": ID,
        "status": "completed",
        "completed_at": "2026-02-01T14:31:00Z",
        "output": {"storage_key": "a.png"},
    },
    "failed": {"task_id": ID, "status": "failed", "error": "ComfyUI execution error: out of memory"},
    "cancelled": {"task_id": ID, "status": "cancelled"},
    "error": {"message": "failed to fetch task status"},
}


def check_event(name: str, data: Json) -> None:
    event = decode_event(name, json.dumps(data), task_id=ID)

    assert not isinstance(event, UnknownEvent)
    assert event.name == name
    assert event.task_id
    check_record(event)
    check_copies(event)


@table("name", list(EVENTS))
def test_any_one_field_of_an_event(name: str) -> None:
    """Each field of each event is replaced by each kind of value, and so is all of its data."""
    for path in fields_of(EVENTS[name], []):
        for value in EDGES:
            check_event(name, bent(EVENTS[name], {path: value}))
    for value in EDGES[1:]:
        check_event(name, value)


@given(st.data())
@settings(max_examples=count(sample=40, soak=20_000))
def test_any_two_fields_of_an_event(data: st.DataObject) -> None:
    """Two fields at once, replaced by anything."""
    name = data.draw(st.sampled_from(list(EVENTS)))
    paths = st.sampled_from(fields_of(EVENTS[name], []))
    changes = data.draw(st.dictionaries(paths, values | st.just(GONE), min_size=1, max_size=2))

    check_event(name, bent(EVENTS[name], changes))


def test_what_an_event_does_not_say_is_not_made_up() -> None:
    """A status event without a status says none."""
    event = decode_event("status", json.dumps({"task_id": ID, "status": [LINK]}), task_id=ID)

    assert isinstance(event, StatusEvent)
    assert (event.status, event.status.is_terminal) == ("unknown", False)
    assert LINK not in repr(event) + repr(event.extra)


# Errors and deliveries

ERROR = {"error_message": "resource not found"}
DELIVERY = {
    "event_type": "task.completed",
    "task_id": ID,
    "task_status": "completed",
    "task_output": {"storage_key": "a.png"},
    "task_error": "",
    "timestamp": "2025-02-10T14:01:30Z",
}


@given(st.dictionaries(st.sampled_from(["error_message", "error", "message", "detail", "zz"]), values, max_size=3))
@settings(max_examples=count(sample=40, soak=10_000))
def test_any_error(body: Json) -> None:
    """Whatever an error response says, there is an error, and its words are the server's where it has any."""
    text = json.dumps(ERROR | body)
    error = api_error(404, {}, text.encode(), method="GET", path="/x")

    assert error.message
    assert (error.message == "the server gave no reason") == (not body_text(text))
    assert "f00" not in f"{error!s}{error!r}{error.body}"


def delivered(payload: Json) -> webhooks.WebhookEvent:
    body = json.dumps(payload).encode()
    return webhooks.verify(body, "sha256=" + hmac.new(b"whsec_x", body, hashlib.sha256).hexdigest(), "whsec_x")


def check_delivery(changes: Mapping[Path, Json]) -> None:
    event = delivered(bent(DELIVERY, changes))

    assert event.task_id == ID
    assert event.event_type
    assert event.status
    check_record(event)
    check_copies(event)


def test_any_one_field_of_a_delivery() -> None:
    """Each field of a delivery but its task is replaced by each kind of value."""
    for path in fields_of(DELIVERY, [("task_id",)]):
        for value in EDGES:
            check_delivery({path: value})


@given(st.data())
@settings(max_examples=count(sample=25, soak=10_000))
def test_any_two_fields_of_a_delivery(data: st.DataObject) -> None:
    """Two fields at once, replaced by anything; either the event type or the status has to be left."""
    needed = data.draw(st.sampled_from(["event_type", "task_status"]))
    paths = st.sampled_from(fields_of(DELIVERY, [("task_id",), (needed,)]))

    check_delivery(data.draw(st.dictionaries(paths, values | st.just(GONE), min_size=1, max_size=2)))


# The id of a task

ANSWERS: Sequence[tuple[Json, str | None]] = (
    ({"id": "a", "task_status": "running"}, "a"),
    ({"task_id": 5}, 5),  # type: ignore[list-item]
    ({"task_status": "running"}, ID),
    ({"id": None, "status": "running"}, ID),
    ({"id": [], "completed_at": "x"}, ID),
    ({"id": "", "task_error": "x"}, ID),
    ({"data": {"task_status": "running"}}, ID),
    ({"task": {"id": "a"}}, "a"),
    ({}, None),
    ({"hello": "world"}, None),
    ({"data": {}}, None),
)


@table(("answer", "task_id"), ANSWERS)
def test_the_id_of_a_task(answer: Json, task_id: str | None) -> None:
    """The answer to a question about a task needs no id, but it has to be about a task."""
    named = with_task_id(answer, ID)

    assert isinstance(named, dict)
    assert named.get("id", named.get("task_id")) == task_id
    assert with_task_id([answer], ID) == [answer]


def test_extra_is_read_only_and_shared_when_empty() -> None:
    """What a record keeps beside its fields cannot be changed, and costs nothing where there is nothing."""

    def read(answer: Json) -> Any:
        return structure(answer, Task)

    plain, other, more = read({"id": "a"}), read({"id": "b"}), read({"id": "a", "url": LINK, "b": [1]})

    assert plain.extra is other.extra is pickle.loads(pickle.dumps(plain)).extra
    assert plain == more
    assert (plain.extra, more.extra) == ({}, {"url": LINK, "b": [1]})
    assert repr(plain.extra) + repr(more.extra) == "<0 extra values><2 extra values>"
    assert repr(read({"id": "a", "x": 1}).extra) == "<1 extra value>"
    assert "extra" not in repr(more)
    with pytest.raises(TypeError, match="does not support item assignment"):
        more.extra["c"] = 1
