"""Whether parameters fit a workflow's definition of them."""

from collections.abc import Mapping

import pytest
from support.tables import table

from cyberun_async import InputFile, ParameterDef, Workflow
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.validation import definitions_of, problems_with

DEFINITIONS = [
    ParameterDef(key="prompt", type="string", required=True),
    ParameterDef(key="seed", type="number", min=0, max=2**32 - 1),
    ParameterDef(key="strength", type="number", min=0, max=0.75),
    ParameterDef(key="upscale", type="boolean"),
    ParameterDef(key="sampler", type="select", options=("euler", "ddim")),
    ParameterDef(key="free", type="select"),
    ParameterDef(key="image", type="file"),
    ParameterDef(key="untold"),
    ParameterDef(key="novel", type="colour"),
]
OTHERS = "seed, strength, upscale, sampler, free, image, untold, novel"


@table(
    "parameters",
    [
        pytest.param({"prompt": "x"}, id="what is required"),
        pytest.param({"prompt": ""}, id="empty text"),
        pytest.param({"prompt": "x", "seed": 0}, id="least"),
        pytest.param({"prompt": "x", "seed": 2**32 - 1}, id="most"),
        pytest.param({"prompt": "x", "strength": 0.75}, id="fraction"),
        pytest.param({"prompt": "x", "upscale": False}, id="boolean"),
        pytest.param({"prompt": "x", "sampler": "ddim"}, id="choice"),
        pytest.param({"prompt": "x", "free": "anything"}, id="choice without options"),
        pytest.param({"prompt": "x", "image": "inputs/1/a.png"}, id="key of a file"),
        pytest.param({"prompt": "x", "image": b"bytes"}, id="bytes of a file"),
        pytest.param({"prompt": "x", "untold": [1]}, id="type left out"),
        pytest.param({"prompt": "x", "novel": {"r": 1}}, id="type of tomorrow"),
    ],
)
def test_fit(parameters: Mapping[str, object]) -> None:
    """What fits is let through."""
    assert problems_with(parameters, DEFINITIONS) == []


def workflow(parameters: object) -> Workflow:
    return structure({"id": "x", "parameters": parameters}, Workflow)


@table(
    ("written", "good", "bad"),
    [
        pytest.param({"type": "NUMBER", "max": "5"}, 5, 6, id="type in another case, bound as text"),
        pytest.param({"type": "number", "min": [1]}, -5, "x", id="bound that cannot be read"),
        pytest.param({"type": "integer", "min": 1}, 7.0, 7.5, id="whole numbers"),
        pytest.param({"type": "integer", "min": 1}, 7, 0, id="whole numbers with a bound"),
        pytest.param({"type": "integer"}, 7, "7", id="whole numbers are no text"),
        pytest.param({"type": "integer"}, 7, float("inf"), id="whole numbers are finite"),
        pytest.param({"type": "select", "options": [512, 1024]}, 512, 513, id="numbers for options"),
        pytest.param({"type": "select", "options": ["512"]}, 512, 513, id="numbers as text for options"),
        pytest.param({"type": "select", "options": [{"label": "A", "value": "a"}]}, "a", "A", id="labelled options"),
        pytest.param({"type": "select", "options": [{"label": "a"}]}, "a", "b", id="options with nothing but labels"),
        pytest.param({"type": "select", "options": ["a", None]}, "b", None, id="options that cannot all be read"),
        pytest.param({"type": "select", "options": ["a", True]}, "b", None, id="options of another type"),
        pytest.param({"type": "select", "options": "a,b"}, "c", None, id="options that cannot be read"),
        pytest.param({"type": ["number"]}, "x", None, id="type that cannot be read"),
        pytest.param(
            {"type": "file", "accept": ".png, image/jpeg"},
            InputFile(b"", name="a.png"),
            InputFile(b"", name="a.gif"),
            id="types as text",
        ),
        pytest.param(
            {"type": "file", "accept": [".png", 5]}, InputFile(b"", name="a.x"), 5, id="types, one unreadable"
        ),
        pytest.param({"type": "file", "accept": 5}, InputFile(b"", name="a.x"), 5, id="types that cannot be read"),
        pytest.param({"node_id": 3, "required": "true"}, "x", None, id="cosmetic fields"),
    ],
)
def test_definitions_that_are_written_otherwise(written: dict[str, object], good: object, bad: object) -> None:
    """What can be read of a definition is checked, and what cannot is not."""
    definitions = definitions_of(workflow([{"key": "x", **written}]))

    assert problems_with({"x": good}, definitions) == []
    assert len(problems_with({"x": bad}, definitions)) == 1
    assert len(problems_with({"y": good}, definitions)) == 1 + definitions[0].required


def test_definitions_by_key() -> None:
    """Definitions may stand under their keys."""
    definitions = definitions_of(workflow({"x": {"type": "number"}, "y": {"type": "boolean"}}))

    assert [(each.key, each.type) for each in definitions] == [("x", "number"), ("y", "boolean")]


@table(
    "parameters",
    [
        pytest.param([{"key": "x", "type": "number"}, {"name": "y"}], id="without a key"),
        pytest.param([{"key": "x", "type": "number"}, "y"], id="no object"),
    ],
)
def test_a_definition_that_cannot_be_read(parameters: object) -> None:
    """Beside one that cannot be read any key may be meant, and the others are checked all the same."""
    definitions = definitions_of(workflow(parameters))

    assert problems_with({"y": 1}, definitions) == []
    assert problems_with({"x": "text"}, definitions) == ["'x' must be a number, not str"]


