"""Every documented answer, as it is and as it might be, becomes a record."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, get_args

import attrs
import pytest
from support.samples import ID, SAMPLES, WORKFLOW_ID, Json, Sample, at, places, spelled, with_, without
from support.tables import table

from cyberun_async import DecodeError, FailedEvent, OutputFile, Task, TaskResult, TaskStatus, decode_event
from cyberun_async._protocol.codec import decode_json, structure
from cyberun_async._protocol.fields import WIRE_NAME
from cyberun_async._protocol.pages import Page

EACH = [pytest.param(sample, id=name) for name, sample in SAMPLES.items()]


TIME = "2025-02-10T14:01:30Z"


def optional_places() -> Iterator[Any]:
    """Give each field of each sample that the server may leave out."""
    for name, sample in SAMPLES.items():
        for path, _ in places(sample.json):
            if isinstance(path[-1], str) and path not in sample.required:
                yield pytest.param(sample, path, id=f"{name}: {spelled(path)}")


def objects() -> Iterator[Any]:
    """Give each object of each sample to which the server may add a field."""
    for name, sample in SAMPLES.items():
        for path, value in [((), sample.json), *places(sample.json)]:
            is_open = path in sample.open or path[-1:] in {("download_urls",), ("upload_headers",), ("headers",)}
            if isinstance(value, dict) and not is_open:
                yield pytest.param(sample, path, id=f"{name}: {spelled(path)}")


def test_task() -> None:
    """A task has the wire's fields under our names."""
    assert structure(SAMPLES["task, stated"].json, Task) == Task(
        id=ID,
        workflow_id=WORKFLOW_ID,
        status=TaskStatus.RUNNING,
        error=None,
        created_at=datetime(2025, 2, 10, 14, tzinfo=timezone.utc),
        started_at=datetime(2025, 2, 10, 14, 0, 5, tzinfo=timezone.utc),
        completed_at=datetime(2025, 2, 10, 14, 1, 30, tzinfo=timezone.utc),
        retry_count=0,
        agent_id="agent-gpu-01",
        agent_labels=("gpu", "comfyui"),
        gateway_id="gw-a1b2c3d4",
        gpu_type="NVIDIA GeForce RTX 4090",
        dispatch_target="agent",
        target_pool="team",
        tool_type="comfyui",
    )


def test_result() -> None:
    """A result has the wire's fields under our names, and its files in one list."""
    result = structure(SAMPLES["result, stated"].json, TaskResult)

    assert result == TaskResult(
        id=ID,
        status=TaskStatus.COMPLETED,
        output={"storage_key": "tasks/019c65a0-1234-7000-8000-abcdef123456/output_00001_.png", "image_count": 1},
        download_url="https://s3.example.com/tasks/019c65a0-.../output.png?X-Amz-Expires=3600&...",
        download_urls={"9.images.0": "https://s3.example.com/outputs/.../image.png?X-Amz-Expires=3600&..."},
        expires_at=datetime(2025, 2, 10, 15, 1, 30, tzinfo=timezone.utc),
        completed_at=datetime(2025, 2, 10, 14, 1, 30, tzinfo=timezone.utc),
    )
    assert [file.key for file in result.files] == [
        "tasks/019c65a0-1234-7000-8000-abcdef123456/output_00001_.png",
        "9.images.0",
    ]


@table("sample", EACH)
def test_every_sample_decodes(sample: Sample) -> None:
    """A sample decodes, and each of its fields leaves a trace in the record."""
    record: Any = structure(sample.json, sample.kind)
    value = sample.json
    if isinstance(record, Page):
        assert (record.size, record.total) == (20, 42)
        (record,), (value, _) = record.items, value.values()
        (value,) = value
    names = {field.metadata.get(WIRE_NAME, field.name): field.name for field in attrs.fields(type(record))}

    assert set(value) <= set(names)
    for name, item in value.items():
        assert item in ("", 0, [], {}) or getattr(record, names[name]), name


@table(("sample", "path"), list(optional_places()))
def test_missing_and_null_mean_the_same(sample: Sample, path: tuple[str | int, ...]) -> None:
    """A field that the server may leave out may be missing or `null`, with the same result."""
    missing = structure(without(sample.json, path), sample.kind)
    null = structure(with_(sample.json, path, None), sample.kind)

    assert missing == null or path[:-1] in sample.open


@table("sample", EACH)
def test_required_is_enough(sample: Sample) -> None:
    """With nothing but what is required, a sample still decodes."""
    least = sample.json
    for path, _ in reversed(list(places(sample.json))):
        if isinstance(path[-1], str) and not any(path == needed[: len(path)] for needed in sample.required):
            least = without(least, path)

    structure(least, sample.kind)


