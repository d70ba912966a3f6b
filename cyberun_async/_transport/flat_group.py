"""A task group whose failures are flat: no exception group reaches a user, nor one of `SystemExit` or Ctrl-C.

anyio's own wraps whatever fails in it, a lone failure too, and on trio a `KeyboardInterrupt` may strike at the group's
own end, where no child and no body could keep it. On asyncio a `SystemExit` that leaves a child goes right through the
event loop, past everybody who has something to clean up. So children hand over what they fail with, and the group
raises it in the task that opened it.
"""

import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import anyio.abc

if TYPE_CHECKING:
    from typing_extensions import Self

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup  # type: ignore[import-not-found, unused-ignore] # it comes with anyio


class FlatTaskGroup:
    """A task group that raises the first failure of its children or its body as it is, once all have ended."""

    __slots__ = ("_failures", "_group")

    def __init__(self) -> None:
        """Make a group without children."""
        self._group: anyio.abc.TaskGroup = anyio.create_task_group()
        self._failures: list[BaseException] = []

    @property
    def cancel_scope(self) -> "anyio.CancelScope":
        """The scope of the children and the body."""
        return self._group.cancel_scope

    def start_soon(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Run something in the background; where it fails, it cancels the rest."""
        self._group.start_soon(self._guarded, work, arguments)

    async def _guarded(self, work: Callable[..., Awaitable[object]], arguments: tuple[object, ...]) -> None:
        try:
            await work(*arguments)
        except BaseException as error:
            if isinstance(error, GeneratorExit) or _is_cancellation(error):
                raise
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        self._group.cancel_scope.cancel()

    async def __aenter__(self) -> "Self":
        """Open it."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Wait for the children, and raise the first failure."""
        if error is not None and not _is_cancellation(error):
            # The group would wrap it in a group of its own.
            self._fail(error)
            kind = error = traceback = None
        try:
            is_caught = await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as several:
            is_caught = None
            self._failures.append(_first_of(several))
        if self._failures:
            raise self._failures[0]
        return is_caught


def _is_cancellation(error: BaseException) -> bool:
    """Whether this is for a scope further out; trio's nurseries may have it come in groups, and its scopes take them apart."""
    cancelled = anyio.get_cancelled_exc_class()
    return isinstance(error, cancelled) or (isinstance(error, BaseExceptionGroup) and error.split(cancelled)[1] is None)


def _first_of(group: BaseException) -> BaseException:
    """Give the first failure in a group that is no cancellation, or else the first cancellation."""
    while isinstance(group, BaseExceptionGroup):
        _, others = group.split(anyio.get_cancelled_exc_class())
        group = (others or group).exceptions[0]
    return group
