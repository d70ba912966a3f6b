"""How somebody wants a batch to go, checked when it is said."""

from collections.abc import Callable, Collection
from typing import Literal

import attrs

from cyberun_async._batch.decisions import Resubmit, read_resubmit
from cyberun_async._batch.journal import Journal
from cyberun_async._errors import ConfigurationError
from cyberun_async._wait.result import AbandonPolicy, Wait, check_on_submitted

OnError = Literal["collect", "cancel_rest"]
"""What a failed item does to the others: nothing, or it cancels them."""


def _one_of(*words: str) -> "Callable[[object, attrs.Attribute[str], str], None]":
    def check(_: object, field: "attrs.Attribute[str]", value: str) -> None:
        if value not in words:
            choice = " or ".join(repr(word) for word in words)
            message = f"{field.name} must be {choice}, not {value!r}"
            raise ConfigurationError(message)

    return check


def _check_count(_: object, field: "attrs.Attribute[int]", value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = f"{field.name} must be a whole number above zero, not {value!r}"
        raise ConfigurationError(message)


def _check_journal(_: object, field: "attrs.Attribute[Journal | None]", value: Journal | None) -> None:
    if value is not None and not isinstance(value, Journal):
        message = f"{field.name} must be a Journal(path), not {value!r}"
        raise ConfigurationError(message)


def _check_on_submitted(_: object, __: object, value: "Callable[..., object] | None") -> None:
    check_on_submitted(value)


@attrs.frozen(kw_only=True)
class Plan:
    """How somebody wants a batch to go.

    Raises:
        ConfigurationError: One of the options is none.

    """

    workflow: str
    max_in_flight: int = attrs.field(validator=_check_count)
    wait: Wait
    on_error: OnError = attrs.field(validator=_one_of("collect", "cancel_rest"))
    on_exit: AbandonPolicy = attrs.field(validator=_one_of("leave", "cancel"))
    journal: Journal | None = attrs.field(validator=_check_journal)
    resubmit: Collection[Resubmit] = attrs.field(converter=read_resubmit)
    on_submitted: Callable[[str, str], object] | None = attrs.field(default=None, validator=_check_on_submitted)
    attempts: int = attrs.field(default=1, validator=_check_count)
    max_tasks: int | None = attrs.field(default=None, validator=attrs.validators.optional(_check_count))
    stop_after_failures: int | None = attrs.field(default=None, validator=attrs.validators.optional(_check_count))
