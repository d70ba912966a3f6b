"""`-p key=value` is read by the workflow's definition, and everything wrong is said before anything is sent."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async.local import LocalCyberun, LocalParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Outcome
    from cyberun_async.local import Job

    Command = Callable[..., Outcome]

PARAMETERS = (
    LocalParameter("text"),
    LocalParameter("count", "number", min=-10, max=1e9),
    LocalParameter("quick", "boolean"),
    LocalParameter("style", "select", options=("natural", "1")),
    LocalParameter("image", "file"),
)


@pytest.fixture(scope="session")
def server() -> Iterator[LocalCyberun]:
    """Offer a workflow with a parameter of each type, whose output is what it was given."""
    with LocalCyberun(pace=0.001) as local:

        @local.workflow("echo", parameters=PARAMETERS)
        def echo(job: Job) -> bytes:
            content = {"content": job.input("image").decode()} if "image" in job.parameters else {}
            return json.dumps({**job.parameters, **content}).encode()

        yield local


def run(cyberun: Command, *arguments: str) -> dict[str, object]:
    """Give the parameters that arrived."""
    done = cyberun("run", "echo", *arguments, "--out", "out")
    assert done.code == 0, done.err
    received: dict[str, object] = json.loads(Path(done.out.rstrip("\n")).read_text())
    return received


TYPED = {
    "text": ("text=dusk", "dusk"),
    "text that looks like a number": ("text=20", "20"),
    "text with an equals sign": ("text=a=b", "a=b"),
    "text that begins with an at sign": ("text=@home", "@home"),
    "empty text": ("text=", ""),
    "whole number": ("count=20", 20),
    "negative number": ("count=-3", -3),
    "number with a point": ("count=.5", 0.5),
    "number with an exponent": ("count=1e3", 1000.0),
    "true": ("quick=true", True),
    "yes": ("quick=Yes", True),
    "0": ("quick=0", False),
    "option that looks like a number": ("style=1", "1"),
}


@pytest.mark.parametrize(("pair", "value"), TYPED.values(), ids=TYPED)
def test_a_value_has_the_type_of_its_parameter(cyberun: Command, pair: str, value: object):
    """Nobody has to quote JSON in a shell."""
    received = run(cyberun, "-p", pair)
    assert received == {pair.partition("=")[0]: value}
    assert type(received[pair.partition("=")[0]]) is type(value)


def test_a_file_parameter_uploads_the_file_that_is_named(cyberun: Command):
    """As curl has it: @ and a path."""
    Path("a b.png").write_text("pixels")
    received = run(cyberun, "-p", "image=@a b.png")
    assert received["content"] == "pixels"


def test_a_file_key_is_sent_as_it_is(cyberun: Command):
    """What was uploaded once can be used again."""
    Path("a.png").write_text("pixels")
    key = run(cyberun, "-p", "image=@a.png")["image"]
    assert run(cyberun, "-p", f"image={key}")["content"] == "pixels"


def test_parameters_come_from_a_file_and_single_ones_go_before_it(cyberun: Command):
    """The file may name files to upload, too."""
    Path("a.png").write_text("pixels")
    Path("params.json").write_text(json.dumps({"text": "from the file", "count": 2.5, "image": "@a.png"}))
    received = run(cyberun, "-P", "params.json", "-p", "text=from the line")
    assert (received["text"], received["count"], received["content"]) == ("from the line", 2.5, "pixels")


def test_parameters_come_from_stdin(cyberun: Command, monkeypatch: pytest.MonkeyPatch):
    """A long prompt need not be quoted for a shell."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"text": "a \'lighthouse\'\\nat dusk"}'))
    assert run(cyberun, "-P", "-") == {"text": "a 'lighthouse'\nat dusk"}


WRONG = {
    "not a number": (["-p", "count=many"], "'count' must be a number, not 'many'"),
    "not a finite number": (["-p", "count=nan"], "'count' must be a finite number, not nan"),
    "out of range": (["-p", "count=-11"], "'count' must be at least -10, not -11"),
    "not a boolean": (["-p", "quick=maybe"], "'quick' must be a boolean, not 'maybe'"),
    "not an option": (["-p", "style=vivid"], "'style' must be one of 'natural', '1', not 'vivid'"),
    "not a parameter": (["-p", "txt=dusk"], "'txt' is not a parameter of this workflow (did you mean 'text'?)"),
    "no such file": (["-p", "image=@none.png"], "'image': there is no file 'none.png'"),
    "a file without an at sign": (["-p", "image=a.png"], "write image=@a.png to upload it"),
    "no key": (["-p", "=dusk"], "-p takes key=value, not '=dusk'"),
    "params file missing": (["-P", "none.json"], "-P none.json cannot be read: No such file or directory"),
    "params file not JSON": (["-P", "a.png"], "-P a.png is not JSON"),
    "params file not an object": (["-P", "list.json"], "-P list.json must be a JSON object"),
}


@pytest.mark.parametrize(("arguments", "problem"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_said_before_anything_is_sent(
    cyberun: Command, server: LocalCyberun, arguments: list[str], problem: str
):
    """Exit code 2, no upload and no task."""
    Path("a.png").write_text("pixels")
    Path("list.json").write_text("[]")
    before = len(server.requests)
    done = cyberun("run", "echo", *arguments)
    assert done.code == 2
    assert problem in done.err
    assert {exchange.method for exchange in server.requests[before:]} <= {"GET"}


def test_nothing_is_uploaded_for_a_task_that_cannot_be_submitted(cyberun: Command, server: LocalCyberun):
    """Half a gigabyte is not sent only to hear that a number is too large."""
    Path("a.png").write_text("pixels")
    before = len(server.requests)
    assert cyberun("run", "echo", "-p", "image=@a.png", "-p", "count=1e10").code == 2
    assert {exchange.method for exchange in server.requests[before:]} == {"GET"}
