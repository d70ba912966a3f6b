"""`types`: workflows as Python types that a checker and an editor know."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async import ParameterDef, Workflow
from cyberun_async.cli._typed_dicts import class_names, module_of
from cyberun_async.local import LocalCyberun, LocalParameter, LocalWorkflow

if TYPE_CHECKING:
    from conftest import Outcome

    Command = Callable[..., Outcome]


def loaded(text: str) -> dict[str, Any]:
    """Run a module, as Python does that imports it."""
    namespace: dict[str, Any] = {"__name__": "workflows"}
    exec(compile(text, "workflows.py", "exec", dont_inherit=True), namespace)
    return namespace


def one(*parameters: ParameterDef, **fields: object) -> str:
    return module_of({"w": Workflow(id="1", slug="w", parameters=parameters, **fields)})  # type: ignore[arg-type]


@table(
    ("refs", "names"),
    [
        (["text-to-image"], ["TextToImage"]),
        (["text-to-image@2", "text-to-image"], ["TextToImageV2", "TextToImage"]),
        (["a-b", "a--b", "A-B"], ["AB", "AB_2", "AB_3"]),
        (["3d"], ["Workflow3d"]),
        (["none", "true"], ["WorkflowNone", "WorkflowTrue"]),
        (["日本"], ["Workflow"]),
    ],
)
def test_class_names(refs: list[str], names: list[str]):
    """A class has the name of its workflow, as classes are named, and no other class has it."""
    assert list(class_names(refs).values()) == names


@table(
    ("parameter", "annotation"),
    [
        (ParameterDef(key="k", type="string"), "str"),
        (ParameterDef(key="k", type="number"), "float"),
        (ParameterDef(key="k", type="integer"), "int"),
        (ParameterDef(key="k", type="boolean"), "bool"),
        (ParameterDef(key="k", type="file"), "FileSource | InputFile"),
        (ParameterDef(key="k", type="select", options=("a", "b", "a")), 'Literal["a", "b"]'),
        (ParameterDef(key="k", type="select", options=(1, 2)), "Literal[1, 2]"),
        (
            ParameterDef(key="k", type="select", options=("it's", 'a "b"', "\\", "\n")),
            "Literal[\"it's\", 'a \"b\"', '\\\\', '\\n']",
        ),
        (ParameterDef(key="k", type="select", options=(0.5, 1)), "float"),
        (ParameterDef(key="k", type="select", options=(0.5, "x")), "str | float"),
        (ParameterDef(key="k", type="select"), "str"),
        (ParameterDef(key="k", type="colour"), "object"),
        (ParameterDef(key="k"), "object"),
    ],
)
def test_types(parameter: ParameterDef, annotation: str):
    """Each type of a parameter is one of Python's."""
    text = one(parameter)
    assert f"    k: {annotation}\n" in text
    assert set(loaded(text)["W"].__annotations__) == {"k"}


def test_required_and_optional():
    """A type checker asks for what is required, and for nothing else."""
    both = loaded(one(ParameterDef(key="a", required=True), ParameterDef(key="b")))["W"]
    assert (both.__required_keys__, both.__optional_keys__) == ({"a"}, {"b"})
    assert loaded(one(ParameterDef(key="a", required=True)))["W"].__required_keys__ == {"a"}
    assert loaded(one(ParameterDef(key="a")))["W"].__optional_keys__ == {"a"}
    assert loaded(one())["W"].__annotations__ == {}


@table("key", ["negative-prompt", "class", "3d", "größe", "__seed", "str", "Literal", 'a"b', "a b", ""])
def test_keys_that_are_no_names(key: str):
    """Keys that Python cannot have as names, or that would hide one, are written as text."""
    text = one(ParameterDef(key=key, required=True, description="What it is"), ParameterDef(key="b", type="string"))
    made = loaded(text)["W"]
    assert "TypedDict(" in text
    assert (made.__required_keys__, made.__optional_keys__) == ({key}, {"b"})
    assert "What it is." in made.__doc__


def test_what_is_said_of_a_parameter():
    """What the type does not say stands below it: what it does, its range, its default, what a file may be."""
    text = one(
        ParameterDef(key="steps", type="number", description="How many", min=1, max=100, default=20),
        ParameterDef(key="picture", type="file", label="Picture", accept=("image/png", ".jpg"), required=True),
        ParameterDef(key="seed", type="number", min=0, max=0),
    )
    assert '    steps: float\n    """How many. From 1 up to 100. Default: 20."""\n' in text
    assert '    """Picture. One of image/png, .jpg."""\n' in text
    assert text.rstrip().endswith("seed: float")


TEXT = st.text(max_size=20) | st.sampled_from(
    ['"""', "\\", '"""\nimport os\n"""', "a\\", 'ends with "', "{x}", "\u2028", "\x00"]
)


