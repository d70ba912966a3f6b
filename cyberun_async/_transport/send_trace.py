"""Whether httpcore has begun to send a request: of a submission that failed, the question that decides over a retry."""

from collections.abc import Mapping
from typing import Any

from cyberun_async._concurrency import Flight


class SendTrace:
    """A trace of httpcore's, for the extensions of one request.

    An exception says less: a proxy that does not respond to CONNECT and an API that does not respond to a submission
    are both a `ReadTimeout`.

    Source: https://www.encode.io/httpcore/extensions/#trace

    Attributes:
        has_begun: Whether bytes of the request may have left.

    """

    __slots__ = ("_flight", "has_begun")

    def __init__(self, flight: Flight | None = None) -> None:
        self.has_begun: bool = False
        self._flight = flight

    def __repr__(self) -> str:
        """Show whether the request has begun to leave."""
        return f"<{type(self).__name__}: {'has begun' if self.has_begun else 'has not begun'}>"

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of an event; the request for a tunnel is the proxy's."""
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self.has_begun = True
            if self._flight is not None:
                self._flight.begin()
