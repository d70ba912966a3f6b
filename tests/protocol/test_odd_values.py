"""Values that differ from their pages as those of other services do: none costs more than itself, and none ends a task."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from support.samples import ID
from support.tables import table

from cyberun_async import DecodeError, InputFile, Task, TaskResult, TaskStatus, Workflow, decode_event, webhooks
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.json_steps import LARGE, finished, parse_in_steps
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.mismatch_log import MismatchLog
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.submitted import read_submitted
from cyberun_async._protocol.tasks import with_evidence, with_task_id
from cyberun_async._protocol.validation import problems_with

ENDED = "2025-02-10T14:01:30Z"
LINK = "https://s3.example.com/a.png?X-Amz-Signature=f00"

TEXTS: Mapping[str, tuple[bytes, object]] = {
    "a byte-order mark": (b'\xef\xbb\xbf{"id": "a"}', {"id": "a"}),
    "bytes that are no UTF-8": (b'{"id": "a", "x": "caf\xe9"}', {"id": "a", "x": "caf\ufffd"}),
    "a line break in a string": (b'{"id": "a", "x": "b\nc"}', {"id": "a", "x": "b\nc"}),
    "no number": (b'{"id": "a", "x": [NaN, -Infinity]}', {"id": "a", "x": [None, None]}),
    "a number beyond any float": (b'{"id": "a", "x": 1e999}', {"id": "a", "x": None}),
}


@table("text", list(TEXTS))
def test_nearly_json(text: str) -> None:
    """A text that breaks the standard in one value has all the others, however large it is."""
    data, value = TEXTS[text]

    assert parse_json(data) == value
    assert finished(parse_in_steps(data[:-1] + b" " * LARGE + b"}")) == value


STATUSES: Mapping[str, tuple[Mapping[str, object], str]] = {
    "an enumeration of protobuf": ({"task_status": "TASK_STATUS_CANCELLED", "completed_at": ENDED}, "cancelled"),
    "with its type": ({"task_status": "status_running"}, "running"),
    "another word, and a known one": ({"task_status": "5", "status": "completed"}, "completed"),
    "two other words": ({"task_status": "5", "status": "6"}, "5"),
    "ok": ({"status": "ok", "completed_at": ENDED}, "completed"),
    "the start of 1970": ({"task_status": "paused", "completed_at": "1970-01-01T08:00:00+08:00"}, "paused"),
    "an envelope that has an id": ({"id": "request-1", "data": {"id": ID, "task_status": "failed"}}, "failed"),
    "an envelope": ({"id": None, "response": {"id": ID, "task_status": "completed"}}, "completed"),
}


@table("case", list(STATUSES))
def test_status(case: str) -> None:
    """A status is recognised by its word, and an end by nothing that only stands for none."""
    fields, status = STATUSES[case]

    for kind in (Task, TaskResult):
        record: Any = structure(with_task_id({"id": ID, **fields}, ID), kind, MismatchLog())
        assert record.status == status


@table("answer", [{"status": "error", "error": "slow down"}, {"status": 404, "error": "not found"}])
def test_an_error_that_comes_with_a_200(answer: Mapping[str, object]) -> None:
    """It is about no task, so that no task has failed by it."""
    with pytest.raises(DecodeError, match="id is missing"):
        structure(with_task_id(answer, ID), Task)


@table("urls", [{"download_url": [LINK]}, {"download_urls": LINK}, {"download_urls": f'["{LINK}"]'}])
def test_a_url_that_cannot_be_read_shows_that_there_is_an_output(urls: Mapping[str, object]) -> None:
    """A task that ended with an output has completed, whatever the output looks like."""
    result = structure({"id": ID, "completed_at": ENDED, **urls}, TaskResult, MismatchLog())

    assert result.status == TaskStatus.COMPLETED


def test_outputs_of_one_name() -> None:
    """Of a list, none is lost."""
    listed = [{"name": "a.png", "url": f"https://s3/{number}"} for number in range(3)]
    result = structure({"id": ID, "download_urls": listed}, TaskResult)

    assert [file.url for file in result.files] == [each["url"] for each in listed]
    assert len({file.key for file in result.files}) == 3


@table(
    "answer", [{"data": {"task_id": ID}}, {"result": {"id": ID}}, {"task": {"task_id": ID}}, {"response": {"id": ID}}]
)
def test_a_submission_in_an_envelope(answer: object) -> None:
    """A task that is paid for is found."""
    assert read_submitted(json.dumps(answer).encode(), {}).task_id == ID


@table("number", [7.0, 7])
def test_a_submission_by_number(number: float) -> None:
    """An id may be a number; infinity is none."""
    assert read_submitted(b'{"task_id": %s}' % str(number).encode(), {}).task_id == "7"


LISTS: Mapping[str, object] = {
    "within any name": {"tasks": {"items": [{"id": "a"}], "total": 1}},
    "as of HAL": {"_links": {"self": {}}, "_embedded": {"tasks": [{"id": "a"}]}},
    "beside warnings": {"warnings": [{"code": 5}], "found": [{"id": "a"}]},
}


@table("case", list(LISTS))
def test_list(case: str) -> None:
    """A list is found in whatever holds it."""
    page: Any = structure(LISTS[case], Page[Task])  # type: ignore[type-abstract]

    assert [task.id for task in page.items] == ["a"]


@table("answer", [{"message": "internal", "errors": []}, {"error": {"details": []}}])
def test_an_error_is_no_empty_list(answer: object) -> None:
    """What lists its errors says nothing of tasks."""
    with pytest.raises(DecodeError):
        structure(answer, Page[Task])  # type: ignore[type-abstract]


PARAMETERS: Mapping[str, tuple[Mapping[str, object], object]] = {
    "limits that are not set": ({"type": "number", "min": 0, "max": 0}, 5),
    "limits without anything between": ({"type": "number", "min": 5, "max": -1}, 7),
    "options as floating-point numbers": ({"type": "select", "options": [1.0, 2.0]}, 1),
    "accept: a kind": ({"type": "file", "accept": ["image"]}, "a.png"),
    "accept: a pattern": ({"type": "file", "accept": ["*.png"]}, "a.png"),
    "accept: a type by its extension": ({"type": "file", "accept": ["image/jpg"]}, "a.jpg"),
    "accept: semicolons": ({"type": "file", "accept": "image/jpeg;image/png"}, "a.png"),
    "accept: bars": ({"type": "file", "accept": ".jpg|.png"}, "a.png"),
}


@table("case", list(PARAMETERS))
def test_a_definition_refuses_nothing_by_its_spelling(case: str) -> None:
    """What a definition means is let through, and what it does not mean is still refused."""
    fields, value = PARAMETERS[case]
    workflow = structure({"id": "w", "parameters": [{"key": "x", **fields}]}, Workflow, MismatchLog())
    is_file = fields["type"] == "file"

    assert problems_with({"x": InputFile(b"x", name=str(value)) if is_file else value}, workflow.parameters) == []
    assert problems_with({"x": InputFile(b"x", name="a.csv") if is_file else "y"}, workflow.parameters) != []


def test_events_by_the_names_of_deliveries() -> None:
    """An event that has the name which a delivery has for it is the same."""
    assert decode_event("task.progress", '{"progress": 0.5}', task_id=ID).name == "progress"
    assert decode_event("TASK.COMPLETED", "{}", task_id=ID).is_terminal


@table("progress", ["%", " %", "x%", "101%", "NaN", "7/20", "0,35"])
def test_a_progress_that_is_no_share_costs_only_itself(progress: str) -> None:
    """The raw value is kept."""
    event: Any = decode_event("progress", json.dumps({"progress": progress, "step_current": "7"}), task_id=ID)

    assert (event.progress, event.step_current, event.extra["progress"]) == (None, 7, progress)


DELIVERIES: Mapping[str, Callable[[], bytes]] = {
    "capitals": lambda: json.dumps({"event_type": "TASK.COMPLETED", "task_id": ID}).encode(),
    "an envelope": lambda: json.dumps({"event_type": "task.completed", "id": "e", "data": {"id": ID}}).encode(),
    "a task": lambda: json.dumps({"event_type": "x", "task": {"id": ID, "status": "completed"}}).encode(),
    "no UTF-8": lambda: b'{"event_type": "task.completed", "task_id": "%s", "x": "\xff"}' % ID.encode(),
    "no number": lambda: b'{"event_type": "task.completed", "task_id": "%s", "x": NaN}' % ID.encode(),
}


@table("case", list(DELIVERIES))
def test_delivery(case: str) -> None:
    """A delivery that is signed is read."""
    body = DELIVERIES[case]()
    event = webhooks.verify(body, "sha256=" + hmac.new(b"whsec_x", body, hashlib.sha256).hexdigest(), "whsec_x")

    assert (event.task_id, event.status) == (ID, "completed")


@table("answer", [{"data": {"id": "w"}}, {"workflow": {"id": "w"}}, {"code": 0, "result": {"id": "w"}}])
def test_a_record_in_an_envelope(answer: object) -> None:
    """What a response is about may stand one level down."""
    assert structure(answer, Workflow).id == "w"


@table("ended", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED])
@table("fields", [{}, {"task_status": "archived"}])
def test_a_result_that_does_not_say_how_the_task_ended(ended: TaskStatus, fields: Mapping[str, object]) -> None:
    """It is as the terminal event or a poll has said, where the result has nothing but the time of the end."""
    result = structure({"id": ID, "completed_at": ENDED, **fields}, TaskResult)

    assert result.status == TaskStatus.FAILED
    assert with_evidence(result, None) is result
    known = with_evidence(result, ended)
    assert known.status == ended
    assert known.error == (result.error if ended == TaskStatus.FAILED else None)


def test_a_result_that_says_how_the_task_ended_counts() -> None:
    """An error or an output outweighs what was reported before."""
    for fields, status in (({"task_error": "out of memory"}, "failed"), ({"download_url": LINK}, "completed")):
        result = structure({"id": ID, "completed_at": ENDED, **fields}, TaskResult)
        assert (with_evidence(result, TaskStatus.CANCELLED), result.status) == (result, status)
