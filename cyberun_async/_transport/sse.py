"""From the bytes of an event stream to its events, without waiting. (server-sent events, parser)

The standard: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import json
import re
from codecs import BOM_UTF8

from httpx_sse import ServerSentEvent

# Private, as only complete responses are public: httpx-sse is pinned, and a test says so when it moves.
from httpx_sse._decoders import SSEDecoder

__all__ = ["EventDecoder", "EventTooLarge", "ServerSentEvent"]


_USUAL = re.compile(rb"event: (.+)\ndata: (.+)\n\n").match
_FIELD = re.compile(r"(data|event|id|retry)?(:|$)").match


class EventTooLarge(Exception):
    """One event has more bytes than the limit."""


class EventDecoder:
    """Takes a stream in chunks cut anywhere, and gives each event as soon as its last line is there.

    httpx-sse interprets the lines. Splitting and decoding are done here, since its own way believes a
    `charset` against the standard, loses the first event to a byte-order mark, and delays an event
    that ends in a carriage return. Only complete lines are decoded, so that no character is ever cut.

    Attributes:
        last_event_id: The last `id:`, or `""`; the service documents none, but a deployment may send them.
        retry: The last `retry:` in milliseconds, or `None`; likewise.
        joined: How many events had lines of JSON without `data:`.

    """

    def __init__(self, max_event_bytes: int) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self.joined: int = 0
        self._max_event_bytes = max_event_bytes
        self._interpret = SSEDecoder().decode
        self._line = bytearray()
        self._after_cr = False
        self._is_first_line = True
        self._size = 0
        self._data: list[str] = []
        self._has_stray_lines = False

    def __repr__(self) -> str:
        """Show how much of the next event there is."""
        return (
            f"<{type(self).__name__}: {self._size + len(self._line)} bytes of an event, last id {self.last_event_id!r}>"
        )

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Give the events that the chunk completes; those without data prove only the connection, and are left out.

        Raises:
            EventTooLarge: An event has more bytes than the limit.

        """
        events: list[ServerSentEvent] = []
        start = 0
        if not self._is_between_events:
            start = chunk.find(b"\n\n") + 2 if b"\n\n" in chunk else len(chunk)
            self._feed_lines(chunk[:start], events)
        if self._is_between_events and b"\r" not in chunk:
            start = self._take_usual(chunk, start, events)
        if start < len(chunk):
            self._feed_lines(chunk[start:], events)
        return events

    @property
    def _is_between_events(self) -> bool:
        return not (self._size or self._line or self._after_cr or self._is_first_line)

    def _take_usual(self, chunk: bytes, start: int, events: list[ServerSentEvent]) -> int:
        """Take events of the form that the service sends, and give the place of the first thing that is anything else.

        Matching a complete event costs a fifth of going through its lines.
        """
        last_event_id, longest = self.last_event_id, self._max_event_bytes
        while (usual := _USUAL(chunk, start)) is not None:
            end = usual.end()
            if end - start > longest:
                break
            name, data = usual.groups()
            events.append(ServerSentEvent(str(name, "utf-8", "replace"), str(data, "utf-8", "replace"), last_event_id))
            start = end
        return start

    def _feed_lines(self, chunk: bytes, events: list[ServerSentEvent]) -> None:
        """Take what comes line by line, whatever it is."""
        for line in self._lines(chunk):
            self._count(line)
            text = self._decode(line)
            event = self._interpret(text)
            if event is not None:
                self.retry = self.retry if event.retry is None else event.retry
                event = self._with_stray_lines(event)
                if event.data:
                    events.append(event)
            self._note(text)
            if not line:
                self.last_event_id = event.id if event is not None and _fits_a_header(event.id) else ""
        self._check(self._size + len(self._line))

    def _note(self, line: str) -> None:
        """Remember the data of the event so far, and lines that may belong to it although they lack `data:`.

        The documentation shows an event whose JSON goes on so:
        https://docs.cyberun.cloud/api-reference/streaming-events
        """
        if not line:
            self._data, self._has_stray_lines = [], False
        elif line.startswith("data:"):
            self._data.append(line[5:])
        elif self._data and _FIELD(line) is None:
            self._data.append(line)
            self._has_stray_lines = True

    def _with_stray_lines(self, event: ServerSentEvent) -> ServerSentEvent:
        """Take in lines without `data:` where they make JSON of what is none; the standard ignores them."""
        joined = "\n".join(self._data)
        if not self._has_stray_lines or _is_json(event.data) or not _is_json(joined):
            return event
        self.joined += 1
        return ServerSentEvent(event.event, joined.strip(), event.id, event.retry)

    def _lines(self, chunk: bytes) -> list[bytes]:
        """Give the lines that the chunk completes; a line feed that comes after a carriage return ends no other line."""
        text = chunk[1:] if self._after_cr and chunk.startswith(b"\n") else chunk
        self._after_cr = chunk.endswith(b"\r") if chunk else self._after_cr
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = text.split(b"\n")
        self._line += first
        if not others:
            return []
        lines = [bytes(self._line), *others[:-1]]
        self._line = bytearray(others[-1])
        return lines

    def _decode(self, line: bytes) -> str:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(BOM_UTF8)
        return line.decode("utf-8", "replace")

    def _count(self, line: bytes) -> None:
        """Count the bytes of an event line by line; comments do not add up, however long they keep a stream alive."""
        self._check(self._size + len(line))
        if not line:
            self._size = 0
        elif not line.startswith(b":"):
            self._size += len(line)

    def _check(self, size: int) -> None:
        if size > self._max_event_bytes:
            message = f"an event has more than {self._max_event_bytes} bytes (Limits.max_event_bytes)"
            raise EventTooLarge(message)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _fits_a_header(event_id: str) -> bool:
    """Whether an id can be sent as `Last-Event-ID`; with one that cannot, no stream could be opened again."""
    return event_id.isprintable() and event_id == event_id.strip()
