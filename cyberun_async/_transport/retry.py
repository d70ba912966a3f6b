"""Whether a failed call is retried, and when: transient failures, `Retry-After`, back-off, and submissions. (backoff)"""

import random
from collections.abc import Callable

from cyberun_async._backoff import backoff
from cyberun_async._errors import (
    APIError,
    CyberunError,
    RateLimitError,
    TransportError,
)
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.error_responses import is_passing_status
from cyberun_async._settings import Retries


def delay_before_retry(
    call: Call[object],
    failure: CyberunError,
    attempt: int,
    *,
    elapsed: float,
    retries: Retries,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Decide over one failure of a call.

    Args:
        call: What was sent.
        failure: How it failed.
        attempt: How often it was sent, this one included.
        elapsed: Seconds since it first failed.
        retries: What the client allows.
        jitter: Gives a number from 0 to 1.

    Returns:
        Seconds to wait before it is sent again, or `None` where the failure stands.

    """
    if not is_transient(failure) or not _costs_nothing_twice(call, failure):
        return None
    asked = failure.retry_after if isinstance(failure, APIError) else None
    if asked is not None and asked > retries.retry_after:
        return None
    own = jitter() * backoff(attempt - 1, initial=retries.initial, maximum=retries.maximum)
    # What the server asks for is not our choice, so it does not count: it has a limit of its own.
    return (asked or 0.0) + own if elapsed + own < retries.budget else None


def is_transient(failure: CyberunError) -> bool:
    """Whether the same request may succeed a little later."""
    if failure.is_final:
        return False
    if isinstance(failure, APIError):
        return is_passing_status(failure.status)
    return isinstance(failure, TransportError) and failure.retryable


def _costs_nothing_twice(call: Call[object], failure: CyberunError) -> bool:
    """A call with effects is retried only where the server did not act, or cannot have seen it."""
    if call.repeatable or isinstance(failure, RateLimitError):
        return True
    return isinstance(failure, TransportError) and not failure.may_have_been_sent