@table(
    ("sample", "path"),
    [
        pytest.param(sample, path, id=f"{name}: {spelled(path)}")
        for name, sample in SAMPLES.items()
        for path in sorted(sample.required, key=spelled)  # Workers of one run have to find the same order.
        if len(path) == 1 and not str(path[-1]).endswith("_list")  # An empty list may be left out.
    ],
)
@table("value", [None, "", [5], {}, True], ids=repr)
def test_required_is_needed(sample: Sample, path: tuple[str | int, ...], value: Json) -> None:
    """Without a field that is required the answer is not what was promised, and the error names the place."""
    answers = [with_(sample.json, path, value), *([] if value else [without(sample.json, path)])]
    for answer in answers:
        with pytest.raises(DecodeError, match=rf"\$(: {path[-1]} is missing|\.{path[-1]}: expected .*, not \w+)"):
            structure(answer, sample.kind)


@table(("sample", "path"), list(objects()))
def test_unknown_fields_are_ignored(sample: Sample, path: tuple[str | int, ...]) -> None:
    """A field that this version does not know changes nothing, wherever it stands and whatever it holds."""
    more = {"zz_text": "x", "zz_number": 1.5, "zz": [1, "x"], "zz_list": [{"id": 5}], "zz_null": None, "zz_object": {}}
    known = at(sample.json, path)
    expected = structure(sample.json, sample.kind)

    if path:
        assert expected == structure(with_(sample.json, path, {**more, **known}), sample.kind)
        assert expected == structure(with_(sample.json, path, {**known, **more}), sample.kind)
    elif "service_list" not in known:  # What that list is called is not documented.
        assert expected == structure({**more, **known}, sample.kind)
    assert expected == structure({**sample.json, **more}, sample.kind)


@table(
    ("answer", "status"),
    [
        pytest.param({}, "unknown", id="nothing at all"),
        pytest.param({"task_output": None, "task_error": ""}, "unknown", id="neither output nor error"),
        pytest.param({"task_output": {}}, "completed", id="an output"),
        pytest.param({"task_error": "out of memory"}, "failed", id="an error"),
        pytest.param({"task_error": "out of memory", "task_output": {}}, "failed", id="both"),
        pytest.param({"task_output": {}, "task_status": "cancelled"}, "cancelled", id="stated otherwise"),
        pytest.param({"task_status": "paused"}, "paused", id="stated by a new word"),
        pytest.param({"task_status": "paused", "task_output": {}, "download_url": "x"}, "paused", id="no evidence"),
        pytest.param({"task_status": "RUNNING", "completed_at": TIME, "task_error": "old"}, "running", id="known word"),
        pytest.param({"task_status": "paused", "completed_at": TIME}, "failed", id="ended, nobody knows how"),
        pytest.param({"task_status": "paused", "completed_at": "0001-01-01T00:00:00Z"}, "paused", id="not ended"),
        pytest.param(
            {"task_status": "paused", "completed_at": TIME, "task_output": {"x": 1}}, "completed", id="output"
        ),
        pytest.param({"task_status": "paused", "completed_at": TIME, "task_output": ["x"]}, "completed", id="list"),
        pytest.param({"task_status": "paused", "completed_at": TIME, "output": "x"}, "completed", id="text"),
        pytest.param({"task_status": "paused", "completed_at": TIME, "task_output": []}, "failed", id="empty list"),
        pytest.param({"task_status": "paused", "completed_at": TIME, "download_urls": ["x"]}, "completed", id="links"),
        pytest.param({"task_status": {}, "completed_at": TIME, "download_url": "x"}, "completed", id="no word"),
        pytest.param({"status": "succeeded", "completed_at": TIME}, "completed", id="by its other name"),
        pytest.param(
            {"task_status": "Timed-Out", "completed_at": TIME, "download_url": "x"}, "failed", id="time limit"
        ),
    ],
)
def test_status_of_a_result(answer: Json, status: str) -> None:
    """A known word counts; else what the documentation says of the other fields tells the status, as in its sample."""
    result = structure({"id": ID, **answer}, TaskResult)

    assert result.status == status
    name = "status" if "status" in answer else "task_status"
    raw = answer.get(name)
    assert result.extra.get(name) == (None if TaskStatus(str(raw)).is_known or raw == status else raw)


