"""Parts of a file: what is asked for, and which responses are believed; decided without a storage."""

from __future__ import annotations

from typing import Any

import pytest
from support.tables import table

from cyberun_async import InvalidParameters
from cyberun_async._files.ranges import ByteRange, check_range, is_version, read_http_range, read_part, response_headers
from cyberun_async._files.resume import Have, describe, range_headers

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@table(
    ("part", "header", "bounds"),
    [
        pytest.param(ByteRange(), None, (0, 10), id="all"),
        pytest.param(ByteRange(3), "bytes=3-", (3, 10), id="from a byte"),
        pytest.param(ByteRange(3, 5), "bytes=3-4", (3, 5), id="between two"),
        pytest.param(ByteRange(0, 99), "bytes=0-98", (0, 10), id="beyond the end"),
        pytest.param(ByteRange(-4), "bytes=-4", (6, 10), id="the last ones"),
        pytest.param(ByteRange(-99), "bytes=-99", (0, 10), id="more than there are"),
        pytest.param(ByteRange(12), "bytes=12-", (10, 10), id="behind the end"),
    ],
)
def test_a_part_of_ten_bytes(part: ByteRange, header: str | None, bounds: tuple[int, int]) -> None:
    """A part is a slice, and has the header that asks for it."""
    assert part.headers.get("Range") == header
    assert part.bounds(10) == bounds


@table(
    ("start", "stop", "problem"),
    [
        pytest.param("1", None, "start must be a whole number", id="text"),
        pytest.param(True, None, "start must be a whole number", id="a boolean"),
        pytest.param(0, -1, "stop must be a whole number", id="negative stop"),
        pytest.param(0, 2.5, "stop must be a whole number", id="half a byte"),
        pytest.param(5, 5, "above start", id="nothing"),
        pytest.param(-5, 9, "above start", id="from the end to a byte"),
    ],
)
def test_no_part(start: Any, stop: Any, problem: str) -> None:
    """What can hold nothing in any file is no part."""
    with pytest.raises(InvalidParameters, match=problem):
        check_range(start, stop)


def test_checked_parts() -> None:
    """What is a part comes out as one."""
    assert (check_range(-3, None), check_range(1, 2)) == (ByteRange(-3), ByteRange(1, 2))


@table(
    ("part", "status", "headers", "expected"),
    [
        pytest.param(ByteRange(3, 5), 206, {"content-range": "bytes 3-4/10"}, (3, 5, 10), id="the part"),
        pytest.param(ByteRange(3, 5), 206, {"content-range": "bytes 3-4/*"}, (3, 5, None), id="size unknown"),
        pytest.param(ByteRange(3, 8), 206, {"content-range": "bytes 3-4/10"}, (3, 5, 10), id="the beginning of it"),
        pytest.param(ByteRange(3), 206, {"content-range": "bytes 3-9/10"}, (3, 10, 10), id="to the end"),
        pytest.param(ByteRange(-4), 206, {"content-range": "bytes 6-9/10"}, (6, 10, 10), id="the last ones"),
        pytest.param(ByteRange(-4), 206, {"content-range": "bytes 6-9/*"}, None, id="the last ones of what"),
        pytest.param(ByteRange(-4), 206, {"content-range": "bytes 5-9/10"}, None, id="more than the last ones"),
        pytest.param(ByteRange(3, 5), 206, {"content-range": "bytes 3-7/10"}, None, id="more than asked for"),
        pytest.param(ByteRange(3, 5), 206, {"content-range": "bytes 4-4/10"}, None, id="another start"),
        pytest.param(ByteRange(3), 206, {"content-range": "bytes 3-10/10"}, None, id="beyond its own end"),
        pytest.param(ByteRange(5), 206, {"content-range": "bytes 5-4/10"}, None, id="backwards"),
        pytest.param(ByteRange(3), 206, {}, None, id="no range"),
        pytest.param(
            ByteRange(3), 206, {"content-range": "bytes 3-9/10", "content-length": "10"}, None, id="a longer body"
        ),
        pytest.param(ByteRange(3), 200, {"content-length": "10"}, (0, 10, 10), id="no ranges"),
        pytest.param(ByteRange(12), 416, {"content-range": "bytes */10"}, (10, 10, 10), id="behind the end"),
        pytest.param(ByteRange(3), 416, {"content-range": "bytes */10"}, None, id="416 to a part that is there"),
        pytest.param(ByteRange(12), 416, {}, None, id="416 without a size"),
    ],
)
def test_what_a_response_brings(
    part: ByteRange, status: int, headers: dict[str, str], expected: tuple[int, int | None, int | None] | None
) -> None:
    """A response is used where it is certain which bytes it brings."""
    delivery = read_part(status, headers, part)
    assert (None if delivery is None else (delivery.start, delivery.end, delivery.total)) == expected


@table(
    ("if_range", "expected"),
    [
        ('"v1"', True),
        ('"v2"', False),
        ('W/"v1"', False),
        (DATE, True),
        ("Wed, 21 Oct 2026 07:28:01 GMT", False),
        ("soon", False),
    ],
)
def test_if_range(if_range: str, expected: bool) -> None:
    """A version is known by its strong tag, or by its date to the second."""
    delivery = describe({"etag": '"v1"', "last-modified": DATE}, 0, 9, 9)
    assert is_version(if_range, delivery) is expected


def test_what_is_missing_of_a_part() -> None:
    """The rest of a part ends where the part does."""
    have = Have(4, '"v"', 10)
    assert range_headers(have, 6)["Range"] == "bytes=4-5"
    assert range_headers(have, 10)["Range"] == range_headers(have)["Range"] == "bytes=4-"


def test_headers_of_a_response() -> None:
    """The headers say what the storage said, and nothing that it did not."""
    said = {"etag": '"v"', "last-modified": DATE, "content-encoding": "gzip"}
    assert response_headers(206, describe(said, 3, 5, 10), "image/png", 3, 5) == {
        "Accept-Ranges": "bytes",
        "Content-Type": "image/png",
        "Content-Length": "2",
        "Content-Range": "bytes 3-4/10",
        "ETag": '"v"',
        "Last-Modified": DATE,
        "Content-Encoding": "gzip",
    }
    assert response_headers(206, describe({}, 3, 5, None), "x/y", 3, 5)["Content-Range"] == "bytes 3-4/*"
    assert response_headers(200, None, "x/y", 0, None) == {"Accept-Ranges": "bytes", "Content-Type": "x/y"}
    assert response_headers(416, describe({}, 10, 10, 10), "x/y", 10, 10) == {
        "Accept-Ranges": "bytes",
        "Content-Range": "bytes */10",
        "Content-Length": "0",
    }


@table(
    ("header", "expected"),
    [
        ("bytes=0-", ByteRange()),
        ("bytes=0-0", ByteRange(0, 1)),
        ("Bytes = 3 - 9", ByteRange(3, 10)),
        ("bytes=3-", ByteRange(3)),
        ("bytes=-5", ByteRange(-5)),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=0-9999999999999999999999", None),
        ("", None),
    ],
)
def test_range_headers(header: str, expected: ByteRange | None) -> None:
    """A header names one range, or is ignored."""
    assert read_http_range(header) == expected
