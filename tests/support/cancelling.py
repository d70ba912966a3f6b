"""Cancelling a coroutine exactly where it waits for the nth time."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

Cancel = Callable[[], object]


class CancelledAt:
    """Drives a coroutine, and cancels it when it has stopped to wait for the nth time.

    Attributes:
        waits: How often it has stopped so far.

    """

    def __init__(self, work: Coroutine[Any, Any, None], turn: int, cancel: Cancel) -> None:
        self.waits = 0
        self._work, self._turn, self._cancel = work, turn, cancel

    @types.coroutine
    def run(self) -> Generator[Any, Any, None]:
        step: Callable[[], Any] = lambda: self._work.send(None)  # noqa: E731 - it changes from turn to turn
        while True:
            try:
                waited_for = step()
            except StopIteration:
                return
            if self.waits == self._turn:
                self._cancel()
            self.waits += 1
            try:
                value = yield waited_for
            except BaseException as error:  # noqa: BLE001 - handed on
                step = _thrower(self._work, error)
            else:
                step = _sender(self._work, value)


def _sender(work: Coroutine[Any, Any, None], value: object) -> Callable[[], Any]:
    return lambda: work.send(value)


def _thrower(work: Coroutine[Any, Any, None], error: BaseException) -> Callable[[], Any]:
    return lambda: work.throw(error)


class ClientClosed:
    """Cancels a task, and once more two turns of the loop later if asked to."""

    def __init__(self, times: int) -> None:
        self.task: asyncio.Task[None]
        self._times = times

    def __call__(self) -> None:
        self.task.cancel()
        if self._times == 2:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.task.cancel)
