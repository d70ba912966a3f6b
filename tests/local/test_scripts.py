"""Scripts as JSON, over the control path and from text; and files that are named by their bytes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async.local import LocalCyberun, LocalWorkflow, Output, scripts
from cyberun_async.local._http import ApiError
from cyberun_async.local._script_values import read_script

PROMPT = {"parameters": {"prompt": "dusk"}}
RUN = "r/workflows/slug/text-to-image/run"


@table(
    ("step", "made"),
    [
        pytest.param({"status": "running"}, scripts.status("running"), id="one argument"),
        pytest.param({"status": {"word": "running"}}, scripts.status("running"), id="by name"),
        pytest.param({"after": 2}, scripts.after(2), id="number"),
        pytest.param({"progress": {"step": 3, "total": 20}}, scripts.progress(3, 20), id="two arguments"),
        pytest.param(
            {"progress": {"step": 1, "total": 2, "node": None, "fraction": 0.1, "stage": "train", "message": "x"}},
            scripts.progress(1, 2, node=None, fraction=0.1, stage="train", message="x"),
            id="all arguments",
        ),
        pytest.param({"complete": None}, scripts.complete(), id="none"),
        pytest.param({"complete": {"output": {"a": 1}}}, scripts.complete({"a": 1}), id="output"),
        pytest.param({"fail": "out of memory"}, scripts.fail("out of memory"), id="fail"),
        pytest.param({"cancel": None}, scripts.cancel(), id="cancel"),
        pytest.param({"cancel": {}}, scripts.cancel(), id="no arguments"),
        pytest.param({"error": "x"}, scripts.error("x"), id="error"),
        pytest.param({"event": {"name": "gossip", "data": {"x": 1}}}, scripts.event("gossip", {"x": 1}), id="event"),
        pytest.param({"raw": ": hello\n\n"}, scripts.raw(b": hello\n\n"), id="raw"),
    ],
)
def test_steps(step: dict[str, Any], made: scripts.Step) -> None:
    """Each function of `scripts` has its form in JSON."""
    assert read_script({"workflow": "w", "steps": [step]}).steps == [made]


@table(
    ("script", "words"),
    [
        pytest.param([], "must be an object", id="a list"),
        pytest.param({"steps": []}, "workflow must be a slug", id="no workflow"),
        pytest.param({"workflow": "", "steps": []}, "workflow must be a slug", id="empty workflow"),
        pytest.param({"workflow": "w"}, "steps must be a list", id="no steps"),
        pytest.param({"workflow": "w", "steps": [{"cancel": None}] * 10001}, "at most 10000", id="too many"),
        pytest.param({"workflow": "w", "steps": [], "times": 0}, "times must be", id="times"),
        pytest.param({"workflow": "w", "steps": [], "time": 1}, "not time", id="a misspelled field"),
        pytest.param({"workflow": "w", "steps": ["cancel"]}, r"steps\[0\] must be an object", id="text"),
        pytest.param({"workflow": "w", "steps": [{"a": 1, "b": 2}]}, "with one key", id="two keys"),
        pytest.param({"workflow": "w", "steps": [{"dance": 1}]}, "must be one of: status, after", id="unknown"),
        pytest.param({"workflow": "w", "steps": [{"after": "x"}]}, r"steps\[0\].after.seconds must be", id="value"),
        pytest.param({"workflow": "w", "steps": [{"after": None}]}, "missing a required argument", id="missing"),
        pytest.param({"workflow": "w", "steps": [{"after": {"minutes": 1}}]}, "has no minutes", id="argument"),
        pytest.param({"workflow": "w", "steps": [{"cancel": {"x": 1}}]}, "it takes nothing", id="no argument"),
        pytest.param({"workflow": "w", "steps": [{"cancel": 1}]}, "takes nothing: write null", id="value for none"),
    ],
)
def test_bad_scripts(script: object, words: str) -> None:
    """What is no script is a 400 that says where."""
    with pytest.raises(ApiError, match=words) as caught:
        read_script(script)
    assert caught.value.status == 400


async def ends(http: httpx.AsyncClient, server: LocalCyberun) -> str:
    """Submit a task, and give its status once all that was due has happened."""
    task_id = (await http.post(RUN, json=PROMPT)).json()["task_id"]
    await server.clock.advance(1)
    status: str = (await http.get(f"r/tasks/{task_id}")).json()["task_status"]
    return status


async def test_over_http(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """A script over the control path is the life of as many tasks as it says."""
    async with httpx.AsyncClient(verify=False, headers={"Authorization": f"Bearer {server.control_token}"}) as control:
        script = {"workflow": "text-to-image", "steps": [{"fail": "out of memory"}], "times": 2}
        response = await control.post(f"{server.control_url}/scripts", json=script)
        assert (response.status_code, response.json()) == (
            201,
            {"workflow": "text-to-image", "steps": 1, "times": 2},
        )
        assert (await control.post(f"{server.control_url}/scripts", json={})).status_code == 400
    assert [await ends(http, server) for _ in range(3)] == ["failed", "failed", "queued"]


async def test_too_many(server: LocalCyberun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that no task uses do not pile up."""
    monkeypatch.setattr("cyberun_async.local._control.MAX_SCRIPTS", 1)
    async with httpx.AsyncClient(verify=False, headers={"Authorization": f"Bearer {server.control_token}"}) as control:
        script = {"workflow": "text-to-image", "steps": []}
        statuses = [(await control.post(f"{server.control_url}/scripts", json=script)).status_code for _ in range(2)]
    assert statuses == [201, 409]


