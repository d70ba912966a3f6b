"""The options of a batch, validated when they are given."""

from collections.abc import Callable, Collection
from typing import get_args

import attrs

from cyberun_async._batch.admission import OnError
from cyberun_async._batch.decisions import Resubmit
from cyberun_async._batch.journal import Journal
from cyberun_async._errors import ConfigurationError
from cyberun_async._validators import check_count, check_one_of, validator
from cyberun_async._wait.wait_options import AbandonPolicy, Wait, check_on_submitted


def check_journal(journal: object) -> None:
    """Check that an option is a journal.

    Raises:
        ConfigurationError: It is not.

    """
    if not isinstance(journal, Journal):
        raise ConfigurationError(f"journal must be a Journal(path), not {journal!r}")


def _check_journal(_: object, __: object, value: Journal | None) -> None:
    if value is not None:
        check_journal(value)


def _read_resubmit(words: Collection[Resubmit]) -> frozenset[Resubmit]:
    known = get_args(Resubmit)
    if isinstance(words, str) or not isinstance(words, Collection) or not all(word in known for word in words):
        message = f"resubmit must be a collection of {' and '.join(repr(word) for word in known)}, as ['failed'] is, not {words!r}"
        raise ConfigurationError(message)
    return frozenset(words)


@attrs.frozen(kw_only=True)
class BatchOptions:
    """How a batch is to run: the arguments of `AsyncClient.map`.

    Raises:
        ConfigurationError: One of the options is invalid.

    """

    workflow: str
    max_in_flight: int = attrs.field(validator=validator(check_count))
    wait: Wait
    on_error: OnError = attrs.field(validator=validator(check_one_of, "collect", "cancel_rest"))
    on_exit: AbandonPolicy = attrs.field(validator=validator(check_one_of, "leave", "cancel"))
    journal: Journal | None = attrs.field(validator=_check_journal)
    resubmit: Collection[Resubmit] = attrs.field(converter=_read_resubmit)
    on_submitted: Callable[[str, str], object] | None = attrs.field(
        default=None, validator=validator(check_on_submitted)
    )
    attempts: int = attrs.field(default=1, validator=validator(check_count))
    max_tasks: int | None = attrs.field(default=None, validator=attrs.validators.optional(validator(check_count)))
    stop_after_failures: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(validator(check_count))
    )
