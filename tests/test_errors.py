"""The tree of errors: as it is drawn, with what is needed to act, and fit to travel."""

import copy
import inspect
import pickle
import re
from datetime import datetime, timezone

import attrs
import pytest

import cyberun_async
from cyberun_async import (
    APIError,
    ConfigurationError,
    CyberunError,
    DecodeError,
    InvalidParameters,
    RateLimitError,
    StorageError,
    TaskCancelled,
    TaskFailed,
    TaskResult,
    TaskStatus,
    TransportError,
    TransportTimeout,
    WaitTimeout,
    WebhookError,
    _errors,
)

FAILED = TaskResult(
    id="t-1",
    status=TaskStatus.FAILED,
    error="CUDA out of memory",
    download_urls={"a": "https://s3.example.com/a?X-Amz-Signature=f00"},
    completed_at=datetime(2025, 2, 10, tzinfo=timezone.utc),
)
CANCELLED = TaskResult(id="t-1", status=TaskStatus.CANCELLED)


def drawn() -> list[tuple[int, str, list[str]]]:
    """Read the tree from the module's docstring: how deep each error stands, its name, and its builtin base."""
    tree = []
    for line in (_errors.__doc__ or "").splitlines():
        found = re.match(r"([├└│─ ]*)([A-Z]\w+)(?: \((\w+)\))?", line)
        if found and found[2].endswith(("Error", "Parameters", "Timeout", "Failed", "Cancelled")):
            tree.append((len(found[1]) // 4, found[2], [found[3]] if found[3] else []))
    return tree


def built(kind: type[CyberunError] = CyberunError, depth: int = 0) -> list[tuple[int, str, list[str]]]:
    """Read the tree from the classes."""
    builtin = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins" and base is not Exception]
    below = [each for child in kind.__subclasses__() for each in built(child, depth + 1)]
    return [(depth, kind.__name__, builtin), *below]


def test_the_tree_is_as_it_is_drawn() -> None:
    """The drawing, the classes and the public names agree."""
    assert [each for each in built() if hasattr(cyberun_async, each[1])] == drawn()
    assert {name for _, name, _ in drawn()} == {
        name
        for name in cyberun_async.__all__
        if isinstance(item := getattr(cyberun_async, name), type) and issubclass(item, Exception)
    }


EXAMPLES = [
    pytest.param(CyberunError("went wrong", task_id="t-1"), "went wrong", id="root"),
    pytest.param(ConfigurationError("the API key is empty"), "the API key is empty", id="configuration"),
    pytest.param(InvalidParameters(["a is b", "c is d"]), "a is b; c is d", id="parameters"),
    pytest.param(
        RateLimitError(
            429,
            "slow down",
            method="GET",
            path="/r/tasks/t-1",
            retry_after=7.0,
            request_id="r-1",
            body='{"error_message": "slow down"}',
            task_id="t-1",
        ),
        "GET /r/tasks/t-1 was refused with 429: slow down",
        id="refusal",
    ),
    pytest.param(
        TransportError("ConnectError", method="POST", path="/r/x", may_have_been_sent=False, retryable=False),
        "POST /r/x got no answer (ConnectError); the request was not sent",
        id="transport",
    ),
    pytest.param(
        TransportTimeout("not done within 60 s", method="POST", path="/r/x", may_have_been_sent=True, task_id="t-1"),
        "POST /r/x got no answer (not done within 60 s); the request may have reached the server",
        id="transport, late",
    ),
    pytest.param(
        DecodeError("$.id is missing", method="GET", path="/r/x", task_id="t-1"),
        "the answer to GET /r/x is not what the API promises: $.id is missing",
        id="decode",
    ),
    pytest.param(TaskFailed(FAILED), "task t-1 failed: CUDA out of memory", id="failed"),
    pytest.param(TaskCancelled(CANCELLED), "task t-1 cancelled", id="cancelled"),
    pytest.param(
        WaitTimeout(5.0, task_id="t-1", status=TaskStatus.RUNNING, remote="cancelled"),
        "task t-1 did not end within 5 s (last status: running); it was cancelled",
        id="wait",
    ),
    pytest.param(
        WaitTimeout(0.5, task_id=None),
        "the task did not end within 0.5 s (last status: none seen); it was left running",
        id="wait before there is a task",
    ),
    pytest.param(
        WaitTimeout(1.0, task_id="t-1", status=TaskStatus("paused"), remote="cancel_failed"),
        "task t-1 did not end within 1 s (last status: paused); cancelling it was not confirmed",
        id="wait with a new word",
    ),
    pytest.param(
        StorageError("the link has expired", file="a.png", bytes_done=5, retryable=True, status=403, task_id="t-1"),
        "a.png: the link has expired",
        id="storage",
    ),
    pytest.param(WebhookError("no signature"), "no signature", id="webhook"),
]


@pytest.mark.parametrize(("error", "message"), EXAMPLES)
def test_message(error: CyberunError, message: str) -> None:
    """The message is made of the facts, and says what to do or what became of things."""
    assert str(error) == message


@pytest.mark.parametrize(("error", "message"), EXAMPLES)
def test_errors_travel(error: CyberunError, message: str) -> None:
    """A worker process can send an error home whole, and a debugger can copy it."""
    for each in (
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(each) is type(error)
        assert (str(each), each.args, vars(each)) == (message, error.args, vars(error))


@pytest.mark.parametrize(("error", "message"), EXAMPLES)
def test_documented_attributes(error: CyberunError, message: str) -> None:
    """Each attribute that a docstring speaks of is there, and there is no other."""
    documented = set()
    for kind in type(error).__mro__:
        section = re.search(r"Attributes:\n((?:    .*\n|\n)+)", inspect.cleandoc(kind.__doc__ or "") + "\n")
        if issubclass(kind, CyberunError) and section:
            documented |= set(re.findall(r"^    (\w+):", section[1], re.MULTILINE))

    assert documented == set(vars(error))


def test_a_note_travels_too() -> None:
    """What a program has added to an error on its way stays on it."""
    error = TaskFailed(FAILED)
    error.__notes__ = ["while drawing a lighthouse"]  # As `add_note` does from Python 3.11 on.

    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while drawing a lighthouse"]


def test_no_signed_link_in_an_error() -> None:
    """The result that an error carries does not show its links."""
    error = TaskFailed(FAILED)

    assert error.result.files
    assert "X-Amz" not in f"{error!s}{error!r}{error.result!r}{vars(error)!r}"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigurationError, ValueError),
        (InvalidParameters, ValueError),
        (TransportTimeout, TimeoutError),
        (WaitTimeout, TimeoutError),
    ],
)
def test_builtin_names_catch_them(kind: type[CyberunError], builtin: type[Exception]) -> None:
    """Programs that know nothing of this package catch what they have always caught."""
    assert issubclass(kind, builtin)


def test_a_refusal_is_caught_by_its_root() -> None:
    """One `except` is enough for all that can go wrong."""
    with pytest.raises(CyberunError) as caught:
        raise APIError(418, "teapot", method="GET", path="/")

    assert caught.value.task_id is None


def test_result_of_a_failed_task() -> None:
    """A failed task says why, and has everything the server said."""
    error = TaskFailed(FAILED)

    assert (error.task_id, error.status, error.error, error.result) == ("t-1", "failed", "CUDA out of memory", FAILED)
    assert attrs.evolve(FAILED, error="").error is None
