"""The event loop that a client lives on."""

from cyberun_async._errors import ConfigurationError


class EventLoopGuard:
    """Remembers the event loop of the first use, to refuse another."""

    def __init__(self) -> None:
        self._token: object = None

    def __repr__(self) -> str:
        """Show whether it is bound to a loop."""
        return f"<{type(self).__name__}: {'free' if self._token is None else 'bound'}>"

    def check(self) -> None:
        """Refuse to go on in another event loop: connections cannot move between loops.

        Raises:
            ConfigurationError: This is another event loop than that of the first use.

        """
        # anyio imports this only where a loop runs.
        import anyio.lowlevel

        token = anyio.lowlevel.current_token().native_token
        if self._token is None:
            self._token = token
        elif token is not self._token:
            message = (
                "this client was first used in another event loop, and its connections live there: "
                "make one client for each event loop (each asyncio.run)"
            )
            raise ConfigurationError(message)
