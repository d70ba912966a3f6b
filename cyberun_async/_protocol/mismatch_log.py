"""Log what of a response did not fit, once for each client and field."""

import logging

from cyberun_async._protocol.redaction import redact

log = logging.getLogger("cyberun_async.decoding")


class MismatchLog:
    """Remembers which fields it has logged; there are as many as the records have, whatever a server sends."""

    __slots__ = ("_logged",)

    def __init__(self) -> None:
        """Log nothing yet."""
        self._logged: set[str] = set()

    def __repr__(self) -> str:
        """Show which fields were logged."""
        return f"<{type(self).__name__}: {', '.join(sorted(self._logged)) or 'nothing'}>"

    def __call__(self, place: str, problem: str) -> None:
        """Log the first mismatch at a place: a record and its field on the wire. The problem must hold no value."""
        if place not in self._logged:
            self._logged.add(place)
            log.warning("%s differs from its documentation (%s); this is logged once", place, redact(problem))


LOG_OF_PROCESS = MismatchLog()
"""For what is decoded without a client."""
