"""How a caller wants to wait: deadline, callbacks, and what becomes of a task that is left. (timeout, abandon)"""

from collections.abc import Awaitable, Callable
from typing import Literal

import attrs

from cyberun_async._protocol.events import TaskEvent
from cyberun_async._validators import SECONDS, check_above_zero, check_function, check_one_of, validator

AbandonPolicy = Literal["leave", "cancel"]
"""What becomes of a task whose wait is left: it goes on, or it is cancelled."""

EventCallback = Callable[[TaskEvent], object | Awaitable[object]]
"""Called with each event; what it returns is awaited if it can be."""

Signal = Callable[[], Awaitable[object]]
"""Awaited once beside a wait; when it returns, the task is polled."""


def check_on_submitted(value: Callable[..., object] | None, name: str = "on_submitted") -> None:
    """Refuse what cannot be called.

    Raises:
        ConfigurationError: It cannot.

    """
    if value is not None:
        check_function(value, name, "a function that takes the id of a task")


_a_policy = validator(check_one_of, "leave", "cancel")
_a_deadline = validator(check_above_zero, f"{SECONDS}, or None for no deadline")
_a_callback = validator(check_function, "a function that takes an event")


@attrs.frozen(kw_only=True, eq=False)
class Wait:
    """How a caller wants to wait.

    Raises:
        ConfigurationError: The timeout is not a number above zero, the callback cannot be called, or a policy is
            not one of the two.

    """

    timeout: float | None = attrs.field(validator=attrs.validators.optional(_a_deadline))
    on_event: EventCallback | None = attrs.field(validator=attrs.validators.optional(_a_callback))
    on_timeout: AbandonPolicy = attrs.field(validator=_a_policy)
    on_cancel: AbandonPolicy = attrs.field(validator=_a_policy)
    start_timeout: float | None = attrs.field(default=None, validator=attrs.validators.optional(_a_deadline))
    signal: Signal | None = None
    on_submitted: Callable[[str], object] | None = attrs.field(default=None, validator=validator(check_on_submitted))

    @property
    def needs_id(self) -> bool:
        """Whether the task's id must be known even when the caller leaves: to cancel it, or to report it."""
        return self.on_submitted is not None or "cancel" in {self.on_timeout, self.on_cancel}