async def test_from_text(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Text has one script or several; one without an end of its times is for every task."""
    server.read_scripts('[{"workflow": "text-to-image", "steps": [{"cancel": null}]}]')
    server.read_scripts('{"workflow": "text-to-image", "steps": [{"fail": "x"}], "times": null}')
    assert [await ends(http, server) for _ in range(4)] == ["cancelled", "failed", "failed", "failed"]


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[3]", '{"workflow": "w", "steps": 3}'], ids=lambda text: text[:9]
)
def test_bad_text(server: LocalCyberun, text: str) -> None:
    """Text that is no script is a `ValueError`, and nothing of it is taken in."""
    with pytest.raises(ValueError, match=r".") as caught:
        server.read_scripts(text)
    assert str(caught.value)


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\nxx", "output_00001_.png", "image/png", id="PNG"),
        pytest.param(b"\xff\xd8\xff\xe0xx", "output_00001_.jpg", "image/jpeg", id="JPEG"),
        pytest.param(b"GIF89a", "output_00001_.gif", "image/gif", id="GIF"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", "output_00001_.webp", "image/webp", id="WebP"),
        pytest.param(b"RIFF\0\0\0\0WAVE", "output_00001_.bin", "application/octet-stream", id="a sound"),
        pytest.param(b"", "output_00001_.bin", "application/octet-stream", id="nothing"),
    ],
)
async def test_names(server: LocalCyberun, http: httpx.AsyncClient, data: bytes, name: str, kind: str) -> None:
    """Bytes that a workflow returns are named by what they are."""
    server.add_workflow(LocalWorkflow("draw", lambda _: data, script=[scripts.complete()]))
    task_id = (await http.post("r/workflows/slug/draw/run", json={})).json()["task_id"]
    await server.clock.advance(1)
    result = (await http.get(f"r/tasks/{task_id}/result")).json()
    assert result["task_output"]["storage_key"] == f"tasks/{task_id}/{name}"
    stored = server.storage.find(f"tasks/{task_id}/{name}")
    assert stored is not None
    assert stored.content_type == kind
    assert result["task_output"]["image_count"] == kind.startswith("image/")


async def test_a_name_that_is_given(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """An `Output` keeps its own name and type."""
    made = Output(b"\x89PNG\r\n\x1a\n", "mine.dat", "x/y")
    server.add_workflow(LocalWorkflow("draw", lambda _: made, script=[scripts.complete()]))
    task_id = (await http.post("r/workflows/slug/draw/run", json={})).json()["task_id"]
    await server.clock.advance(1)
    assert (await http.get(f"r/tasks/{task_id}/result")).json()["task_output"]["storage_key"].endswith("/mine.dat")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
NAMES = st.sampled_from(["status", "after", "progress", "complete", "fail", "cancel", "error", "event", "raw", "x"])
ARGUMENTS = st.sampled_from(
    ["word", "seconds", "step", "total", "node", "fraction", "output", "message", "name", "data"]
)


@given(
    st.lists(st.dictionaries(NAMES, JSON | st.dictionaries(ARGUMENTS, JSON, max_size=3), max_size=2), max_size=3), JSON
)
def test_any_script(steps: list[object], times: object) -> None:
    """Whatever JSON it is: a script, or a 400 that says where it is wrong."""
    failure = None
    try:
        script = read_script({"workflow": "w", "steps": steps, "times": times})
    except ApiError as error:
        failure = error
    assert failure.status == 400 if failure else len(script.steps) == len(steps)
