"""Data URIs as input files: what they hold, and what is wrong with those that hold nothing."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async import InputFile, InvalidParameters

PNG = b"\x89PNG\r\n\x1a\n"
IN_BASE64 = b64encode(PNG).decode()


@table(
    ("uri", "data", "content_type", "name"),
    [
        pytest.param(f"data:image/png;base64,{IN_BASE64}", PNG, "image/png", "file.png", id="base64"),
        pytest.param("DATA:image/jpeg;BASE64,/9j/", b"\xff\xd8\xff", "image/jpeg", "file.jpg", id="in capitals"),
        pytest.param(" data:image/tiff;base64,TU0", b"MM", "image/tiff", "file.tiff", id="without padding"),
        pytest.param("data:image/jpg ; base64 ,iVB\nORw 0KGgo", PNG, "image/jpg", "file.jpg", id="in lines"),
        pytest.param("data:image/png;base64,iVBORw0KGgo%3D", PNG, "image/png", "file.png", id="padding encoded"),
        pytest.param("data:text/plain,a%20b%2Cc", b"a b,c", "text/plain", "file.txt", id="percent-encoded"),
        pytest.param("data:,é", "é".encode(), "text/plain;charset=US-ASCII", "file.txt", id="without a type"),
        pytest.param("data:;charset=utf-8,x", b"x", "text/plain;charset=utf-8", "file.txt", id="with a charset alone"),
        pytest.param(
            'data:application/json;profile="a b",%7B%7D',
            b"{}",
            'application/json;profile="a b"',
            "file.json",
            id="quoted parameter",
        ),
        pytest.param("data:application/x-own,x", b"x", "application/x-own", "file", id="a type that is not known"),
        pytest.param("data:text/plain,;base64,x", b";base64,x", "text/plain", "file.txt", id="base64 in the data"),
    ],
)
def test_what_it_holds(uri: str, data: bytes, content_type: str, name: str) -> None:
    """The bytes come out as they went in, with their type, and a name that fits it."""
    file = InputFile.from_data_uri(uri)
    assert (file.source, file.content_type, file.name) == (data, content_type, name)


@table(
    ("uri", "problem"),
    [
        pytest.param("image/png;base64,AAAA", "does not begin with 'data:'", id="no scheme"),
        pytest.param("data:image/png;base64", "no comma", id="no data"),
        pytest.param("data:image/png;base64,", "holds no bytes", id="empty"),
        pytest.param("data:,", "holds no bytes", id="empty text"),
        pytest.param("data:image/png;base64,AA*A", "not base64", id="a letter that is none"),
        pytest.param("data:image/png;base64,AA-_", "not base64", id="the alphabet of URLs"),
        pytest.param("data:image/png;base64,AAAAA", "not base64", id="cut off"),
        pytest.param("data:image/png;base64,é", "not base64", id="not ASCII"),
        pytest.param("data:image,x", "media type", id="half a type"),
        pytest.param("data:image/png;base64;x=y,AAAA", "media type", id="base64 in the wrong place"),
        pytest.param("data:image/p ng,x", "media type", id="a blank in the type"),
        pytest.param("data:text/plain,100%", "'%25'", id="a lone percent"),
        pytest.param("data:image/svg+xml,<svg fill='#fff'/>", "'%23'", id="a fragment"),
        pytest.param("data:text/plain,\ud800", "not valid text", id="half a character"),
        pytest.param("data:image/png;base64,\ud800", "not valid text", id="half a character in base64"),
    ],
)
def test_what_is_wrong(uri: str, problem: str) -> None:
    """A damaged one is an error that says where, and repeats nothing of the data."""
    with pytest.raises(InvalidParameters, match=problem) as caught:
        InputFile.from_data_uri(uri)
    assert "svg" not in str(caught.value)


@table("uri", [f"data:image/png;base64,{b64encode(bytes(8)).decode()}", "data:,12345678"])
def test_its_size(uri: str) -> None:
    """One that holds more than is allowed is an error; one that holds as much is not."""
    assert InputFile.from_data_uri(uri, max_bytes=8).source
    with pytest.raises(InvalidParameters, match="more than 7 bytes"):
        InputFile.from_data_uri(uri, max_bytes=7)
    with pytest.raises(InvalidParameters, match="more than 1 bytes"):
        InputFile.from_data_uri(uri, max_bytes=1)


def test_what_stands_between_letters_does_not_count() -> None:
    """The limit is of the bytes that it holds, however many blanks there are between the letters."""
    assert InputFile.from_data_uri(f"data:image/png;base64,{'A ' * 8}{'%20' * 99}", max_bytes=6).source == bytes(6)


@table(
    ("arguments", "problem"),
    [
        pytest.param({"uri": b"data:,x"}, "uri must be a data URI as text", id="bytes"),
        pytest.param({"uri": "data:,x", "max_bytes": 0}, "max_bytes must be", id="no bytes allowed"),
        pytest.param({"uri": "data:,x", "name": 3}, "the name or content type", id="a number for a name"),
    ],
)
def test_arguments(arguments: dict[str, Any], problem: str) -> None:
    """What is no argument is an error."""
    with pytest.raises(InvalidParameters, match=problem):
        InputFile.from_data_uri(**arguments)


def test_a_name_of_ones_own() -> None:
    """A name that is given stays, and so does the type."""
    file = InputFile.from_data_uri("data:image/png;base64,AAAA", name="mask.webp")
    assert (file.name, file.content_type) == ("mask.webp", "image/png")


@given(st.binary(min_size=1))
def test_any_bytes(data: bytes) -> None:
    """Any bytes come through base64, with and without its padding."""
    text = b64encode(data).decode()
    for encoded in (text, text.rstrip("="), text.replace("+", "%2B").replace("/", "%2F")):
        assert InputFile.from_data_uri(f"data:application/octet-stream;base64,{encoded}").source == data


@given(st.text())
def test_any_text(text: str) -> None:
    """Whatever is given is a file, or an error about the parameter."""
    for uri in (text, f"data:{text}", f"data:image/png;base64,{text}"):
        with contextlib.suppress(InvalidParameters):
            assert InputFile.from_data_uri(uri).source


@table(
    ("source", "problem"),
    [
        ("", "must not be empty"),
        (" ", "must not be empty"),
        ("data:image/png;base64,c2VjcmV0", "from_data_uri"),
        ("https://example.com/a.png?sig=secret", "not a URL"),
        (" file:///etc/passwd", "not a URL"),
    ],
)
def test_text_that_is_no_path(source: str, problem: str) -> None:
    """Text that cannot be a path says what to use instead, and is not repeated."""
    with pytest.raises(InvalidParameters, match=problem) as caught:
        InputFile(source)
    assert "secret" not in str(caught.value)
