"""What all groups of calls have in common."""

from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._transport.transport import Transport


class Group:
    """Calls that belong together."""

    __reduce__ = refuse_copies

    def __init__(self, transport: Transport) -> None:
        """Send them through a client's transport."""
        self._transport = transport

    def __repr__(self) -> str:
        """Show where the calls go."""
        return f"<{type(self).__name__} of {self._transport.base_url}>"
