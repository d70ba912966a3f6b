"""Each command: what it prints for people, and what for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from cyberun_async import ProgressEvent
from cyberun_async.cli._show import Lines
from cyberun_async.local.scripts import after, complete, event, progress, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Outcome
    from cyberun_async.local import LocalCyberun

    Command = Callable[..., Outcome]

PICTURE = ("text-to-image", "-p", "prompt=dusk", "-p", "width=64", "-p", "height=64")


@pytest.fixture
def task_id(cyberun: Command) -> str:
    """Submit a task and wait for its end."""
    submitted = cyberun("submit", *PICTURE).out.strip()
    assert cyberun("wait", submitted).code == 0
    return submitted


def test_run_ends_in_a_picture_on_disk_whose_path_is_all_of_stdout(cyberun: Command):
    """A pipe gets the path; how the task went is told on stderr."""
    done = cyberun("run", *PICTURE, "--out", "out")
    path = Path(done.out.rstrip("\n"))
    assert (done.code, path.parent) == (0, Path("out"))
    with Image.open(path) as picture:
        assert picture.size == (64, 64)
    said = done.err.splitlines()
    assert said[0].startswith("text-to-image: task ")
    assert said[-1] == "completed"


def test_run_on_a_local_cyberun_needs_no_account(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """The first command that a new user runs works without a key and without a network."""
    monkeypatch.delenv("CYBERUN_API_KEY")
    monkeypatch.setenv("CYBERUN_BASE_URL", "http://127.0.0.1:9/api/v1")
    monkeypatch.setattr("cyberun_async.cli._connect.PACE", 0.02)
    done = cyberun("run", *PICTURE, "--local", "--out", "out")
    assert done.code == 0
    assert Path(done.out.rstrip("\n")).is_file()


def test_run_without_out_downloads_nothing(cyberun: Command):
    """Nothing is written where nobody said where to."""
    assert cyberun("run", *PICTURE).out == ""
    assert list(Path().iterdir()) == []


def test_run_downloads_every_file_of_a_result(cyberun: Command):
    """A task with several outputs gives several paths."""
    done = cyberun("run", "image-set", *PICTURE[1:], "-p", "count=3", "--out", "out")
    paths = [Path(line) for line in done.out.splitlines()]
    assert len(paths) == 3
    assert all(path.is_file() for path in paths)


def test_lines_of_a_log_are_few_however_many_steps_there_are(capsys: pytest.CaptureFixture[str]):
    """A log gets a line for each tenth of the way, and for each stage."""
    log = Lines()
    for n in range(1001):
        stage = "process_data" if n < 350 else "train"
        log.event(ProgressEvent(task_id="t", progress=n / 1000, step_current=n, step_total=1000, stage=stage))
    said = capsys.readouterr().err.splitlines()
    assert said[3:6] == [
        "30%, process_data, step 300/1000",
        "35%, train, step 350/1000",
        "40%, train, step 400/1000",
    ]
    assert len(said) == 12


def test_run_as_json_tells_submission_events_result_and_files(cyberun: Command):
    """Programs read the types in this order, one object a line, and nothing else."""
    done = cyberun("run", *PICTURE, "--out", "out", "--json")
    types = [line["type"] for line in done.lines]
    assert (done.code, done.err) == (0, "")
    assert types == ["submitted", *["event"] * (len(types) - 3), "result", "file"]
    first, *events, result, file = done.lines
    assert {line["task_id"] for line in [first, *events, result]} == {first["task_id"]}
    assert events[-1]["event"] == "completed"
    assert result["files"] == [{"key": result["output"]["storage_key"], "name": Path(file["path"]).name}]
    assert file["size"] == Path(file["path"]).stat().st_size


def test_submit_prints_nothing_but_the_id(cyberun: Command, server: LocalCyberun):
    """A shell can keep the id in a variable."""
    submitted = cyberun("submit", *PICTURE)
    assert (submitted.code, submitted.err) == (0, "")
    shown = cyberun("result", submitted.out.strip()).out
    assert shown.startswith(f"task: {submitted.out.strip()}\nstatus: ")


def test_submit_as_json(cyberun: Command):
    """The shape that docs/cli.md promises."""
    (line,) = cyberun("submit", *PICTURE, "--json").lines
    assert set(line) == {"type", "workflow", "task_id"}


def test_wait_fetches_the_files_of_a_task_that_is_over(cyberun: Command, task_id: str):
    """Coming back late is no different from waiting."""
    done = cyberun("wait", task_id, "--out", "here")
    assert done.code == 0
    assert Path(done.out.rstrip("\n")).parent == Path("here")


def test_events_prints_each_as_it_comes(cyberun: Command, server: LocalCyberun):
    """Unlike a log of `run`, every step is shown: that is what was asked for."""
    life = [
        status("running"),
        progress(1, 4, stage="train", message="Warming up"),
        event("preview", {"frame": 1}),
        complete(),
    ]
    server.script("text-to-image", life)
    shown = cyberun("events", cyberun("submit", *PICTURE).out.strip())
    assert shown.code == 0
    assert shown.out.splitlines()[-1] == "completed"


def test_events_as_json_speaks_the_words_of_the_api(cyberun: Command, server: LocalCyberun):
    """Each line has the event's name, its fields, and whether it came by stream or by a look."""
    server.script("text-to-image", [status("running"), after(200), progress(1, 2), complete()])
    lines = cyberun("run", *PICTURE, "--json").lines
    step = next(line for line in lines if line.get("event") == "progress")
    assert set(step) == {
        "type",
        "event",
        "source",
        "task_id",
        "progress",
        "current_node",
        "step_current",
        "step_total",
        "timestamp",
    }


