"""Whether a failed call is sent again, and when: a table over call, failure, attempt and header."""

from __future__ import annotations

import pytest
from support.tables import table

from cyberun_async import (
    APIError,
    ConfigurationError,
    CyberunError,
    DecodeError,
    RateLimitError,
    Retries,
    TransportError,
)
from cyberun_async._protocol import containers, endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.error_responses import api_error
from cyberun_async._transport.retry import delay_before_retry, is_transient
from cyberun_async._wait.poll_errors import is_passing

READ = endpoints.get_task("t-1")
CANCEL = endpoints.cancel_task("t-1")
PRESIGN = endpoints.presign_file("a.png", 1, "image/png")
SUBMIT = endpoints.run_workflow("text-to-image", {})
INVOKE = containers.invoke_container("llm", "POST", "/v1/chat")
INVOKE_GET = containers.invoke_container("llm", "GET", "/health")

RETRIES = Retries(budget=30, initial=0.5, maximum=8, retry_after=60)


def answered(status: int, retry_after: str | None = None) -> APIError:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return api_error(status, headers, b"", method="GET", path="/")


def unanswered(*, sent: bool = True, retryable: bool = True) -> TransportError:
    return TransportError("x", method="GET", path="/", may_have_been_sent=sent, retryable=retryable)


def delay(call: Call[object], failure: CyberunError, attempt: int = 1, elapsed: float = 0.0) -> float | None:
    return delay_before_retry(call, failure, attempt, elapsed=elapsed, retries=RETRIES, jitter=lambda: 1.0)


SENT_AGAIN = [408, 425, 429, 500, 502, 503, 504, 507, 520, 522, 524, 530]
FINAL = [300, 302, 400, 401, 403, 404, 405, 409, 410, 412, 413, 418, 422, 451, 501, 505]


@table("status", SENT_AGAIN)
@table("call", [READ, CANCEL, PRESIGN, INVOKE_GET], ids=lambda call: f"{call.method} {call.path}")
def test_what_costs_nothing(call: Call[object], status: int) -> None:
    """Reading, cancelling and presigning are repeated where the same request may succeed later."""
    assert delay(call, answered(status)) == 0.5


@table("status", [status for status in SENT_AGAIN if status != 429])
@table("call", [SUBMIT, INVOKE], ids=["submit", "invoke"])
def test_what_costs(call: Call[object], status: int) -> None:
    """What may have an effect is not repeated once it was answered."""
    assert delay(call, answered(status)) is None


@table("status", FINAL)
@table("call", [READ, SUBMIT], ids=["read", "submit"])
def test_refusals_that_stand(call: Call[object], status: int) -> None:
    """A refusal that would come again is not asked for again."""
    assert delay(call, answered(status)) is None


@table(
    ("call", "failure", "expected"),
    [
        pytest.param(SUBMIT, answered(429), 0.5, id="submit, too many"),
        pytest.param(SUBMIT, unanswered(sent=False), 0.5, id="submit, no connection"),
        pytest.param(SUBMIT, unanswered(sent=True), None, id="submit, lost"),
        pytest.param(INVOKE, unanswered(sent=True), None, id="invoke, lost"),
        pytest.param(READ, unanswered(sent=False), 0.5, id="read, no connection"),
        pytest.param(READ, unanswered(sent=True), 0.5, id="read, lost"),
        pytest.param(READ, unanswered(sent=False, retryable=False), None, id="read, bad certificate"),
        pytest.param(SUBMIT, unanswered(sent=False, retryable=False), None, id="submit, bad certificate"),
        pytest.param(READ, DecodeError("x"), None, id="read, nonsense"),
        pytest.param(READ, ConfigurationError("x"), None, id="read, closed"),
    ],
)
def test_failures(call: Call[object], failure: CyberunError, expected: float | None) -> None:
    """A submission is repeated only where it cannot have arrived, or the server did nothing."""
    assert delay(call, failure) == expected


@table(("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (10_000, 8.0)])
def test_backing_off(attempt: int, longest: float) -> None:
    """The longest delay doubles up to its maximum; the delay is anything from zero to that."""
    seen = [
        delay_before_retry(READ, answered(503), attempt, elapsed=0, retries=RETRIES, jitter=lambda share=share: share)
        for share in (0.0, 0.5, 1.0)
    ]
    assert seen == [0.0, longest / 2, longest]


@table(
    ("elapsed", "attempt", "is_repeated"),
    [(0.0, 1, True), (29.4, 1, True), (29.5, 1, False), (22.0, 5, False), (21.9, 5, True), (1000.0, 1, False)],
)
def test_budget(elapsed: float, attempt: int, is_repeated: bool) -> None:
    """Nothing is repeated later than the budget after the first failure."""
    assert (delay(READ, answered(503), attempt, elapsed) is not None) == is_repeated


@table("jitter", [0.0, 1.0])
def test_no_budget(jitter: float) -> None:
    """A budget of zero repeats nothing, whatever the jitter says."""
    retries = Retries(budget=0)
    assert delay_before_retry(READ, answered(503), 1, elapsed=0, retries=retries, jitter=lambda: jitter) is None


@table(
    ("status", "header", "expected"),
    [
        pytest.param(429, "0", 0.5, id="at once"),
        pytest.param(429, "7", 7.5, id="in seven seconds"),
        pytest.param(429, "60", 60.5, id="in a minute, though the budget is less"),
        pytest.param(429, "61", None, id="in more than a minute"),
        pytest.param(429, "9" * 500, None, id="never"),
        pytest.param(429, "soon", 0.5, id="nonsense"),
        pytest.param(503, "7", 7.5, id="unavailable for seven seconds"),
        pytest.param(503, "61", None, id="unavailable for more than a minute"),
        pytest.param(429, "Mon, 01 Jan 2001 00:00:00 GMT", 0.5, id="a date that has passed"),
        pytest.param(429, "Mon, 01 Jan 2999 00:00:00 GMT", None, id="a date in the far future"),
    ],
)
def test_retry_after(status: int, header: str, expected: float | None) -> None:
    """What the server asks for is waited for, and jitter on top, but for at most a minute."""
    assert delay(READ, answered(status, header)) == expected


@table(
    ("failure", "transient", "passing"),
    [
        pytest.param(answered(503), True, True, id="503"),
        pytest.param(answered(429), True, True, id="429"),
        pytest.param(answered(429, "60"), True, True, id="429, a minute"),
        pytest.param(answered(429, "61"), True, False, id="429, more than a minute"),
        pytest.param(answered(404), False, False, id="404"),
        pytest.param(unanswered(), True, True, id="no answer"),
        pytest.param(unanswered(retryable=False), False, False, id="bad certificate"),
        pytest.param(DecodeError("x"), False, True, id="nonsense"),
        pytest.param(ConfigurationError("x"), False, False, id="closed"),
    ],
)
def test_while_waiting(failure: CyberunError, transient: bool, passing: bool) -> None:
    """A wait goes on after a failure that may pass, and also after an answer that makes no sense."""
    assert (is_transient(failure), is_passing(failure)) == (transient, passing)


def test_kinds() -> None:
    """The failures of this table are of the kinds that they stand for."""
    assert isinstance(answered(429), RateLimitError)
    assert [call.repeatable for call in (READ, CANCEL, PRESIGN, INVOKE_GET, SUBMIT, INVOKE)] == [True] * 4 + [False] * 2
