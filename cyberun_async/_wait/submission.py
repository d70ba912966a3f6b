"""Submitting the task of a wait: its id is reported before anything else is done, and not lost where the caller leaves."""

from collections.abc import Callable
from contextlib import suppress

from cyberun_async._concurrency import Flight, call_back, shield_with_grace
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._settings import Settings
from cyberun_async._transport.transport import Transport


class Submission:
    """The task of a wait, as far as it is known.

    Args:
        task_id: Its id, where it was submitted before.

    Attributes:
        task_id: Its id, once the server has said it.
        flight: Its submission.

    """

    __slots__ = ("flight", "task_id")

    def __init__(self, task_id: str | None = None) -> None:
        """Begin with what is known."""
        self.task_id: str | None = task_id
        self.flight: Flight = Flight()

    def __repr__(self) -> str:
        """Show what is known."""
        return f"<{type(self).__name__} of {self.task_id or 'a task without an id'}>"

    @property
    def may_exist(self) -> bool:
        """Whether there may be a task."""
        return self.task_id is not None or self.flight.is_begun


async def submit(
    transport: Transport,
    settings: Settings,
    call: Call[Submitted],
    submission: Submission,
    on_submitted: Callable[[str], object] | None,
    *,
    is_id_needed: bool,
) -> None:
    """Submit a task, and report its id before anything else is done.

    Args:
        transport: Where to.
        settings: The client's.
        call: The prepared submission.
        submission: Gets the id.
        on_submitted: Is called with the id.
        is_id_needed: Whether the submission is seen through although the caller is cancelled.

    """

    async def send() -> None:
        submission.task_id = (await transport.send(call, flight=submission.flight)).task_id
        if on_submitted is not None:
            await report_submitted(on_submitted, submission.task_id)

    if is_id_needed:
        await shield_with_grace(send, submission.flight, within=settings.timeouts.cleanup)
    else:
        await send()


async def report_submitted(callback: Callable[..., object], *args: str) -> None:
    """Call back with the id of a new task, the last argument; what that raises has the id on it."""
    try:
        await call_back(callback, *args)
    except Exception as error:
        # It is the user's, and may be frozen.
        with suppress(AttributeError):
            error.task_id = args[-1]  # type: ignore[attr-defined]
        raise
