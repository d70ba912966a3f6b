"""Bytes in, events out: the standard's rules, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async._transport.sse import EventDecoder, EventTooLarge

Events = list[tuple[str, str]]

BOM = b"\xef\xbb\xbf"


def decode(*chunks: bytes, max_event_bytes: int = 1000) -> Events:
    """Feed chunks to a new decoder, and give the names and data of its events."""
    decoder = EventDecoder(max_event_bytes)
    return [(event.event, event.data) for chunk in chunks for event in decoder.feed(chunk)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Cut a stream at some places, which may coincide."""
    return [stream[start:end] for start, end in pairwise([0, *sorted(places), len(stream)])]


RULES = [
    pytest.param(b"data: a\n\n", [("message", "a")], id="an event without a name"),
    pytest.param(b"event: status\ndata: a\n\n", [("status", "a")], id="name and data"),
    pytest.param(b"data: a\nevent: status\n\n", [("status", "a")], id="data before the name"),
    pytest.param(b"event: a\nevent: b\ndata: x\n\n", [("b", "x")], id="the last name counts"),
    pytest.param(b"data:a\n\n", [("message", "a")], id="no space after the colon"),
    pytest.param(b"data:  a \n\n", [("message", " a ")], id="one space after the colon is dropped, no other"),
    pytest.param(b"data: a:b\n\n", [("message", "a:b")], id="a colon in the data"),
    pytest.param(b"data: a\r\n\r\n", [("message", "a")], id="CRLF"),
    pytest.param(b"data: a\r\r", [("message", "a")], id="CR, given out before the next byte"),
    pytest.param(b"data: a\r\n\rdata: b\n\r\n", [("message", "a"), ("message", "b")], id="line ends mixed"),
    pytest.param(b"data: {\ndata:  1}\n\n", [("message", "{\n 1}")], id="data over two lines"),
    pytest.param(b"data: a\ndata\ndata:\n\n", [("message", "a\n\n")], id="lines of empty data"),
    pytest.param(BOM + b"data: a\n\n", [("message", "a")], id="a byte-order mark"),
    pytest.param(BOM + BOM + b"data: a\n\ndata: b\n\n", [("message", "b")], id="only one byte-order mark"),
    pytest.param(
        b"data: a\n\n" + BOM + b"data: b\n\n", [("message", "a")], id="a byte-order mark, but not at the start"
    ),
    pytest.param(b": ping\n\n:\n\n", [], id="keep-alive comments"),
    pytest.param(b"\n\n\n", [], id="blank lines"),
    pytest.param(b"id: 1\ndata: a\n\n: ping\n\n\n", [("message", "a")], id="blank lines after an id"),
    pytest.param(b"event: status\n\ndata: a\n\n", [("message", "a")], id="an event without data is none"),
    pytest.param(b"event: status\ndata:\n\n", [], id="nor is one with empty data"),
    pytest.param(b"event:\ndata: a\n\n", [("message", "a")], id="an empty name"),
    pytest.param(b"data: a\n", [], id="an event that is not finished"),
    pytest.param(
        b'event: progress\ndata: {\n  "task_id":"x",\n  "progress":0.35\n}\n\n',
        [("progress", '{\n  "task_id":"x",\n  "progress":0.35\n}')],
        id="JSON that goes on without data, as on the documented page",
    ),
    pytest.param(
        b'data:\n{"a":\ndata: 1,\n: ping\nid: 5\n"id": 2}\n\ndata: b\n\n',
        [("message", '{"a":\n 1,\n"id": 2}'), ("message", "b")],
        id="JSON that goes on without data, around fields",
    ),
    pytest.param(b'data: {"a": 1}\nfoo: c\n\n', [("message", '{"a": 1}')], id="JSON, and a field that is none"),
    pytest.param(b"data: {\nfoo: c\n\n", [("message", "{")], id="no JSON, with or without a field that is none"),
    pytest.param(b"{\n\ndata: a\n\n", [("message", "a")], id="JSON without any data"),
    pytest.param(b"Data: a\n data: b\nfoo: c\n\n", [], id="fields that are none"),
    pytest.param(
        'data: {"a": "\u2028\u2029\x85\x0b\x0c\x1c"}\n\n'.encode(),
        [("message", '{"a": "\u2028\u2029\x85\x0b\x0c\x1c"}')],
        id="what ends a line only in Python",
    ),
    pytest.param("data: é€😀\n\n".encode(), [("message", "é€😀")], id="characters of several bytes"),
    pytest.param(b"data: \xe2\x82\ndata: \xff\n\n", [("message", "\ufffd\n\ufffd")], id="bytes that are no UTF-8"),
]


@table(("stream", "events"), RULES)
def test_rules_hold_wherever_the_bytes_are_cut(stream: bytes, events: Events) -> None:
    """Whole, cut in two anywhere, and byte by byte, a stream says the same."""
    ways = [
        [stream],
        *(cut(stream, [place]) for place in range(len(stream) + 1)),
        cut(stream, list(range(len(stream)))),
    ]

    assert [decode(*way) for way in ways] == [events] * len(ways)


