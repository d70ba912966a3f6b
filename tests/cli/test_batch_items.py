"""The items of a batch: read and checked wholly before the first is submitted, in CSV as in JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async import InvalidParameters, ParameterDef
from cyberun_async.cli._items import check_items, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Outcome
    from cyberun_async.local import LocalCyberun

    Cyberun = Callable[..., Outcome]

DEFINITIONS = [
    ParameterDef(key="prompt", type="string", required=True),
    ParameterDef(key="steps", type="number", max=100),
    ParameterDef(key="image", type="file"),
]


def checked(
    path: Path, text: str, key: str | None = None
) -> tuple[dict[str, dict[str, object]], list[tuple[int, str]]]:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    items = check_items(read_lines(path, key), DEFINITIONS)
    return items.by_key, [(problem.line, problem.text) for problem in items.problems]


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"id": "x", "prompt": "a\u2028b", "steps": 7}\n\n  \n{"id": 2, "prompt": "c"}'),
        ("a.csv", "id,prompt,steps\nx,a\u2028b,7\n\n2,c,\n"),
        ("a.CSV", "id,prompt,steps\r\nx,a\u2028b,7\r\n2,c\r\n"),
    ],
    ids=["JSON Lines", "CSV", "CSV of Windows"],
)
def test_read(name: str, text: str, start: str, tmp_path: Path) -> None:
    """Both kinds of files give the same items; blank lines are none, and a separator inside of a text is a part of it."""
    expected = {"x": {"prompt": "a\u2028b", "steps": 7}, "2": {"prompt": "c"}}
    assert checked(tmp_path / name, start + text, "id") == (expected, [])


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            '{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "x"}', {2: "'a' is there already, in line 1"}, id="twice"
        ),
        pytest.param('{"id": "a", "prompt": "x"}\n{"prompt": "x"}', {2: "the key 'id' is missing"}, id="no key"),
        pytest.param(
            '{"id": 1.5, "prompt": "x"}', {1: "the key 1.5 must be a text or a whole number"}, id="no good key"
        ),
        pytest.param('{"id": true, "prompt": "x"}', {1: "the key True must be"}, id="no key at all"),
        pytest.param(
            '{\n{"id": 1, "prompt": "x"}\n[1]', {1: "it is not JSON", 3: "must be a JSON object"}, id="several"
        ),
        pytest.param("[" * 100_000, {1: "it is not JSON"}, id="nested"),
        pytest.param('{"id": "\\ud83d", "prompt": "x"}', {1: "is not valid text"}, id="half of a character as a key"),
        pytest.param('{"id": 1, "prompt": "\\ud83d"}', {1: "of the kinds that JSON has"}, id="half of a character"),
        pytest.param('{"id": 1, "prompt": 7, "steps": 700}', {1: "'prompt' must be a string"}, id="does not fit"),
        pytest.param(
            '{"id": 1, "prompt": "x", "image": "@nowhere.png"}', {1: "there is no file 'nowhere.png'"}, id="no file"
        ),
        pytest.param('{"id": 1, "prompt": "x", "image": "there.png"}', {1: "write image=@there.png"}, id="bare path"),
        pytest.param(
            '{"id": 1, "prompt": "x", "image": "./no.png"}', {1: "write image=@./no.png"}, id="a path in form"
        ),
    ],
)
def test_problems_of_json(text: str, problems: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line that cannot be submitted is named with its reason."""
    monkeypatch.chdir(tmp_path)
    Path("there.png").write_bytes(b"x")
    _, found = checked(tmp_path / "a.jsonl", text, "id")
    assert {line for line, _ in found} == problems.keys()
    assert all(any(part in text for number, text in found if number == line) for line, part in problems.items())


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param("id,prompt\na,x,y\n", {2: "it has 3 cells, and the head has 2: quote"}, id="too many cells"),
        pytest.param("id,prompt,steps\na,x,many\n", {2: "'steps' must be a number, not 'many'"}, id="no number"),
        pytest.param("id,prompt,steps\na,,1\n", {2: "'prompt' is required"}, id="an empty cell"),
        pytest.param("id,prompt,prompt\na,x,y\n", {1: "the head has 'prompt' twice"}, id="a column twice"),
        pytest.param("id,prompt\na,x\na,y\n", {3: "'a' is there already, in line 2"}, id="one key twice"),
        pytest.param(f"id,prompt\na,{'x' * 200_000}\n", {2: "it is not CSV: field larger"}, id="a field without end"),
        pytest.param('id,prompt\na,"x\nb,y\nc,z\n', {4: "it is not CSV: unexpected end"}, id="a quote without end"),
        pytest.param('id,prompt\na,"x"y\nb,y\n', {2: "it is not CSV"}, id="a quote that ends too early"),
    ],
)
def test_problems_of_csv(text: str, problems: dict[int, str], tmp_path: Path) -> None:
    """So is each of a CSV."""
    _, found = checked(tmp_path / "a.csv", text, "id")
    assert {line for line, _ in found} == problems.keys()
    assert all(any(part in text for number, text in found if number == line) for line, part in problems.items())


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        pytest.param(
            '{"a": 1, "b": 2}\n{"c": 3}', "nosuch", "has no field 'nosuch' for --key: there are a, b, c", id="key"
        ),
        pytest.param("\udcff", None, "cannot be read: line 1 is not UTF-8", id="no text"),
        pytest.param('{"prompt": "x"}\n"\udcff"', None, "cannot be read: line 2 is not UTF-8", id="no text, later"),
        pytest.param(None, None, "cannot be read: No such file or directory", id="no file"),
    ],
)
def test_no_items(text: str | None, key: str | None, problem: str, tmp_path: Path) -> None:
    """A file that cannot be read says why, and a key that no line has says which there are."""
    path = tmp_path / "a.jsonl"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidParameters, match=problem):
        read_lines(path, key)