@table("parameters", ["x", {"x": "number"}, 5], ids=repr)
def test_definitions_that_cannot_be_read(parameters: object) -> None:
    """Where nothing can be read, nothing is checked."""
    assert problems_with({"y": 1}, definitions_of(workflow(parameters))) == []


@table(
    ("parameters", "problem"),
    [
        pytest.param({}, "'prompt' is required", id="missing"),
        pytest.param({"prompt": None}, "'prompt' must not be None: it is required", id="None for what is required"),
        pytest.param({"prompt": 5}, "'prompt' must be a string, not int", id="number for text"),
        pytest.param(
            {"prompt": "x", "seed": None}, "'seed' must not be None: leave it out to use the default", id="None"
        ),
        pytest.param({"prompt": "x", "seed": "5"}, "'seed' must be a number, not str", id="text for a number"),
        pytest.param({"prompt": "x", "seed": True}, "'seed' must be a number, not bool", id="boolean for a number"),
        pytest.param({"prompt": "x", "seed": -1}, "'seed' must be at least 0, not -1", id="too small"),
        pytest.param(
            {"prompt": "x", "seed": 2**32}, "'seed' must be at most 4294967295, not 4294967296", id="too large"
        ),
        pytest.param({"prompt": "x", "strength": 0.8}, "'strength' must be at most 0.75, not 0.8", id="fraction"),
        pytest.param({"prompt": "x", "seed": 10**400}, f"'seed' must be at most 4294967295, not {10**400}", id="huge"),
        pytest.param(
            {"prompt": "x", "seed": float("nan")}, "'seed' must be a finite number, not nan", id="not a number"
        ),
        pytest.param({"prompt": "x", "seed": float("inf")}, "'seed' must be a finite number, not inf", id="infinity"),
        pytest.param(
            {"prompt": "x", "upscale": 1}, "'upscale' must be True or False, not int", id="number for a boolean"
        ),
        pytest.param(
            {"prompt": "x", "sampler": "heun"}, "'sampler' must be one of 'euler', 'ddim', not 'heun'", id="no option"
        ),
        pytest.param(
            {"prompt": "x", "sampler": ["euler"]},
            "'sampler' must be one of 'euler', 'ddim', not ['euler']",
            id="list for a choice",
        ),
        pytest.param(
            {"prompt": "x", "image": ""},
            "'image' must not be empty: give a file, or the key of an uploaded one",
            id="empty key of a file",
        ),
        pytest.param(
            {"prompt": "x", "image": 5},
            "'image' must be a file (a path, bytes, an open file) or the key of an uploaded one, not int",
            id="number for a file",
        ),
        pytest.param(
            {"prompt": "x", "sead": 5},
            "'sead' is not a parameter of this workflow (did you mean 'seed'?)",
            id="mistyped",
        ),
        pytest.param(
            {"prompt": "x", "zzz": 5},
            f"'zzz' is not a parameter of this workflow (it takes prompt, {OTHERS})",
            id="unknown",
        ),
        pytest.param(
            {"prompt": "x", 5: 5},
            f"5 is not a parameter of this workflow (it takes prompt, {OTHERS})",
            id="a key that is no text",
        ),
    ],
)
def test_misfit(parameters: Mapping[str, object], problem: str) -> None:
    """What does not fit is one sentence that says what would."""
    assert problems_with(parameters, DEFINITIONS) == [problem]


@table(
    ("text", "kind"),
    [
        *(
            (text, "a path as text")
            for text in ("/tmp/a.png", "./a.png", "../a.png", "~/a.png", "~me/a.png", "..", "~")
        ),
        *(
            (text, "a path as text")
            for text in ("C:\\a.png", "d:/a.png", "c:a.png", ".\\a.png", "\\\\host\\a.png", "//h/a")
        ),
        *((text, "a URL") for text in ("https://x.test/a.png", "S3://bucket/a.png", "file:///a.png", "file:a.png")),
        *((text, "a URL") for text in ("blob:https://x.test/1", " https://x.test/a.png")),
        *((text, "a data URI") for text in ("data:image/png;base64,AAAA", "DATA:,x", "\ndata:,x")),
    ],
)
def test_text_for_a_file(text: str, kind: str) -> None:
    """Text that has the form of a path or a URL is no key, and is not repeated: a URL may be signed, a data URI long."""
    [problem] = problems_with({"prompt": "x", "image": text}, DEFINITIONS)
    assert problem.startswith(f"'image' must be the key of an uploaded file, not {kind}: ")
    assert text.strip() not in problem


@table("key", ["a.png", "inputs/1/a.png", "team:1/a.png", ".hidden", "a/../b", "~a", "1e:2", "x/C:/a"])
def test_key_of_a_file(key: str) -> None:
    """Keys are opaque: what may be one is left to the server."""
    assert problems_with({"prompt": "x", "image": key}, DEFINITIONS) == []


def test_every_problem_at_once() -> None:
    """One look at the error is enough to set everything right."""
    assert len(problems_with({"sead": 5, "seed": "x", "upscale": 3}, DEFINITIONS)) == 4


def test_long_values_are_not_repeated() -> None:
    """A picture pasted into the wrong place does not come back in the error."""
    (problem,) = problems_with({"prompt": "x", "sampler": "z" * 1_000_000}, DEFINITIONS)

    assert len(problem) < 200


def test_no_definition() -> None:
    """Where the server shows no parameters of a workflow, whatever is given is left to the server."""
    assert problems_with({"prompt": "x"}, []) == []