pieces = st.sampled_from([
    b"\n", b"\n", b"\r", b"\r\n", b":", b" ", b"data", b"data: ", b"event: ", b"id: ", b"id", b"retry: ", b"17",
    BOM, "é".encode(), "€".encode(), "\u2028".encode(), "\x85".encode(), b"\xe2\x82", b"\xff", b"\x00", b"{}", b"x",
])  # fmt: skip
streams = st.lists(pieces | st.binary(max_size=3), max_size=40).map(b"".join)


@given(streams, st.data(), st.sampled_from([8, 30, 1000]))
def test_no_way_of_cutting_changes_anything(stream: bytes, data: st.DataObject, max_event_bytes: int) -> None:
    """Events, last id, `retry` and the limit are the same for every way of cutting a stream."""
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))

    def outcome(chunks: list[bytes]) -> tuple[Events, str, int | None] | str:
        decoder = EventDecoder(max_event_bytes)
        try:
            events = [(event.event, event.data) for chunk in chunks for event in decoder.feed(chunk)]
        except EventTooLarge as error:
            return str(error)
        return events, decoder.last_event_id, decoder.retry

    assert outcome(cut(stream, places)) == outcome([stream])


@given(streams)
def test_httpx_sse_agrees_where_it_is_right(stream: bytes) -> None:
    """httpx-sse sees the same events, once its byte-order mark, its end of input and its empty events are set right."""
    lines, interpreter = SSELineDecoder(), SSEDecoder()
    text = stream.removeprefix(BOM).decode("utf-8", "replace")
    # One more character, so that it gives out a line that ends in a carriage return.
    seen = [interpreter.decode(line) for line in (lines.decode(text + "x") if text else [])]

    assert decode(stream) == [(event.event, event.data) for event in seen if event is not None and event.data]


@table(
    ("stream", "last_event_id"),
    [
        pytest.param(b"data: a\n\n", "", id="none"),
        pytest.param(b"id: 7\ndata: a\n\n", "7", id="with an event"),
        pytest.param(b"id: 7\n\n", "7", id="without data"),
        pytest.param(b"id: 7\n", "", id="of an event that is not finished"),
        pytest.param(b"id: 7\n\ndata: b\n\n: ping\n\n", "7", id="it stays"),
        pytest.param(b"id: 7\n\nid: 8\n\n", "8", id="the last one counts"),
        pytest.param(b"id: 7\n\nid\n\n", "", id="taken back"),
        pytest.param(b"id: 7\n\nid: 8\0\n\n", "7", id="with a null it is none"),
        pytest.param("id: é\n\n".encode(), "é", id="not ASCII"),
        pytest.param(b"id: a\tb\n\n", "", id="a control character fits no header"),
        pytest.param(b"id: a \n\n", "", id="nor does a space at the end"),
    ],
)
def test_last_event_id(stream: bytes, last_event_id: str) -> None:
    """The last `id:` of a finished event is known, if a `Last-Event-ID` header can hold it."""
    decoder = EventDecoder(1000)
    decoder.feed(stream)

    assert decoder.last_event_id == last_event_id


@table(
    ("stream", "retry"),
    [
        pytest.param(b"data: a\n\n", None, id="none"),
        pytest.param(b"retry: 1500\n\n", 1500, id="alone"),
        pytest.param(b"retry: 1500\ndata: a\n\ndata: b\n\n", 1500, id="it stays"),
        pytest.param(b"retry: soon\n\n", None, id="no number"),
    ],
)
def test_retry(stream: bytes, retry: int | None) -> None:
    """The last `retry:` is known."""
    decoder = EventDecoder(1000)
    decoder.feed(stream)

    assert decoder.retry == retry


@table("chunk", [1, 7, 10_000], ids="by {}".format)
def test_the_limit_is_that_of_one_event(chunk: int) -> None:
    """Any number of events and comments may come, in chunks of any size, as long as each event keeps to the limit."""
    stream = (b"data: 0123456789\n\n" + b": a comment\n" * 4) * 100

    assert len(decode(*cut(stream, list(range(0, len(stream), chunk))), max_event_bytes=16)) == 100


@table("chunk", [1, 7, 10_000], ids="by {}".format)
@table(
    "stream",
    [
        pytest.param(b"data: 0123456789!\n\n", id="one line"),
        pytest.param(b"data: 0123\ndata: 456789\n\n", id="several lines"),
        pytest.param(b": a comment\n\nevent: a\ndata: 0123456789\n\n", id="an event as the service sends it"),
        pytest.param(b"data: 0123456789!", id="a line without an end"),
        pytest.param(b": a comment too long\n", id="a comment"),
    ],
)
def test_an_event_over_the_limit_is_refused(stream: bytes, chunk: int) -> None:
    """One byte too many is refused, also before the event is finished."""
    with pytest.raises(EventTooLarge, match="more than 16 bytes"):
        decode(*cut(stream, list(range(0, len(stream), chunk))), max_event_bytes=16)
