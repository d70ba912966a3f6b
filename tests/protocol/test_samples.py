"""Every documented answer, as it is and as it might be, becomes a record."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, get_args

import attrs
import pytest
from support.samples import ID, SAMPLES, WORKFLOW_ID, Json, Sample, at, places, spelled, with_, without

from cyberun_async import DecodeError, FailedEvent, OutputFile, Task, TaskResult, TaskStatus, decode_event
from cyberun_async._protocol.codec import WIRE_NAME, decode_json, structure
from cyberun_async._protocol.pages import Page

EACH = [pytest.param(sample, id=name) for name, sample in SAMPLES.items()]


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


@pytest.mark.parametrize("sample", EACH)
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


@pytest.mark.parametrize(("sample", "path"), list(optional_places()))
def test_missing_and_null_mean_the_same(sample: Sample, path: tuple[str | int, ...]) -> None:
    """A field that the server may leave out may be missing or `null`, with the same result."""
    missing = structure(without(sample.json, path), sample.kind)
    null = structure(with_(sample.json, path, None), sample.kind)

    assert missing == null or path[:-1] in sample.open


@pytest.mark.parametrize("sample", EACH)
def test_required_is_enough(sample: Sample) -> None:
    """With nothing but what is required, a sample still decodes."""
    least = sample.json
    for path, _ in reversed(list(places(sample.json))):
        if isinstance(path[-1], str) and not any(path == needed[: len(path)] for needed in sample.required):
            least = without(least, path)

    structure(least, sample.kind)


@pytest.mark.parametrize(
    ("sample", "path"),
    [
        pytest.param(sample, path, id=f"{name}: {spelled(path)}")
        for name, sample in SAMPLES.items()
        for path in sample.required
        if not str(path[-1]).endswith("_list")  # An empty list may be left out.
    ],
)
@pytest.mark.parametrize("is_null", [pytest.param(True, id="null"), pytest.param(False, id="missing")])
def test_required_is_needed(sample: Sample, path: tuple[str | int, ...], is_null: bool) -> None:
    """Without a field that is required the answer is not what was promised, and the error names the place."""
    broken = with_(sample.json, path, None) if is_null else without(sample.json, path)

    with pytest.raises(DecodeError, match=rf"{re.escape(wire_path(path[:-1]))}: {path[-1]} is missing"):
        structure(broken, sample.kind)


@pytest.mark.parametrize(("sample", "path"), list(objects()))
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


WRONG: Mapping[type, list[Json]] = {
    str: [5, 1.5, True, ["x"], {"x": "y"}],
    int: ["5", 1.5, True, [5], {"x": 5}],
    float: ["5", True, [5], {"x": 5}],
    bool: [1, 0, "true", [True], {"x": True}],
    list: ["x", 5, True, {"0": "x"}],
    dict: ["x", 5, True, ["x"]],
}
"""What stands where something else belongs, by the type that belongs there."""

TIMES = (
    "created_at",
    "started_at",
    "completed_at",
    "updated_at",
    "expires_at",
    "connected_at",
    "last_heartbeat",
    "last_delivered_at",
)
FLOATS = ("min", "max", "sync_percent")


def wrong_values() -> Iterator[Any]:
    """Give each place of each sample with what does not belong there."""
    for name, sample in SAMPLES.items():
        for path, value in [((), sample.json), *places(sample.json)]:
            if any(
                path[: len(place)] == place and (path != place or place[-1] != "task_output") for place in sample.open
            ):
                continue
            if path in {("page_meta", "current_page"), ("service_list",)}:
                continue  # The one is of no use to us, of the other the name is not documented.
            wrong = WRONG[float if path[-1:] and path[-1] in FLOATS else type(value)]
            wrong = [*wrong, "", "yesterday", "2025-13-01T00:00:00Z"] if path[-1:] and path[-1] in TIMES else wrong
            yield pytest.param(sample, path, wrong, id=f"{name}: {spelled(path)}")


@pytest.mark.parametrize(("sample", "path", "wrong"), list(wrong_values()))
def test_wrong_types_are_refused_by_name(sample: Sample, path: tuple[str | int, ...], wrong: list[Json]) -> None:
    """A value of the wrong type is not bent into shape: the error names the place, and holds nothing of the answer."""
    for item in wrong:
        with pytest.raises(DecodeError) as caught:
            structure(with_(sample.json, path, item) if path else item, sample.kind)

        assert caught.value.problem.startswith(f"{wire_path(path)}: expected ")
        assert "s3.example.com" not in str(caught.value)


def wire_path(path: tuple[str | int, ...]) -> str:
    """Write a place as errors do."""
    text = "$"
    for before, step in zip((None, *path), path, strict=False):
        if isinstance(step, int):
            text += f"[{step}]"
        elif before in {"download_urls", "upload_headers", "headers"}:
            text += f"[{step!r}]"
        else:
            text += f".{step}"
    return text


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param({}, "unknown", id="nothing at all"),
        pytest.param({"task_output": None, "task_error": ""}, "unknown", id="neither output nor error"),
        pytest.param({"task_output": {}}, "completed", id="an output"),
        pytest.param({"task_error": "out of memory"}, "failed", id="an error"),
        pytest.param({"task_error": "out of memory", "task_output": {}}, "failed", id="both"),
        pytest.param({"task_output": {}, "task_status": "cancelled"}, "cancelled", id="stated otherwise"),
        pytest.param({"task_status": "paused"}, "paused", id="stated by a new word"),
    ],
)
def test_status_of_a_result_that_leaves_it_out(answer: Json, status: str) -> None:
    """What the documentation says of the other fields tells the status where the answer does not, as in its sample."""
    assert structure({"id": ID, **answer}, TaskResult).status == status


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("sample", EACH)
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
            assert field.metadata.get(WIRE_NAME, field.name) in everywhere


def test_reasons_carry_no_secrets() -> None:
    """A failed task's reason is shown in errors and logs, so keys and the signatures of links are cut out of it."""
    words = "GET https://s3.example.com/in.png?X-Amz-Signature=abc by sk-0123456789abcdef: 403"
    record = {"id": "x", "task_status": "failed", "task_error": words}
    expected = "GET https://s3.example.com/in.png?[signature] by [key]: 403"
    assert decode_json(json.dumps(record), TaskResult).error == expected
    event = decode_event("failed", json.dumps({"task_id": "x", "error": words}), task_id="x")
    assert isinstance(event, FailedEvent)
    assert event.error == expected
