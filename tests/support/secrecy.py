"""Everything that an error may turn into where it is printed, logged, tracked or sent home."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cyberun_async

OURS = str(Path(cyberun_async.__file__).parent)


def everything_about(error: BaseException) -> str:
    """Give each text of an error, of its causes and contexts (hidden ones, too), and of the variables of our frames."""
    texts = []
    for each in chain_of(error):
        texts += [str(each), repr(each), repr(each.args), repr(vars(each)), *variables_of(each)]
    with_variables = traceback.TracebackException.from_exception(error, capture_locals=False)
    pickled = pickle.dumps(error)
    texts += [*with_variables.format(), repr(pickled), repr(pickle.loads(pickled)), repr(vars(pickle.loads(pickled)))]
    return "\n".join(texts)


def chain_of(error: BaseException) -> list[BaseException]:
    """Give an error and all that hangs on it."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
    return found


def variables_of(error: BaseException) -> Iterator[str]:
    """Give the variables of each of our frames in a traceback, as a tracker of errors shows them."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith(OURS):
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_qualname if hasattr(frame.f_code, 'co_qualname') else frame.f_code.co_name}.{name} = {value!r}"


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logging.Formatter("%(name)s %(message)s").format(record) + repr(vars(record)))


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    """Collect what every logger says at its lowest level, as a user would see it."""
    records, root = _Records(), logging.getLogger()
    before = root.level
    root.addHandler(records)
    root.setLevel(logging.DEBUG)
    try:
        yield records.texts
    finally:
        root.removeHandler(records)
        root.setLevel(before)
