"""SIGINT and SIGTERM: both take the same way out, and only the exit code differs."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Termination:
    """Whether the program was asked to terminate.

    Attributes:
        was_requested: Whether SIGTERM has come.

    """

    def __init__(self) -> None:
        """No signal has come."""
        self.was_requested = False


TERMINATION = Termination()
"""Of the command that runs."""


@contextmanager
def terminable() -> Iterator[Termination]:
    """End the command by SIGTERM as by Ctrl-C, also where Ctrl-C is ignored.

    A shell has its scripts' background jobs ignore SIGINT, and asyncio would then not listen to it. So it is blocked
    instead, which keeps Ctrl-C away as well, until SIGTERM makes use of it.
    """
    TERMINATION.was_requested = False
    if threading.current_thread() is not threading.main_thread():
        yield TERMINATION
        return
    is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN and sys.platform != "win32"

    def terminate(_: int, __: FrameType | None) -> None:
        # The way out of a Ctrl-C is well trodden: the terminal is put in order, and files are closed.
        TERMINATION.was_requested = True
        if is_ignored:
            was_pending = signal.SIGINT in signal.sigpending()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            if was_pending:
                # A Ctrl-C that was kept away has come just now; a second one would leave at once.
                return
        signal.raise_signal(signal.SIGINT)

    if is_ignored:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield TERMINATION
    finally:
        signal.signal(signal.SIGTERM, before)
        if is_ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
