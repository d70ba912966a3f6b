"""Status words: the known ones, and those that the server may have tomorrow."""

import copy
import json
import pickle

import attrs
import pytest
from support.tables import table

from cyberun_async import TaskStatus
from cyberun_async._protocol.status import UNSTATED, Evidence, status_from

KNOWN = ["pending", "waiting", "provisioning", "queued", "running", "completed", "failed", "cancelled"]


def test_known_words() -> None:
    """The words of the documentation are members, in the order in which a task lives through them."""
    assert [status.value for status in TaskStatus] == KNOWN


@table("word", KNOWN)
def test_known_word(word: str) -> None:
    """A known word is the member of that name, and final if the documentation says so."""
    status = TaskStatus(word)

    assert status is TaskStatus[word.upper()]
    assert status.is_known
    assert status.is_terminal == (word in {"completed", "failed", "cancelled"})


@table(
    ("word", "status"),
    [("RUNNING", "running"), ("Completed", "completed"), (" failed\n", "failed"), ("Canceled", "cancelled")],
)
def test_known_word_in_another_form(word: str, status: str) -> None:
    """A known word is known in any case, and in the American spelling."""
    assert TaskStatus(word) is TaskStatus(status)


ENDED, ERROR, OUTPUT = Evidence(has_ended=True), Evidence(has_error=True), Evidence(has_output=True)


@table(
    ("word", "evidence", "status"),
    [
        pytest.param("running", attrs.evolve(ENDED, has_error=True), "running", id="a known word outweighs all"),
        pytest.param("Queued", Evidence(event=TaskStatus.FAILED), "queued", id="a known word outweighs an event"),
        pytest.param("odd", Evidence(event=TaskStatus.CANCELLED), "cancelled", id="the event says it"),
        pytest.param(None, Evidence(event=TaskStatus.COMPLETED), "completed", id="the event alone says it"),
        pytest.param("odd", attrs.evolve(ENDED, has_error=True), "failed", id="ended with an error"),
        pytest.param("odd", attrs.evolve(ENDED, has_error=True, has_output=True), "failed", id="ended with both"),
        pytest.param("odd", attrs.evolve(ENDED, has_output=True), "completed", id="ended with an output"),
        pytest.param("odd", attrs.evolve(ENDED, denies_error=True), "completed", id="ended without an error"),
        pytest.param("odd", attrs.evolve(ENDED, denies_error=True, has_error=True), "failed", id="with another error"),
        pytest.param("odd", ENDED, "failed", id="ended, nobody knows how"),
        pytest.param(None, ENDED, "failed", id="ended without a word"),
        *[
            pytest.param(word, ENDED, "failed", id=f"ended: {word}")
            for word in ("error", "timeout", "timed_out", "Timed-Out", "expired")
        ],
        *[
            pytest.param(word, ENDED, "completed", id=f"ended: {word}")
            for word in ("succeeded", "SUCCESS", "done", "finished")
        ],
        pytest.param("error", attrs.evolve(ENDED, has_output=True), "failed", id="ended: error, with an output"),
        pytest.param("error", ERROR, "failed", id="an error that is called one"),
        pytest.param("succeeded", OUTPUT, "completed", id="an output that is called a success"),
        pytest.param(None, ERROR, "failed", id="an error"),
        pytest.param(None, OUTPUT, "completed", id="an output"),
        pytest.param("odd", ERROR, "odd", id="an error under another word"),
        pytest.param("odd", OUTPUT, "odd", id="an output under another word"),
        pytest.param("error", Evidence(), "error", id="no evidence, a word for failure"),
        pytest.param("done", Evidence(), "done", id="no evidence, a word for success"),
        pytest.param("hibernating", Evidence(), "hibernating", id="no evidence"),
        pytest.param(None, Evidence(), "unknown", id="nothing at all"),
    ],
)
def test_status_from(word: str | None, evidence: Evidence, status: str) -> None:
    """A known word counts; else what shows that a task has ended and how; else it goes on."""
    found = status_from(word, evidence)

    assert (found, found.is_terminal) == (status, status in {"completed", "failed", "cancelled"})


@table("word", ["paused", "done", "", "größer", "completed?"])
def test_unknown_word(word: str) -> None:
    """A word that this version does not know survives as itself, and is not final."""
    status = TaskStatus(word)

    assert isinstance(status, TaskStatus)
    assert (status, status.value) == (word, word)
    assert not status.is_known
    assert not status.is_terminal


@table("word", ["running", "paused"])
def test_a_status_is_a_string(word: str) -> None:
    """A status is written, compared, hashed and sent as its word."""
    status = TaskStatus(word)

    assert [str(status), f"{status}", f"{status:>8}", json.dumps(status)] == [word, word, f"{word:>8}", f'"{word}"']
    assert {status: 1}[word] == {word: 1}[status] == 1  # type: ignore[index]
    assert status == word
    assert not status != word  # noqa: SIM202 - the operator is what is tested
    assert status != "other"
    assert status != 5
    assert repr(status) == f"<TaskStatus.{word.upper()}: '{word}'>"


@table("word", ["running", "paused"])
def test_a_status_can_be_sent_to_another_process(word: str) -> None:
    """A status is the same after pickling and copying."""
    status = TaskStatus(word)
    copies = [pickle.loads(pickle.dumps(status, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]

    for each in [*copies, copy.copy(status), copy.deepcopy(status)]:
        assert (each, each.is_known, type(each)) == (status, status.is_known, TaskStatus)


def test_unknown_words_do_not_pile_up() -> None:
    """What a server makes up is not kept for ever, and is no member."""
    before = dict(TaskStatus.__members__), len(TaskStatus._value2member_map_)
    for number in range(100):
        TaskStatus(f"made up {number}")

    assert (dict(TaskStatus.__members__), len(TaskStatus._value2member_map_)) == before


def test_only_text_is_a_status() -> None:
    """A number is no status."""
    with pytest.raises(ValueError, match="5 is not a valid TaskStatus"):
        TaskStatus(5)


def test_match() -> None:
    """A status matches its member and its word."""
    match TaskStatus("running"):
        case TaskStatus.RUNNING:
            pass
        case _:
            pytest.fail("it is running")


def test_unstated() -> None:
    """Where the server says nothing, the status is a word that is not final and not one of the server's."""
    assert (UNSTATED, UNSTATED.is_known, UNSTATED.is_terminal) == ("unknown", False, False)
