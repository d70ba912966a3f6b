"""Ids and slugs in paths: none of them changes the route."""

from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async import InvalidParameters
from cyberun_async._protocol.paths import is_uuid, segment


@table(
    ("value", "escaped"),
    [
        pytest.param("text-to-image", "text-to-image", id="slug"),
        pytest.param("text-to-image@2", "text-to-image@2", id="pinned slug"),
        pytest.param("019abc12-9012-7890-abcd-ef1234567896", "019abc12-9012-7890-abcd-ef1234567896", id="UUID"),
        pytest.param("../x", "..%2Fx", id="climbing"),
        pytest.param("a/b", "a%2Fb", id="slash"),
        pytest.param("a\\b", "a%5Cb", id="backslash"),
        pytest.param("a?b=c", "a%3Fb%3Dc", id="query"),
        pytest.param("a#b", "a%23b", id="fragment"),
        pytest.param("a;b", "a%3Bb", id="path parameter"),
        pytest.param("%2e%2e", "%252e%252e", id="escaped dots"),
        pytest.param("a%2Fb", "a%252Fb", id="escaped slash"),
        pytest.param("a b\r\nX: y", "a%20b%0D%0AX%3A%20y", id="line break"),
        pytest.param("a\x00", "a%00", id="null byte"),
        pytest.param("größe", "gr%C3%B6%C3%9Fe", id="not ASCII"),
        pytest.param("画像", "%E7%94%BB%E5%83%8F", id="another script"),
        pytest.param("...", "...", id="three dots"),
        pytest.param("~", "~", id="tilde"),
    ],
)
def test_segment(value: str, escaped: str) -> None:
    """A value becomes exactly one segment of the path."""
    assert segment(value, "task_id") == escaped


@table(
    ("value", "problem"),
    [
        pytest.param("", "task_id must not be empty", id="empty"),
        pytest.param(".", "task_id must not be '.'", id="here"),
        pytest.param("..", "task_id must not be '..'", id="above"),
        pytest.param("a\ud800", "task_id is not valid text: 'a\\ud800'", id="lone surrogate"),
        pytest.param(None, "task_id must be a string, not NoneType", id="nothing"),
        pytest.param(5, "task_id must be a string, not int", id="number"),
        pytest.param(b"x", "task_id must be a string, not bytes", id="bytes"),
    ],
)
def test_segment_refuses(value: str, problem: str) -> None:
    """What no escape keeps in its place is refused before anything is sent."""
    with pytest.raises(InvalidParameters) as caught:
        segment(value, "task_id")

    assert caught.value.problems == (problem,)


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_any_text_stays_one_segment(value: str) -> None:
    """Whatever the text, an HTTP library sends one segment, and a server reads the text from it."""
    raw = httpx.URL(f"https://host/api/v1/r/tasks/{segment(value, 'task_id')}/result").raw_path.decode()
    *before, sent, last = raw.split("/")

    assert (before, last) == (["", "api", "v1", "r", "tasks"], "result")
    assert unquote(sent, errors="strict") == value


@table(
    ("ref", "answer"),
    [
        pytest.param("019abc12-9012-7890-abcd-ef1234567896", True, id="UUID"),
        pytest.param("019ABC12-9012-7890-ABCD-EF1234567896", True, id="in capitals"),
        pytest.param("00000000-0000-0000-0000-000000000000", True, id="nil"),
        pytest.param("text-to-image", False, id="slug"),
        pytest.param("019abc12-9012-7890-abcd-ef1234567896@2", False, id="pinned"),
        pytest.param("019abc12-9012-7890-abcd-ef1234567896\n", False, id="line break"),
        pytest.param("{019abc12-9012-7890-abcd-ef1234567896}", False, id="braces"),
        pytest.param("019abc12901278 90abcdef1234567896", False, id="no hyphens"),
        pytest.param("019abc12-9012-7890-abcd-ef123456789g", False, id="not hexadecimal"),
    ],
)
def test_is_uuid(ref: str, answer: bool) -> None:
    """A workflow's UUID is told from a slug."""
    assert is_uuid(ref) is answer