def test_result_shows_what_became_of_a_task(cyberun: Command, task_id: str):
    """A person sees task, status, time and file names."""
    shown = cyberun("result", task_id)
    assert shown.out.splitlines()[:2] == [f"task: {task_id}", "status: completed"]
    assert "file: output_00001_.png" in shown.out


def test_result_as_json(cyberun: Command, task_id: str):
    """The shape that docs/cli.md promises."""
    (line,) = cyberun("result", task_id, "--json").lines
    assert set(line) == {"type", "task_id", "status", "completed_at", "output", "files"}


def test_download_writes_into_the_folder_that_is_named(cyberun: Command, task_id: str):
    """The folder is made, and the path printed."""
    done = cyberun("download", task_id, "--out", "a/b")
    assert (done.code, done.out) == (0, str(Path("a/b/output_00001_.png")) + "\n")


def test_cancel_says_how_the_task_stands(cyberun: Command, server: LocalCyberun):
    """A task that ran is cancelled then."""
    server.script("text-to-image", [status("running")])
    task_id = cyberun("submit", *PICTURE).out.strip()
    assert cyberun("cancel", task_id).out == f"{task_id}: cancelled\n"
    assert cyberun("cancel", task_id, "--json").lines[0]["status"] == "cancelled"


def test_cancel_leaves_a_task_that_is_over_as_it_is(cyberun: Command, task_id: str):
    """And says so, instead of claiming a cancellation."""
    assert cyberun("cancel", task_id).out == f"{task_id}: completed\n"


def test_tasks_lists_the_newest_with_tabs_for_a_pipe(cyberun: Command, task_id: str):
    """The first column is the id, so that `cut -f1` works."""
    rows = [line.split("\t") for line in cyberun("tasks", "--status", "completed", "--limit", "3").out.splitlines()]
    assert task_id in [row[0] for row in rows]
    assert {row[1] for row in rows} == {"completed"}
    assert len(cyberun("tasks", "--limit", "1").out.splitlines()) == 1


def test_tasks_as_json(cyberun: Command, task_id: str):
    """Each task is an object with its id and status."""
    lines = cyberun("tasks", "--json").lines
    assert next(line for line in lines if line["task_id"] == task_id)["status"] == "completed"
    assert {line["type"] for line in lines} == {"task"}


def test_workflows_lists_slug_version_status_and_description(cyberun: Command):
    """The first column is what `run` takes."""
    rows = [line.split("\t") for line in cyberun("workflows").out.splitlines()]
    assert ["text-to-image", "2", "active"] in [row[:3] for row in rows]
    assert ["retired", "disabled"] in [[row[0], row[2]] for row in rows]
    assert {line["type"] for line in cyberun("workflows", "--json").lines} == {"workflow"}


def test_workflow_shows_its_parameters_and_how_to_run_it(cyberun: Command):
    """What is printed at the end can be pasted, once the values are filled in."""
    shown = cyberun("workflow", "img2img").out
    assert "strength\tnumber 0..1\t0.75" in shown
    assert shown.endswith("cyberun-async run img2img -p image=@FILE --out .\n")


def test_workflow_as_json(cyberun: Command):
    """Parameters come as the SDK has them."""
    (line,) = cyberun("workflow", "text-to-image@1", "--json").lines
    assert (line["version"], line["parameters"][0]["key"]) == (1, "prompt")


@pytest.mark.parametrize("command", ["workflows", "workflow text-to-image"])
def test_what_can_be_run_locally_can_be_looked_at_locally(
    cyberun: Command, monkeypatch: pytest.MonkeyPatch, command: str
):
    """No key is needed to look around."""
    monkeypatch.delenv("CYBERUN_API_KEY")
    shown = cyberun(*command.split(), "--local")
    assert shown.code == 0
    assert "text-to-image" in shown.out