def submissions(server: LocalCyberun) -> int:
    return sum(each.operation == "workflows.run" for each in server.requests)


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_is_submitted(as_json: bool, cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """One line that cannot be submitted keeps back the others, and each problem has its line."""
    lines = [{"prompt": "a lake"}] * 3 + [{"prompt": "a lake", "width": 1}, {"prompts": "a lake"}]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    before = submissions(server)
    done = cyberun("batch", "text-to-image", "items.jsonl", "--out", "out", *["--json"] * as_json)
    assert done.code == 2
    assert submissions(server) == before
    assert not (tmp_path / "out").exists()
    if as_json:
        assert [(each["type"], each.get("line")) for each in done.lines] == [
            ("problem", 4),
            ("problem", 5),
            ("problem", 5),
            ("error", None),
        ]
    else:
        assert "items.jsonl, line 4: 'width' must be at least 64, not 1\n" in done.err
        assert done.err.endswith("items.jsonl: 2 lines cannot be submitted, so nothing was\n")


@pytest.mark.parametrize("name", ["items.jsonl", "items.csv"])
def test_files(name: str, cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """A file parameter takes `@path` in a batch as it does in `run`, and the file is uploaded."""
    cyberun("run", "text-to-image", "-p", "prompt=dusk", "-p", "width=64", "-p", "height=64", "--out", ".")
    Path("output_00001_.png").rename("a.png")
    item = {"image": "@a.png", "prompt": "snow"}
    Path(name).write_text(json.dumps(item) if name.endswith("l") else "image,prompt\n@a.png,snow\n")
    done = cyberun("batch", "img2img", name, "--out", "out")
    assert (done.code, done.out) == (0, "1 done, 0 failed, 0 uncertain, 0 left\n"), done.err
    assert any(each.operation == "files.presign" for each in server.requests)


def test_a_definition_that_is_read_in_part(cyberun: Cyberun, server: LocalCyberun, tmp_path: Path) -> None:
    """What stands in the part that could not be read is no unknown parameter, as for `run`."""
    definition = {"id": "w-1", "name": "any", "parameters": [{"key": "prompt", "type": "string"}, "unreadable"]}
    (tmp_path / "items.jsonl").write_text('{"prompt": "a lake", "novel": 1}')
    fault = server.faults.malformed(json.dumps(definition), on="workflows.get*")
    assert cyberun("batch", "text-to-image", "items.jsonl", "--out", "out", "--check").code == 0
    assert fault.struck == 1