@table(
    ("answer", "error"),
    [
        pytest.param({"task_status": "failed", "task_error": "no memory"}, "no memory", id="as documented"),
        pytest.param({"task_status": "failed", "task_error": " "}, None, id="blank"),
        pytest.param({"task_status": "failed", "error": "no memory"}, "no memory", id="error"),
        pytest.param({"task_status": "failed", "task_error": "", "message": "no memory"}, "no memory", id="message"),
        pytest.param({"task_status": "failed", "detail": "no memory"}, "no memory", id="detail"),
        pytest.param({"task_status": "failed", "task_error": {"message": "no memory"}}, "no memory", id="object"),
        pytest.param({"task_status": "failed", "task_error": ["no", "memory"]}, "no; memory", id="list"),
        pytest.param({"task_status": "failed", "task_error": {}}, None, id="empty object"),
        pytest.param({"task_status": "failed", "task_error": True}, None, id="flag"),
        pytest.param({"task_status": "running", "message": "step 3"}, None, id="a message that is no error"),
        pytest.param({"task_status": "failed", "message": {"a": 1}}, None, id="a message that is no text"),
        pytest.param(
            {"task_status": "timeout", "completed_at": TIME},
            "the server gives no reason, but the status timeout",
            id="a word",
        ),
        pytest.param({"completed_at": TIME}, "the server gives no reason", id="nothing"),
        pytest.param({"completed_at": TIME, "message": "lost", "task_status": "x"}, "lost", id="nothing but a message"),
    ],
)
def test_error_of_a_result(answer: Json, error: str | None) -> None:
    """The words of an error are found where they stand; a message is one only where the task failed."""
    result = structure({"id": ID, **answer}, TaskResult)

    assert result.error == error
    assert ("message" in result.extra) == ("message" in answer)


@table(
    ("answer", "status"),
    [
        pytest.param({"task_status": "odd", "completed_at": TIME, "task_error": ""}, "completed", id="no error"),
        pytest.param({"task_status": "odd", "completed_at": TIME, "task_error": "x"}, "failed", id="an error"),
        pytest.param({"task_status": "odd", "completed_at": TIME}, "failed", id="nothing"),
        pytest.param({"task_status": "odd"}, "odd", id="no evidence"),
        pytest.param({"task_status": "failed", "completed_at": TIME, "task_error": ""}, "failed", id="a known word"),
        pytest.param({}, "unknown", id="not a word"),
    ],
)
def test_status_of_a_task(answer: Json, status: str) -> None:
    """A poll has no place for an output, so that it has none says nothing; that it has no error does."""
    assert structure({"id": ID, **answer}, Task).status == status


@table(
    ("answer", "files"),
    [
        pytest.param({}, [], id="none"),
        pytest.param(
            {"download_url": "https://s3/x/out.png?s=1", "task_output": {"storage_key": "tasks/1/a.png"}},
            [("tasks/1/a.png", "a.png", "https://s3/x/out.png?s=1")],
            id="primary",
        ),
        pytest.param(
            {"download_url": "https://s3/x/out.png?s=1"},
            [("out.png", "out.png", "https://s3/x/out.png?s=1")],
            id="primary without a storage key",
        ),
        pytest.param(
            {
                "download_urls": {"9.images.0": "https://s3/1?s=1", "9.images.1": "https://s3/2?s=1"},
                "task_output": {"9.images.0": {"s3_key": "o/a.png"}, "9.images.1": {"s3_key": "o/a.png"}},
            },
            [
                ("9.images.0", "9.images.0.png", "https://s3/1?s=1"),
                ("9.images.1", "9.images.1.png", "https://s3/2?s=1"),
            ],
            id="several",
        ),
        pytest.param(
            {"download_url": "https://s3/1?s=1", "download_urls": {"9.images.0": "https://s3/1?s=1"}},
            [("9.images.0", "9.images.0", "https://s3/1?s=1")],
            id="primary among the others",
        ),
        pytest.param({"download_url": "", "download_urls": {"a": ""}}, [], id="empty links"),
    ],
)
def test_files_of_a_result(answer: Json, files: list[tuple[str, str, str]]) -> None:
    """The links of a result, in whichever field they stand, are one list of files with names that differ."""
    result = structure({"id": ID, **answer}, TaskResult)

    assert files == [(file.key, file.name, file.url) for file in result.files]


def test_expiry_belongs_to_the_primary_link() -> None:
    """The one time that the server gives is said of the link that it is documented for."""
    files = structure(SAMPLES["result"].json, TaskResult).files

    assert [file.expires_at is not None for file in files] == [True, False]
    assert all(isinstance(file, OutputFile) for file in files)


