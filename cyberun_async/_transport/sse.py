"""From the bytes of an event stream to its events, without waiting.

The standard: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from codecs import getincrementaldecoder

from httpx_sse import ServerSentEvent as ServerSentEvent
from httpx_sse._decoders import SSEDecoder

_UTF8 = getincrementaldecoder("utf-8-sig")


class EventTooLarge(Exception):
    """One event has more bytes than the limit."""


class EventDecoder:
    """Takes a stream in chunks cut anywhere, and gives each event as soon as its last line is there.

    httpx-sse interprets the lines. Decoding and splitting are done here, since its own splitting believes a
    `charset` against the standard, loses the first event to a byte-order mark, and holds an event back
    that ends in a carriage return.

    Attributes:
        last_event_id: The last `id:`, or `""`; the service documents none, but a deployment may send them.
        retry: The last `retry:` in milliseconds, or `None`; likewise.

    """

    def __init__(self, max_event: int) -> None:
        """Start before the first byte."""
        self.last_event_id = ""
        self.retry: int | None = None
        self._max_event = max_event
        self._decode = _UTF8("replace").decode
        self._interpret = SSEDecoder().decode
        self._line = ""
        self._after_cr = False
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Give the events that the chunk completes; those without data prove only the connection, and are left out.

        Raises:
            EventTooLarge: An event has more bytes than the limit.

        """
        self._size += len(chunk)
        events = []
        for line in self._lines(self._decode(chunk)):
            event = self._interpret(line)
            if not line:
                self._size = len(chunk)
            if event is not None:
                self.last_event_id = event.id
                self.retry = self.retry if event.retry is None else event.retry
                if event.data:
                    events.append(event)
        if self._size > self._max_event + len(chunk):
            message = f"an event has more than {self._max_event} bytes"
            raise EventTooLarge(message)
        return events

    def _lines(self, text: str) -> list[str]:
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        if text:
            self._after_cr = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = self._line + lines[0]
            self._line = rest
        else:
            self._line += rest
        return lines