@given(
    st.lists(
        st.builds(
            ParameterDef,
            key=TEXT,
            type=st.sampled_from(["string", "number", "select", "file", "boolean", "?"]),
            label=TEXT,
            description=TEXT,
            required=st.booleans(),
            default=TEXT,
            options=st.lists(TEXT, max_size=3).map(tuple),
            accept=st.lists(TEXT, max_size=2).map(tuple),
        ),
        max_size=4,
    ),
    TEXT,
    TEXT,
)
def test_nothing_a_server_says_is_code(parameters: list[ParameterDef], description: str, ref: str):
    """Whatever text is in a definition: the module has its keys and options as they are, and no other statement."""
    text = module_of({ref: Workflow(id="1", parameters=tuple(parameters), description=description)})
    kinds = {type(node) for node in ast.walk(ast.parse(text))}
    assert not kinds & {ast.Import, ast.FunctionDef, ast.Lambda, ast.Attribute, ast.For}
    namespace = loaded(text)
    made = namespace[namespace["__all__"][0]]
    first = {each.key: each for each in reversed(parameters)}
    assert made.__required_keys__ | made.__optional_keys__ == set(first)
    hints = get_type_hints(made, namespace)
    for each in first.values():
        if each.type == "select" and each.options:
            assert hints[each.key].__args__ == tuple(dict.fromkeys(each.options))


def test_command(cyberun: Command, tmp_path: Path):
    """It writes the workflows that are named, or every one, to the file or to stdout."""
    shown = cyberun("types", "text-to-image", "img2img", "-o", "workflows.py")
    assert (shown.code, shown.out, shown.err) == (0, "", "workflows.py: TextToImage, Img2img\n")
    text = (tmp_path / "workflows.py").read_text()
    assert cyberun("types", "text-to-image", "img2img").out == text
    assert loaded(text)["TextToImage"].__required_keys__ == {"prompt"}
    everything = loaded(cyberun("types").out)["__all__"]
    assert {"TextToImage", "Img2img", "NerfstudioTrain"} <= set(everything)


def test_command_as_json(cyberun: Command):
    """A program learns the names, and where the file is."""
    (line,) = cyberun("types", "text-to-image@1", "-o", "w.py", "--json").lines
    assert line == {"type": "types", "path": "w.py", "workflows": {"text-to-image@1": "TextToImageV1"}}
    (line,) = cyberun("types", "text-to-image", "--json").lines
    assert "class TextToImage(" in line["source"]


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        pytest.param(["text-to-imag"], "did you mean 'text-to-image'?", 1, id="no such workflow"),
        pytest.param(
            ["text-to-image", "-o", "no/such/w.py"], "--out no/such/w.py cannot be written", 2, id="no folder"
        ),
    ],
)
def test_mistakes(cyberun: Command, arguments: list[str], words: str, code: int):
    """What is wrong is said in one line."""
    shown = cyberun("types", *arguments)
    assert (shown.code, words in shown.err) == (code, True), shown.err


PROGRAM = """
    from cyberun_async import AsyncClient
    from workflows import Odd, TextToImage


    async def draw(client: AsyncClient, odd: Odd) -> None:
        good: TextToImage = {"prompt": "dusk", "steps": 12, "style": "vivid"}
        await client.run("text-to-image", good)
        await client.submit("text-to-image", TextToImage(prompt="dusk"))
        await client.run("odd", odd)
        bad_option: TextToImage = {"prompt": "dusk", "style": "loud"}  # error
        bad_type: TextToImage = {"prompt": "dusk", "steps": "12"}  # error
        bad_key: TextToImage = {"prompt": "dusk", "step": 12}  # error
        missing: TextToImage = {"steps": 12}  # error
        odd = {"negative-prompt": "x", "file": b"", "n": True}
        odd = {"negative-prompt": 3}  # error
"""


# The checker reads what the package imports, six hundred modules, and nothing of these is in the types of a workflow.
MYPY = """
    [mypy]
    strict = true
    incremental = false
    [mypy-httpx.*,httpcore.*,anyio.*,httpx_sse.*]
    follow_imports = skip
"""


@pytest.mark.slow
def test_type_checked(cyberun: Command, server: LocalCyberun, tmp_path: Path):
    """The module passes `mypy --strict`, works with `client.run()`, and has the mistakes of a program found."""
    odd = [
        LocalParameter("negative-prompt", required=True),
        LocalParameter("file", "file"),
        LocalParameter("n", "boolean"),
    ]
    server.add_workflow(LocalWorkflow("odd", parameters=tuple(odd)))
    assert cyberun("types", "-o", "workflows.py").code == 0
    program = textwrap.dedent(PROGRAM).lstrip()
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "mypy.ini").write_text(textwrap.dedent(MYPY))
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "workflows.py", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    wrong = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert not [line for line in done.stdout.splitlines() if line.startswith("workflows.py")]
    assert wrong == {n for n, line in enumerate(program.splitlines(), 1) if line.endswith("# error")}, done.stdout
