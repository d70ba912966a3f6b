"""The response to a submission: its id is found wherever a server says it, and never guessed."""

from __future__ import annotations

import json
from codecs import BOM_UTF8

import httpx
import pytest
from support.tables import table

from cyberun_async import DecodeError
from cyberun_async._protocol.submitted import read_submitted

ID = "019abc12-9012-7890-abcd-ef1234567896"


@table(
    ("body", "location", "expected"),
    [
        pytest.param({"task_id": ID}, "", ID, id="as documented"),
        pytest.param({"task": {"id": ID}}, "", ID, id="in task"),
        pytest.param({"id": ID}, "", ID, id="as everywhere else"),
        pytest.param({}, f"/api/v1/r/tasks/{ID}", ID, id="Location"),
        pytest.param({}, f"https://core.test/api/v1/r/tasks/{ID}/?x=1#y", ID, id="Location, absolute"),
        pytest.param({}, "/tasks/a%20b", "a b", id="Location, escaped"),
        pytest.param({"task_id": 17}, "", "17", id="a number"),
        pytest.param({"task": {"id": 17}}, "/r/tasks/17", "17", id="a number and text"),
        pytest.param({"task_id": None, "id": ID}, "", ID, id="null is missing"),
        pytest.param({"task_id": "", "task": None, "id": True}, f"/tasks/{ID}", ID, id="what is no id is missing"),
        pytest.param({"task_id": f" {ID}\n"}, "", ID, id="white space"),
        pytest.param({"task_id": ID, "id": ID.upper()}, "", ID, id="the same in capitals"),
        pytest.param({"task_id": ID, "task": [1]}, "/jobs/8", ID, id="nothing else to go by"),
        pytest.param({"id": ID, "error_message": " "}, "", ID, id="an error that is none"),
        pytest.param({"task_id": ID, "id": "request-7", "error_message": "slow"}, "", ID, id="an error beside a task"),
    ],
)
def test_found(body: object, location: str, expected: str) -> None:
    """The id comes from `task_id`, else `task.id`, else `id`, else a `Location` that ends in `/tasks/<id>`."""
    headers = httpx.Headers({"Location": location})
    assert read_submitted(json.dumps(body).encode(), headers).task_id == expected


@table("body", [b"", b"<html>", b"null", b'"t-1"', b"[1]"])
def test_location_alone(body: bytes) -> None:
    """A body that says nothing takes nothing from the `Location`."""
    assert read_submitted(body, {"location": "/r/tasks/t-1"}).task_id == "t-1"


def test_byte_order_mark() -> None:
    """A byte-order mark, as some servers send it, hides no id."""
    assert read_submitted(BOM_UTF8 + b'{"task_id": "t-1"}', {}).task_id == "t-1"


@table(
    ("body", "location", "problem"),
    [
        pytest.param(b"", "", "not JSON (Expecting value: line 1 column 1 (char 0))", id="empty"),
        pytest.param(b"{}", "", "$: task_id is missing", id="no id"),
        pytest.param(b"[]", "", "$: expected an object, not list", id="no object"),
        pytest.param(b'{"task_id": ".."}', "", "$: task_id is missing", id="no segment of a path"),
        pytest.param(b'{"task_id": "\\ud83d"}', "", "$: task_id is missing", id="a lone surrogate"),
        pytest.param(b'{"task_id": {"id": 1}}', "", "$: task_id is missing", id="an object"),
        pytest.param(
            b'{"id": "request-7", "error_message": "quota exceeded", "data": {"id": 8}}',
            "",
            "it says 'quota exceeded', and names no task",
            id="the id of an error",
        ),
        pytest.param(b"{}", "http://[::1/tasks/1", "$: task_id is missing", id="a Location that is no URL"),
        pytest.param(b"{}", "/r/tasks/", "$: task_id is missing", id="a Location without an id"),
        pytest.param(
            b'{"task_id": "a", "id": "b"}', "", "it names different tasks: task_id 'a', id 'b'", id="two that differ"
        ),
        pytest.param(
            b'{"task_id": 1}', "/tasks/2", "it names different tasks: task_id '1', Location '2'", id="and the Location"
        ),
    ],
)
def test_refused(body: bytes, location: str, problem: str) -> None:
    """None, or two that differ, are an error."""
    with pytest.raises(DecodeError) as caught:
        read_submitted(body, {"location": location})
    assert caught.value.problem == problem
