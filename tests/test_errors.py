"""The tree of errors: one root, plain attributes, no group, and nothing lost on the way home from a worker."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

from support.tables import table

import cyberun_async
from cyberun_async import (
    APIError,
    ConfigurationError,
    CyberunError,
    DecodeError,
    InvalidParameters,
    JournalInUse,
    SignInRequired,
    StartTimeout,
    StorageError,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TaskStatus,
    TokenError,
    TransportError,
    TransportTimeout,
    WaitTimeout,
    WebhookError,
)
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.error_responses import api_error
from cyberun_async._protocol.tasks import TaskResult

ALL = [
    value
    for name in cyberun_async.__all__
    if inspect.isclass(value := getattr(cyberun_async, name)) and issubclass(value, BaseException)
]

RESULT = structure({"id": "t-1", "task_status": "failed", "task_error": "out of memory"}, TaskResult)

SAMPLES: list[CyberunError] = [
    CyberunError("something", task_id="t-1"),
    ConfigurationError("no key"),
    JournalInUse("batch.journal"),
    InvalidParameters(["no prompt", "no seed"]),
    *(
        api_error(
            status,
            {"retry-after": "7", "x-request-id": "r-1"},
            b'{"error_message": "no"}',
            method="GET",
            path="/r/tasks/t-1",
            task_id="t-1",
        )
        for status in (400, 401, 403, 404, 409, 418, 422, 429, 500)
    ),
    TransportError("reset", method="GET", path="/x", may_have_been_sent=True, retryable=False, task_id="t-1"),
    TransportTimeout("late", method="GET", path="/x", may_have_been_sent=False),
    TokenError("OSError: no route", method="GET", path="/x", task_id="t-1"),
    SignInRequired("was rejected (no)"),
    DecodeError("no id", method="GET", path="/x", task_id="t-1"),
    DecodeError("no id"),
    TaskError(RESULT),
    TaskFailed(RESULT),
    TaskCancelled(RESULT),
    WaitTimeout(1.5, task_id="t-1", status=TaskStatus.RUNNING, remote="cancelled"),
    WaitTimeout(1.5, task_id=None, remote="cancel_failed"),
    StartTimeout(1.5, task_id="t-1", status=TaskStatus.WAITING),
    StorageError("broke", file="a.png", bytes_done=7, retryable=True, status=503, task_id="t-1"),
    WebhookError("no signature"),
]

IDS = [f"{type(error).__name__}-{number}" for number, error in enumerate(SAMPLES)]


@table("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@table("error", SAMPLES, ids=IDS)
def test_round_trip(error: CyberunError, again: object) -> None:
    """An error that is pickled or copied is the same error."""
    other = again(error)  # type: ignore[operator]
    assert (type(other), str(other), other.args, vars(other)) == (type(error), str(error), error.args, vars(error))


def test_samples_are_complete() -> None:
    """Every error class is in the table above."""
    assert {type(error) for error in SAMPLES} == set(ALL)


@table("kind", ALL)
def test_tree(kind: type[BaseException]) -> None:
    """All have one root, none is a group, and where Python has a word for it they are that, too."""
    assert issubclass(kind, CyberunError)
    assert not hasattr(kind, "exceptions")
    assert issubclass(kind, ValueError) == (kind in {ConfigurationError, InvalidParameters, JournalInUse})
    assert issubclass(kind, TimeoutError) == (kind in {TransportTimeout, WaitTimeout, StartTimeout})
    assert not issubclass(kind, OSError) or issubclass(kind, TimeoutError)


@table("error", SAMPLES, ids=IDS)
def test_task(error: CyberunError) -> None:
    """Each says which task it is about, or that there is none."""
    assert error.task_id in {None, "t-1"}


def test_facts() -> None:
    """What is needed to act is an attribute."""
    error = next(error for error in SAMPLES if isinstance(error, APIError) and error.status == 429)
    assert (error.message, error.retry_after, error.request_id, error.body) == (
        "no",
        7,
        "r-1",
        '{"error_message": "no"}',
    )


def test_documented() -> None:
    """The page on errors says of every class what to do; its tree is drawn from the classes."""
    page = Path(__file__).parents[1].joinpath("docs", "errors.md").read_text(encoding="utf-8")
    tree, table = page.split("## What to do about each")
    assert "```{drawn} errors" in tree
    for kind in set(ALL) - {CyberunError, APIError, TaskError}:
        assert re.search(rf"`{kind.__name__}`", table)
