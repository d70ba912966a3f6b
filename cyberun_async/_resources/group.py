"""What all groups of calls have in common."""

from cyberun_async._transport.transport import Transport


class Group:
    """Calls that belong together."""

    def __init__(self, transport: Transport) -> None:
        """Send them through a client's transport."""
        self._transport = transport
