"""Handling signals (SIGTERM, SIGINT) beside the handlers that are there already, for a graceful shutdown."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def chained(numbers: Iterable[int], notice: Callable[[int, bool], None]) -> Iterator[None]:
    """Call `notice` on each of the signals, and then the handler that was there before.

    `notice` gets the signal's number, and whether its default action, which ends the process, was all there was: that
    is put off then, and left to `notice`. Outside of the main thread, where Python handles no signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in numbers}
    # None is a handler that is not Python's, and could not be put back.
    handlers = {number: each for number, each in handlers.items() if each not in (None, signal.SIG_IGN)}

    def handle(number: int, frame: FrameType | None) -> None:
        handler = handlers[number]
        notice(number, handler is signal.SIG_DFL)
        if callable(handler):
            handler(number, frame)

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            # One that was set meanwhile is somebody else's.
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