@table(
    ("answer", "urls"),
    [
        pytest.param({"a": "https://s3/1"}, {"a": "https://s3/1"}, id="as documented"),
        pytest.param({"a": "1.png"}, {"a": "1.png"}, id="text"),
        pytest.param({"9": {"url": "https://s3/1", "type": "image"}}, {"9": "https://s3/1"}, id="nested"),
        pytest.param({"9": {"images": ["https://s3/1", None]}}, {"9.images.0": "https://s3/1"}, id="nested twice"),
        pytest.param({"9": {"type": "image/png", "at": "https://s3/1"}}, {"9.at": "https://s3/1"}, id="another name"),
        pytest.param(
            {"9": ["https://s3/1", "https://s3/2"]}, {"9.0": "https://s3/1", "9.1": "https://s3/2"}, id="lists"
        ),
        pytest.param({"9": None, "8": "https://s3/1"}, {"8": "https://s3/1"}, id="null"),
        pytest.param({"9": 5, "8": "https://s3/1"}, {"8": "https://s3/1"}, id="a number"),
        pytest.param(["https://s3/1", ""], {"0": "https://s3/1"}, id="a list"),
        pytest.param([{"key": "9.images.0", "url": "https://s3/1"}], {"9.images.0": "https://s3/1"}, id="of objects"),
        pytest.param([], {}, id="an empty list"),
        pytest.param("https://s3/1", {}, id="one link"),
        pytest.param({"9": 5}, {}, id="nothing that is a link"),
    ],
)
def test_links(answer: Json, urls: Mapping[str, str]) -> None:
    """Links are found in lists and objects, under keys of the documented form."""
    result = structure({"id": ID, "download_urls": answer}, TaskResult)

    assert result.download_urls == urls
    assert [file.url for file in result.files] == list(urls.values())
    assert urls or not answer or result.extra == {"download_urls": answer}


@table(
    ("answer", "url"),
    [
        pytest.param({"url": "https://s3/1"}, "https://s3/1", id="an object"),
        pytest.param("", None, id="empty"),
        pytest.param({"other": 1}, None, id="an object without a link"),
        pytest.param(["https://s3/1"], "https://s3/1", id="a list"),
        pytest.param([None, 5], None, id="a list without a link"),
    ],
)
def test_link(answer: Json, url: str | None) -> None:
    """The primary link may be in an object."""
    assert structure({"id": ID, "download_url": answer}, TaskResult).download_url == url


@table(
    ("primary", "other", "count"),
    [
        pytest.param("https://s3/a?X-Amz-Signature=1", "https://s3/a?X-Amz-Signature=2", 1, id="AWS"),
        pytest.param("https://S3/a?Signature=1&Expires=5", "https://s3/a", 1, id="AWS of old"),
        pytest.param("https://b/a?sv=1&sig=2&se=3", "https://b/a?sv=1&sig=4&se=5", 1, id="Azure"),
        pytest.param("https://s3/get?key=a&X-Amz-Date=1", "https://s3/get?key=b&X-Amz-Date=1", 2, id="by its query"),
        pytest.param("https://s3/get?key=a&X-Amz-Date=1", "https://s3/get?X-Amz-Date=2&key=a", 1, id="of one query"),
        pytest.param("https://s3/a?sig=1", "https://s3/b?sig=1", 2, id="another path"),
        pytest.param("https://[s3/a?sig=1", "https://[s3/a?sig=1", 1, id="no URL"),
    ],
)
def test_one_object_is_one_file(primary: str, other: str, count: int) -> None:
    """An object that is linked twice is one file, whatever its links are signed with."""
    result = structure({"id": ID, "download_url": primary, "download_urls": {"a": other}}, TaskResult)

    assert len(result.files) == count


@table("sample", EACH)
def test_no_link_and_no_secret_in_a_repr(sample: Sample) -> None:
    """Whoever prints a record into a log gives nobody access to a file or a service."""
    record: Any = structure(sample.json, sample.kind)
    shown = repr(record) + repr(getattr(record, "files", ()))

    assert not re.search(r"X-Amz|Content-Length|env_value|'large'|whsec_", shown)


def test_samples_cover_every_field() -> None:
    """No field of a record is without a documented sample."""
    for sample in SAMPLES.values():
        kind = get_args(sample.kind)[0] if get_args(sample.kind) else sample.kind
        everywhere = {
            name
            for other in SAMPLES.values()
            if kind in (other.kind, *get_args(other.kind))
            for path, _ in places(other.json)
            for name in path
        }
        for field in attrs.fields(kind):
            assert field.metadata.get(WIRE_NAME, field.name) in {None, *everywhere}


def test_reasons_carry_no_secrets() -> None:
    """A failed task's reason is shown in errors and logs, so keys and the signatures of links are cut out of it."""
    words = "GET https://s3.example.com/in.png?X-Amz-Signature=abc by sk-0123456789abcdef: 403"
    record = {"id": "x", "task_status": "failed", "task_error": words}
    expected = "GET https://s3.example.com/in.png?[signature] by [key]: 403"
    assert decode_json(json.dumps(record), TaskResult).error == expected
    event = decode_event("failed", json.dumps({"task_id": "x", "error": words}), task_id="x")
    assert isinstance(event, FailedEvent)
    assert event.error == expected


def test_a_result_of_ones_own() -> None:
    """A link that is empty is none, also in a result that no server has sent."""
    assert TaskResult(id=ID, download_urls={"a": "", "b": "https://s3/1"}).files[0].key == "b"
