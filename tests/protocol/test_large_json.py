"""Large JSON: bounded before it is built, read in small steps, and read as `json` reads it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sampling import seeds
from support.tables import table

from cyberun_async import DecodeError, Task, decode_event
from cyberun_async._protocol import json_steps
from cyberun_async._protocol.codec import item_builder, structure
from cyberun_async._protocol.json_shape import MAX_DEPTH, MAX_VALUES, PIECE, check_shape
from cyberun_async._protocol.json_steps import LARGE, SMALL, finished, parse_in_steps
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.mismatch_log import LOG_OF_PROCESS
from cyberun_async._protocol.pages import Page


def shape_of(text: str, most: int = MAX_VALUES) -> int:
    """Count the steps of a check."""
    return sum(1 for _ in check_shape(text, most))


def padded(text: str) -> bytes:
    """Make a text large by blanks in front of it."""
    return b" " * LARGE + text.encode()


@table("opening", ["[", '{"a":', '[{"a":', "[\n"])
@table("blanks", [0, PIECE, LARGE], ids=["small", "in steps of the check", "large"])
def test_depth(opening: str, blanks: int) -> None:
    """What nests too deeply is refused, however large it is, and what does not is not."""
    closing = "".join({"[": "]", "{": "}"}[bracket] for bracket in reversed(opening) if bracket in "[{")
    deep = MAX_DEPTH // len(closing)
    text = " " * blanks + opening * deep + "1" + closing * deep
    assert finished(parse_in_steps(text.encode())) == json.loads(text)
    text = " " * blanks + opening * (deep + 1) + "1" + closing * (deep + 1)
    with pytest.raises(DecodeError, match="nested too deeply"):
        finished(parse_in_steps(text.encode()))
    with pytest.raises(DecodeError, match="nested too deeply"):
        parse_json(text)


@table("value", ["[]", "{}", "1", '""', '{"a":1}', "[[],[]]"])
def test_what_counts_as_a_value(value: str) -> None:
    """Each is counted, whatever it is."""
    text = "[" + ",".join([value] * 100_001) + "]"
    with pytest.raises(DecodeError, match="more than 100000 values"):
        shape_of(text, 100_000)
    with pytest.raises(DecodeError, match="more than 100000 values"):
        parse_json(text, 100_000)


def test_number_of_values() -> None:
    """Too many values are refused before any is built, though their bytes are few enough."""
    text = "[" + ",".join(["1"] * (MAX_VALUES + 1)) + "]"
    with pytest.raises(DecodeError, match=f"more than {MAX_VALUES} values"):
        finished(parse_in_steps(text.encode()))
    with pytest.raises(DecodeError, match=f"more than {MAX_VALUES} values"):
        parse_json(text)


def test_number_of_values_of_an_event() -> None:
    """An event is read in one go, so it has fewer."""
    with pytest.raises(DecodeError, match="more than 100000 values"):
        decode_event("status", '{"x": [' + "[]," * 100_000 + "[]]}", task_id="t-1")


@table(
    "text",
    [
        '"' + ",[{" * PIECE + '"',
        '"' + "\\\\" * PIECE + '"',
        '"' + '\\"' * PIECE + '"',
        "[" + ", ".join(f'"{"," * number}"' for number in range(800)) + "]",
        '["' + "x" * (PIECE - 3) + '\\"' + "[" * 200 + '"]',
        '["' + "x" * (PIECE - 2) + '\\"' + "[" * 200 + '"]',
        '["' + "x" * (PIECE - 4) + '","' + "[" * 200 + '"]',
    ],
    ids=["punctuation", "backslashes", "quotes", "many", "cut in an escape", "cut before one", "cut between"],
)
def test_strings_hide_nothing_and_count_for_nothing(text: str) -> None:
    """What is in a string is neither a value nor a level, wherever the pieces are cut."""
    json.loads(text)
    shape_of(text, 1000)


@table("text", ['"' * (PIECE + 1), '["' + "x" * 200_000, '"' + "\\" * 200_000, '["a" "' * 40_000])
def test_what_is_no_json(text: str) -> None:
    """What never ends, or makes no sense, is for the parser to refuse, and takes no long time."""
    with pytest.raises(DecodeError, match="not JSON"):
        finished(parse_in_steps(padded(text)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_the_same_as_json(value: object, indent: int | None, is_ascii: bool) -> None:
    """What is read in steps is what `json` reads."""
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_steps, "LARGE", 0)
        patch.setattr(json_steps, "SMALL", 2)
        patch.setattr(json_steps, "PIECE", 3)
        assert finished(parse_in_steps(text.encode("utf-8", "surrogatepass"))) == parse_json(text)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(sample=3, soak=300))
def test_damaged(seed: int) -> None:
    """A text that was damaged anywhere is refused by both ways, or read alike by both."""
    chance = random.Random(seed)
    text = json.dumps({"task_list": [{"id": f"t-{n}", "x": [n, "é\\", None, {}]} for n in range(20)], "n": 1.5})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_steps, "LARGE", 0)
        patch.setattr(json_steps, "SMALL", 8)
        for _ in range(200):
            at = chance.randrange(len(text))
            damaged = text[:at] + chance.choice('",:[]{}\\x 1') * chance.randrange(3) + text[at + chance.randrange(3) :]
            outcomes = []
            for parse in (lambda data: finished(parse_in_steps(data)), parse_json):
                try:
                    outcomes.append(parse(damaged.encode()))
                except DecodeError as error:
                    outcomes.append(type(error))
            assert outcomes[0] == outcomes[1], damaged


@table(
    "text",
    [
        "",
        "[",
        "[1",
        "[1,",
        "[1 2]",
        "[1,]",
        "{",
        '{"a"',
        '{"a" 1}',
        '{"a":',
        '{"a":1',
        '{"a":1,}',
        "{1:2}",
        "[]]",
        "\xff",
    ],
)
def test_wrong_and_large(text: str) -> None:
    """Each mistake is found in steps, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_steps, "SMALL", 0)
        with pytest.raises(DecodeError, match="not JSON"):
            finished(parse_in_steps(padded("") + text.encode("latin-1")))


