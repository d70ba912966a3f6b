"""What a client reports to an observer: frozen records without a secret in them. (metrics, tracing, instrumentation)"""

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from cyberun_async._errors import ConfigurationError, CyberunError

if TYPE_CHECKING:
    from typing_extensions import Self

    from cyberun_async._protocol.call import Call

log = logging.getLogger("cyberun_async.observer")

_numbers = itertools.count(1)
"""Pairs a beginning with its end."""


@attrs.frozen
class RequestStarted:
    """An attempt of a call begins.

    Attributes:
        number: The attempt's number in this process; its `ResponseReceived` has the same.
        method: The HTTP method.
        path: The path below the base URL.
        attempt: How often the call is being sent, from 1.
        task_id: The task that the call is about, or `None`.

    """

    number: int
    method: str
    path: str
    attempt: int
    task_id: str | None


@attrs.frozen
class ResponseReceived:
    """An attempt of a call has ended.

    Attributes:
        request: The record of its beginning.
        seconds: How long it took.
        status: The HTTP status, or `None` where there was no response.
        error: Why there was no response: a failure's name, or `"cancelled"`; `None` where there was one.

    """

    request: RequestStarted
    seconds: float
    status: int | None
    error: str | None


@attrs.frozen
class RetryPlanned:
    """A call failed and will be retried.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        attempt: How often it was sent.
        delay: Seconds until the retry.
        failure: How it failed.

    """

    method: str
    path: str
    attempt: int
    delay: float
    failure: CyberunError


@attrs.frozen
class WaitProgressed:
    """Waiting for a task began, saw the task in a new status, or ended.

    Attributes:
        number: The wait's number in this process.
        task_id: The task that is waited for.
        status: The last status seen, or `None` before the first.
        is_over: Whether the wait has ended, for whatever reason.
        error: What ended the wait other than a result: a failure's name, or `"cancelled"`, as also its deadline does.

    """

    number: int
    task_id: str
    status: str | None
    is_over: bool = False
    error: str | None = None


class Observer:
    """Receives reports of what a client does; override what is wanted, and pass an instance as `observer`.

    The methods are plain functions, called on the event loop: they have to be quick. What they raise is logged
    under `cyberun_async.observer`, and changes nothing.

    """

    def on_request(self, record: RequestStarted) -> None:
        """An attempt of a call begins."""

    def on_response(self, record: ResponseReceived) -> None:
        """An attempt of a call has ended."""

    def on_retry(self, record: RetryPlanned) -> None:
        """A call failed, and will be retried."""

    def on_wait(self, record: WaitProgressed) -> None:
        """A wait began, saw its task in a new status, or ended."""


class Instrumentation:
    """Reports to an observer, which may lack a method, and may fail."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @classmethod
    def of(cls, observer: Observer) -> "Self":
        """Check an observer, which may also be any object with some of its methods.

        Raises:
            ConfigurationError: It has none of them, or is a class.

        """
        names = [name for name in vars(Observer) if name.startswith("on_")]
        if isinstance(observer, type) or not any(callable(getattr(observer, name, None)) for name in names):
            message = f"observer must be an instance of a subclass of Observer, not {observer!r}"
            raise ConfigurationError(message)
        return cls(observer)

    def request(self, call: "Call[Any]", attempt: int) -> RequestStarted:
        """Report that an attempt of a call begins."""
        record = RequestStarted(next(_numbers), call.method, call.path, attempt, call.task_id)
        self._notify("on_request", record)
        return record

    def response(self, request: RequestStarted, seconds: float, status: int | None, error: str | None) -> None:
        """Report that it has ended."""
        self._notify("on_response", ResponseReceived(request, seconds, status, error))

    def retry(self, call: "Call[Any]", attempt: int, delay: float, failure: CyberunError) -> None:
        """Report that a call will be retried."""
        self._notify("on_retry", RetryPlanned(call.method, call.path, attempt, delay, failure))

    @contextmanager
    def wait(
        self, task_id: str, status: Callable[[], str | None], on_event: Callable[[Any], object] | None
    ) -> Iterator[Callable[[Any], object]]:
        """Report a wait for as long as it goes on.

        Args:
            task_id: The task that is waited for.
            status: Gives the last status seen.
            on_event: What the caller wants to be called with each event.

        Returns:
            What to call with each event instead.

        """
        number, last = next(_numbers), status()

        def noted(event: object) -> object:
            nonlocal last
            if status() != last:
                last = status()
                self._notify("on_wait", WaitProgressed(number, task_id, last))
            return None if on_event is None else on_event(event)

        self._notify("on_wait", WaitProgressed(number, task_id, last))
        error: str | None = "cancelled"
        try:
            yield noted
            error = None
        except Exception as failure:
            error = type(failure).__name__
            raise
        finally:
            self._notify("on_wait", WaitProgressed(number, task_id, status(), is_over=True, error=error))

    def _notify(self, method: str, record: object) -> None:
        callback = getattr(self._observer, method, None)
        if callback is None:
            return
        try:
            callback(record)
        except Exception:
            log.exception("an observer failed in %s", method)


for _public in (Observer, RequestStarted, ResponseReceived, RetryPlanned, WaitProgressed):
    # Their public address, by which they are pickled, however they were imported.
    _public.__module__ = "cyberun_async"
del _public
