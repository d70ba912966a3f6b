"""Which failures of a poll a wait outlives, and which refusals only lag behind what has just happened. (retry, outage)"""

from cyberun_async._errors import APIError, CyberunError, DecodeError, NotFoundError, RateLimitError, TokenError
from cyberun_async._transport.recent_submissions import LAG
from cyberun_async._transport.retry import is_transient
from cyberun_async._wait.schedule import Question

MAX_PAUSE = 60.0
"""Seconds that a server may ask a wait to pause for; a longer pause is an error, not a sleep."""


def is_passing(failure: CyberunError, *, has_answered: bool = False) -> bool:
    """Whether a wait may go on after a poll that failed so: the next one may be answered.

    Args:
        failure: How it failed.
        has_answered: Whether the API has answered this client before, so that a page in its place is a proxy's.

    """
    if failure.is_final:
        return False
    if isinstance(failure, RateLimitError):
        return failure.retry_after is None or failure.retry_after <= MAX_PAUSE
    if has_answered and isinstance(failure, APIError) and (failure.is_page or 300 <= failure.status < 400):
        return True
    return isinstance(failure, (DecodeError, TokenError)) or is_transient(failure)


_NOT_YET = frozenset({400, 404, 409})
"""With these a service may refuse the result of a task that has just ended."""


def is_lag(failure: CyberunError, question: Question, seconds: float) -> bool:
    """Whether the refusal of a request may only lag behind what happened so many seconds before it was sent.

    That is a submission, for which the task is not known everywhere yet, or the end of a task, whose result is not.
    """
    if seconds > LAG:
        return False
    return isinstance(failure, NotFoundError) if question is Question.TASK else may_be_early(failure)


def may_be_early(failure: CyberunError) -> bool:
    """Whether a refusal of a result may only mean that it is not there yet."""
    return isinstance(failure, APIError) and failure.status in _NOT_YET