@table("text", ["{}", "[ ]", '{"a": { }}', "[[], {}]"])
def test_empty_and_large(text: str) -> None:
    """So is what is empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_steps, "SMALL", 0)
        assert finished(parse_in_steps(padded(text))) == json.loads(text)


@table("form", ['{{"task_list": {0}, "page_meta": {{"total_count": 3}}}}', "{0}", '{{"items": {0}}}'])
def test_pages(form: str) -> None:
    """The items of a large page are structured one by one, and the page is what it is of a small one."""
    tasks: list[object] = [{"id": f"t-{number}", "task_status": "running", "x": "y" * SMALL} for number in range(50)]
    text = form.format(json.dumps([*tasks, {"task_status": "running"}, 7]))
    item_of = item_builder(Page[Task], LOG_OF_PROCESS)
    value = finished(parse_in_steps(text.encode(), item_of))
    expected = structure(parse_json(text), Page[Task])
    assert structure(value, Page[Task]) == expected
    assert len(expected.items) == 50


def test_steps_are_small() -> None:
    """Between two steps there is no more text than a piece, and what cannot be cut."""
    text = json.dumps({"task_list": [{"id": "t", "output": list(range(200))}] * 2000})
    steps = list(parse_in_steps(text.encode()))
    assert len(steps) >= 2 * len(text) // PIECE - 2


@table(
    ("text", "value"),
    [
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"a\ud800b"', "a\N{REPLACEMENT CHARACTER}b"),
        (r'{"\udfff": ["\ud800", 1, "\ud83d\ude00"]}', {"\ufffd": ["\ufffd", 1, "\U0001f600"]}),
        (r'"\\ud800"', r"\ud800"),
    ],
)
def test_halves_of_pairs(text: str, value: object) -> None:
    """Half of a surrogate pair, which can be neither written nor sent, is a replacement character."""
    assert parse_json(text) == value
    assert finished(parse_in_steps(padded(text))) == value
    assert finished(parse_in_steps(padded(f'{{"a": [{text}, "{"x" * SMALL}"]}}'))) == {"a": [value, "x" * SMALL]}
